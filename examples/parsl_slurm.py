"""Workers of a campaign in the jobs of Slurm: a configuration of Parsl to copy and adapt.

In the campaign's YAML:

    execution:
      kind: parsl
      parsl_config: parsl_slurm.py:slurm
      workers: 64              # NODES * WORKERS_PER_NODE * JOBS
      threads_per_worker: 1
      task_timeout_s: 1800

`uncv learn campaign.yaml` then runs where jobs can be submitted (a login node, or a small long job)
and asks Slurm for nodes as there is work. `python parsl_slurm.py` prints what would be asked for.
"""

from __future__ import annotations

from parsl.addresses import address_by_hostname, address_by_interface
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.launchers import SrunLauncher
from parsl.providers import SlurmProvider

PARTITION = "compute"
ACCOUNT = None
JOBS = 2  # at the same time, at most
NODES = 1  # of a job
WORKERS_PER_NODE = 32
WALL_TIME = "04:00:00"  # of a job; when it ends Parsl asks for another one
INTERFACE = None  # network by which the nodes reach this machine ('ib0'); None: its name

# What a job does before its workers start: the environment that uncv is installed in.
WORKER_INIT = """\
source $HOME/uncv/bin/activate
export OMP_NUM_THREADS=1
"""


def slurm(run_dir: str) -> Config:
    """Return the configuration; uncv gives the folder for Parsl's logs."""
    provider = SlurmProvider(
        partition=PARTITION,
        account=ACCOUNT,
        nodes_per_block=NODES,
        init_blocks=1,
        min_blocks=0,
        max_blocks=JOBS,
        walltime=WALL_TIME,
        exclusive=True,
        worker_init=WORKER_INIT,
        launcher=SrunLauncher(),  # starts the workers on every node of a job
    )
    executor = HighThroughputExecutor(
        label="slurm",
        address=address_by_interface(INTERFACE) if INTERFACE else address_by_hostname(),
        max_workers_per_node=WORKERS_PER_NODE,
        cores_per_worker=1,
        heartbeat_period=15,
        heartbeat_threshold=60,  # seconds until a lost node is noticed
        encrypted=True,  # others on the network could send tasks otherwise
        provider=provider,
    )
    return Config(
        executors=[executor],
        run_dir=run_dir,
        strategy="simple",
        max_idletime=300.0,  # a job with nothing to do is given back after these seconds
        usage_tracking=0,
    )


def main() -> None:
    """Print what would be asked for."""
    print(slurm("parsl"))


if __name__ == "__main__":
    main()
