"""The frames that were chosen for labels, those that failed, and the journal in words."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from uncv.plots_chart import Table
from uncv.report.page import Folded, Missing, Part, Section
from uncv.report.run import RunFiles
from uncv.status.words import describe


def chosen_section(run: RunFiles) -> Section:
    """Return every labelled frame with its origin."""
    title = "Labelled frames"
    if run.labelled is None:
        return Section(title, parts=[Missing("No frame has been labelled yet.")])
    info, count = run.labelled.info, len(run.labelled)
    splits = Counter(str(s) for s in info["split"]) if "split" in info else Counter()
    forces = run.labelled.forces
    largest = (
        np.full(count, np.nan)
        if forces is None
        else np.linalg.norm(np.where(run.labelled.mask[..., None], forces, 0.0), axis=-1).max(1)
    )
    energy = run.labelled.energy
    header = ["frame", "round", "walker", "step", "u when chosen", "energy (eV)",
              "largest force (eV/Å)", "split", "stopped by"]  # fmt: skip
    rows: list[list[object]] = [
        [i, int(info["round"][i]), _origin(info["walker"][i]), _origin(info["step"][i]),
         float(info["uncertainty"][i]), None if energy is None else round(float(energy[i]), 4),
         float(largest[i]), str(info["split"][i]) if "split" in info else "–",
         str(info["stop_reason"][i]) or "–"]
        for i in range(count)
    ]  # fmt: skip
    method = run.at("selection", "method", "not known")
    text = (
        f"{count} frames in all ({', '.join(f'{n} {s}' for s, n in splits.most_common())}); those "
        f"after round 0 were chosen by {str(method).replace('_', ' ')}."
    )
    table = Table(header, rows, "frames", f"All {count} labelled frames")
    return Section(title, text, [Folded(table, words=True)])


def failed_section(run: RunFiles) -> Section:
    """Return the frames that the oracle could not label, with its reasons."""
    title = "Labels that failed"
    events = [e for e in run.of("labelled") if e.get("errors")]
    reasons = Counter((e.get("round"), str(m)) for e in events for m in e["errors"])
    parts: list[Part] = []
    if reasons:
        rows = [[n, count, message] for (n, message), count in reasons.items()]
        table = Table(["round", "frames", "what the oracle said"], rows, "failed", "Failed labels")
        parts.append(Folded(table, words=True))
    if run.quarantine is not None and len(run.quarantine):
        info = run.quarantine.info
        names = [n for n in ("round", "walker", "step", "uncertainty") if n in info]
        rows = [[info[n][i].item() for n in names] for i in range(len(run.quarantine))]
        said = f"{len(rows)} frames in quarantine.extxyz"
        parts.append(Folded(Table(names, rows, "quarantine", said)))
    if not parts:
        return Section(title, parts=[Missing("No label has failed.")])
    text = f"{sum(reasons.values())} labels failed; the frames are kept apart in quarantine.extxyz."
    return Section(title, text, parts)


def journal_section(run: RunFiles) -> Section:
    """Return the journal in words."""
    if not run.events:
        return Section("Journal", parts=[Missing("The journal is empty.")])
    rows = [[time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(e["time"])), describe(e)]
            for e in run.events]  # fmt: skip
    table = Table(["time", "event"], rows, "journal", f"{len(rows)} events")
    return Section("Journal", parts=[Folded(table, words=True)])


def _origin(number: object) -> object:
    """Return a walker or a step, None for a frame that has no walker."""
    value = int(str(number))
    return None if value < 0 else value
