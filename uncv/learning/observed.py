"""What a round is judged by: errors of its model, and what its walkers saw."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.evaluation import crystal_errors
from uncv.sampling_run import SampledRun

_STOP_KINDS = {
    "not finite": "not finite",
    "were bonded": "stretched bond",
    "Å apart": "short contact",
    "force": "force",
    "uncertainty": "uncertainty",
    "cell": "cell",
    "volume": "cell",
}


def errors_of(cv: UncertaintyCV, parts: dict[str, Dataset | None]) -> dict[str, dict[str, float]]:
    """Return the errors of the potential on each part that has frames, for the journal."""
    return {
        name: {
            k: v for k, v in crystal_errors(cv.potential, part)._asdict().items() if np.isfinite(v)
        }
        for name, part in parts.items()
        if part is not None and len(part)
    }


def run_of(run: SampledRun) -> dict[str, Any]:
    """Return what the journal says of a run: frames, uncertainty, stops."""
    values = np.asarray(run.frames.info["uncertainty"], dtype=np.float64)
    values = values[np.isfinite(values)]
    return {
        "frames": len(run.frames),
        "reweightable": run.reweightable,
        "reason": run.reason,
        "stops": len(run.stop_reasons),
        "stop_reasons": dict(Counter(kind_of_stop(reason) for reason in run.stop_reasons)),
        "mean_uncertainty": float(values.mean()) if len(values) else None,
        "max_uncertainty": float(values.max()) if len(values) else None,
    }


def kind_of_stop(reason: str) -> str:
    """Return which rule a stop reason comes from, for counting."""
    for words, kind in _STOP_KINDS.items():
        if words in reason:
            return kind
    return "other"
