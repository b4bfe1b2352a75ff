"""Whether a campaign has come to its end, and why."""

from __future__ import annotations

from typing import Any

import numpy as np

from uncv.config import CampaignConfig
from uncv.convergence import RoundRecord, judge, make_rules, observe, torsion_counts
from uncv.data import Dataset
from uncv.learning.directory import RunDirectory, regular
from uncv.learning.setup import Setup


def reason_to_end(config: CampaignConfig, directory: RunDirectory) -> str:
    """Return why the campaign ends after the rounds that are complete, '' where it goes on.

    It depends on the configuration, the labels and the journal alone, so a campaign that is begun
    again comes to the same answer.
    """
    labels = directory.labelled_count()
    if labels >= config.budget.labels:
        return f"the budget of {config.budget.labels} labels is spent"
    return judge(make_rules(config.convergence, config.budget.labels), history(directory))


def history(directory: RunDirectory) -> list[RoundRecord]:
    """Return what each complete round came to, in their order.

    With stages that overlap, a round is a batch of labels and the segments since the batch before.
    """
    labelled = directory.labelled()
    rounds = np.zeros(0) if labelled is None else labelled.info["round"]
    complete = directory.next_round()
    records, sampled = [], []
    for event in directory.journal.events():
        if event["event"] == "sampled":
            sampled.append(event)
        ends = event["event"] == "no_candidate" or (event["event"] == "labelled" and event["round"])
        if ends and event["round"] < complete:  # not what a kill has left in the journal alone
            labels = int((rounds <= event["round"]).sum())
            records.append(_record(sampled, labels, event.get("candidates", 0)))
            sampled = []
    return records


def seen_by_rules(config: CampaignConfig, setup: Setup, frames: Dataset) -> dict[str, Any]:
    """Return what the rules of a configuration must know of the frames of a round."""
    rules = config.convergence
    found: dict[str, Any] = {}
    kept = regular(frames)
    if rules.torsions is not None and setup.torsions and len(kept):
        angles = setup.observable.values(kept)
        if angles is not None:
            found["torsion_counts"] = torsion_counts(angles, rules.torsions.bins)
    if rules.observables and len(kept):
        found["observables"] = observe(rules, kept)
    return found


def _record(sampled: list[dict[str, Any]], labels: int, candidates: int) -> RoundRecord:
    last = sampled[-1] if sampled else {}
    known = bool(last.get("calibrated"))
    return RoundRecord(
        labels=labels,
        frames=sum(e["frames"] for e in sampled),
        candidates=candidates,
        walker_steps=sum(e["walker_steps"] for e in sampled),
        coverage=last.get("coverage"),
        torsion_counts=last.get("torsion_counts"),
        mean_uncertainty=last.get("mean_uncertainty") if known else None,
        max_uncertainty=last.get("max_uncertainty") if known else None,
        observables=last.get("observables", {}),
    )
