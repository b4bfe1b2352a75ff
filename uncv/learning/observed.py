"""What a round is judged by: errors of its model, and what its walkers saw."""

from __future__ import annotations

from typing import Any

import numpy as np

from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.evaluation import crystal_errors


def errors_of(cv: UncertaintyCV, parts: dict[str, Dataset | None]) -> dict[str, dict[str, float]]:
    """Return the errors of the potential on each part that has frames, for the journal."""
    return {
        name: {
            k: v for k, v in crystal_errors(cv.potential, part)._asdict().items() if np.isfinite(v)
        }
        for name, part in parts.items()
        if part is not None and len(part)
    }


def spread_of(frames: Dataset) -> dict[str, Any]:
    """Return mean and largest uncertainty of stored frames, for the journal."""
    values = np.asarray(frames.info["uncertainty"], dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return {"mean_uncertainty": None, "max_uncertainty": None}
    return {
        "mean_uncertainty": float(values.mean()),
        "max_uncertainty": float(values.max()),
    }
