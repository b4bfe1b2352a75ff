"""The section of a configuration that says where the work of a campaign is done."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from uncv.config.section import Positive, PositiveInt, Section


class ExecutionConfig(Section):
    """Who does the tasks of a campaign: labels, walkers, trainings."""

    kind: Literal["in_process", "process_pool", "parsl"] = Field(
        default="in_process",
        description="in_process does one task after the other; process_pool has worker processes "
        "on this machine; parsl has them here or in the jobs of a batch system",
    )
    workers: PositiveInt = Field(
        default=1, description="tasks done at the same time; with parsl by all jobs together"
    )
    threads_per_worker: PositiveInt = Field(
        default=1, description="of torch, BLAS and OpenMM; workers times threads fit the cores"
    )
    retries: Annotated[int, Field(ge=0)] = Field(
        default=1,
        description="how often a task is begun again whose worker died; after that its frames go "
        "to quarantine",
    )
    task_timeout_s: Positive | None = Field(
        default=None,
        description="a task that takes longer has its worker killed and counts as one whose "
        "worker died; needs workers",
    )
    wall_time_s: Positive | None = Field(
        default=None,
        description="time of the whole run, as the batch system allows it; no task is begun when "
        "less is left than the longest task took so far",
    )
    walker_groups: PositiveInt = Field(
        default=1, description="parts into which the walkers of a round are divided, each a task"
    )
    training_groups: PositiveInt = Field(
        default=1,
        description="parts into which the members of an ensemble are divided, each a task",
    )
    labels_per_task: PositiveInt = Field(
        default=1, description="frames that a worker labels in one task"
    )
    mode: Literal["synchronous", "asynchronous"] = Field(
        default="synchronous",
        description="asynchronous lets labels, training and sampling overlap; the order in which "
        "labels arrive then decides, so two runs differ",
    )
    parsl_config: str | None = Field(
        default=None,
        description="FILE.py:FUNCTION that is given the folder for Parsl's logs and returns its "
        "configuration; by default workers on this machine",
    )

    @model_validator(mode="after")
    def _fits_kind(self) -> ExecutionConfig:
        if self.kind == "in_process" and self.workers > 1:
            raise ValueError(
                f"in_process has one worker; found workers {self.workers}: choose kind process_pool"
            )
        if self.kind == "in_process" and self.task_timeout_s is not None:
            raise ValueError("task_timeout_s needs workers; choose kind process_pool or parsl")
        if self.kind != "parsl" and self.parsl_config is not None:
            raise ValueError(f"parsl_config is for the kind parsl; found kind {self.kind}")
        return self
