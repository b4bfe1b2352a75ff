"""Greedy choice by scores that only fall: most of the pool is looked at seldom, and exactly.

Both the distance to the nearest known frame and the posterior variance fall with every frame that
becomes known. A score from some choices ago is therefore an upper bound, and the frames with the
largest of them, brought up to date, hold the next choice as long as its score is above the bounds
of all others. Only when it no longer is, all frames are brought up to date, with one matrix product
for all choices since the last time. The choice is that of a search through the whole pool.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uncv.selection.base import FloatArray, IntArray, Rows, blocks, exhausted

FEWEST, SHARE = 256, 32
"""The candidates kept up to date: at least so many, and this part of the pool."""


class Part(NamedTuple):
    """Some frames of a pool: which, their features (R, D), and their scores (R,)."""

    rows: Rows
    features: FloatArray
    scores: FloatArray


class FallingScores(ABC):
    """Scores of the frames of a pool, as they fall with every choice.

    Parameters
    ----------
    features : numpy.ndarray
        (P, D).
    scores : numpy.ndarray
        (P,) before anything is chosen, at least 0; of frames never to be chosen 0.
    size : int
        How many will be chosen, those before included.
    chosen : sequence of int
        What is chosen before; the scores know of it.
    """

    def __init__(
        self, features: FloatArray, scores: FloatArray, size: int, chosen: Sequence[int] = ()
    ) -> None:
        self.features = features
        self.scores = scores
        self.size = size
        self.chosen = np.array(chosen, dtype=np.int64)
        self._seen = len(self.chosen)  # by how many choices all scores are lowered

    @abstractmethod
    def take(self, pick: int) -> None:
        """Remember what the choice of a frame does to the scores of the others."""

    @abstractmethod
    def lowered(self, part: Part, since: int) -> FloatArray:
        """Return the scores (R,) of a part after all choices, from those before ``since``."""

    def is_known(self, pick: int, score: float) -> bool:
        """Return whether a frame is the same as one that is known, and never to be chosen."""
        return False

    def select(self) -> IntArray:
        """Return the choices, in their order.

        Raises
        ------
        DataError
            If too few frames have a positive score.
        """
        while len(self.chosen) < self.size:
            self._lower_all()
            candidates = self._candidates()
            elsewhere = np.delete(self.scores, candidates).max(initial=0.0)
            self._choose_among(candidates, elsewhere)
        return self.chosen

    def _candidates(self) -> IntArray:
        number = min(len(self.scores), max(FEWEST, len(self.scores) // SHARE))
        return np.sort(np.argpartition(-self.scores, number - 1)[:number])

    def _lower_all(self) -> None:
        for rows in blocks(len(self.features), max(1, len(self.chosen) - self._seen)):
            part = Part(rows, self.features[rows], self.scores[rows])
            self.scores[rows] = self.lowered(part, self._seen)
        self.scores[self.chosen] = 0.0
        self._seen = len(self.chosen)

    def _choose_among(self, candidates: IntArray, elsewhere: float) -> None:
        """Choose as long as the best candidate is at least as good as what others may have."""
        part = Part(candidates, self.features[candidates], self.scores[candidates])
        while len(self.chosen) < self.size:
            best = int(np.argmax(part.scores))
            score, pick = float(part.scores[best]), int(candidates[best])
            if score < elsewhere:
                return
            if score <= 0.0:
                raise exhausted(len(self.chosen), self.size)
            part.scores[best] = 0.0
            if self.is_known(pick, score):
                self.scores[pick] = 0.0
                continue
            self.take(pick)
            self.chosen = np.append(self.chosen, pick)
            part = part._replace(scores=self.lowered(part, len(self.chosen) - 1))
