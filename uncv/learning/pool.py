"""Choosing frames of a pool by the features and the uncertainty of a collective variable."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.selection import Method, select


def choose_frames(
    cv: UncertaintyCV,
    pool: Dataset,
    labelled: Dataset | None,
    size: int,
    method: Method,
    *,
    seed: int,
) -> NDArray[np.int64]:
    """Return which frames of a pool to label, by the features and uncertainty of a variable.

    Uncertainties are taken from the pool's column if it has one, as stored while sampling.
    """
    scores = pool.info.get("uncertainty")
    if scores is None and method == "top_u":
        scores = cv.predict(pool).uncertainty
    known = None if labelled is None else frame_features(cv, labelled)
    return select(frame_features(cv, pool), known, size, method, scores=scores, seed=seed)


def frame_features(cv: UncertaintyCV, frames: Dataset) -> NDArray[np.float64]:
    """Return the mean over atoms of the potential's features (F, D)."""
    features = cv.potential.evaluate(frames).features
    return features.sum(axis=1) / frames.frame_atoms[:, None]
