"""What an analysis needs of a run: two angles, the bias and the walker of each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.analysis.colvar import ColvarTable
from uncv.analysis.dihedrals import ALANINE_PHI_PSI, dihedrals
from uncv.analysis.reweighting import bias_weights
from uncv.data import Dataset
from uncv.errors import DataError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Samples:
    """Frames of one or several walkers, in the order of time within each.

    Parameters
    ----------
    angles : numpy.ndarray
        (F, K) in radians.
    walker : numpy.ndarray
        Number of the walker of each frame (F,).
    bias : numpy.ndarray or None
        V of each frame (F,), eV; None if the frames are taken as they are.
    own_bias : bool
        Whether each walker has a bias of its own, so that its weights are normalised by themselves.
    notes : tuple of str
        What a reader of the result should know.
    """

    angles: FloatArray
    walker: NDArray[np.int64]
    bias: FloatArray | None = None
    own_bias: bool = False
    notes: tuple[str, ...] = ()

    def discard(self, share: float) -> Samples:
        """Return the frames without the first share of each walker, rounded down.

        Raises
        ------
        DataError
            If the share is not in [0, 1).
        """
        if not 0.0 <= share < 1.0:
            raise DataError(f"the share to discard is {share:g}; expected 0 to below 1")
        kept = np.ones(len(self.walker), dtype=bool)
        for label in np.unique(self.walker):
            own = np.flatnonzero(self.walker == label)
            kept[own[: int(share * len(own))]] = False
        bias = None if self.bias is None else self.bias[kept]
        return replace(self, angles=self.angles[kept], walker=self.walker[kept], bias=bias)

    def weights(self, temperature: float) -> FloatArray:
        """Return the weight of each frame (F,) at a temperature in K, of sum 1."""
        if self.bias is None:
            return np.full(len(self.walker), 1.0 / len(self.walker))
        return bias_weights(self.bias, temperature, self.walker if self.own_bias else None)


def samples_of_frames(
    frames: Dataset,
    atoms: ArrayLike = ALANINE_PHI_PSI,
    *,
    reweight: bool = False,
    own_bias: bool = False,
) -> Samples:
    """Return what frames of `uncv.sampling.sample` tell; column ``walker`` is 0 where absent.

    Parameters
    ----------
    frames : Dataset
        With the columns ``bias`` (eV), if it is to be undone, and ``walker`` and ``step`` where
        known.
    atoms : array_like
        Four atoms for each angle, (K, 4).
    reweight : bool
        Whether the bias is to be undone.
    own_bias : bool
        See `Samples`.

    Raises
    ------
    DataError
        If a bias is to be undone that the frames do not tell, that is zero everywhere, or whose
        walkers were stopped and put back.
    """
    walker = np.asarray(frames.info.get("walker", np.zeros(len(frames))), dtype=np.int64)
    angles = dihedrals(frames, atoms)
    order = np.lexsort((frames.info.get("step", np.arange(len(frames))), walker))
    if reweight:
        bias = _bias(frames)
        return Samples(angles[order], walker[order], bias[order], own_bias, _uneven(walker))
    notes = _uneven(walker)
    if np.any(np.nan_to_num(frames.info.get("bias", 0.0))):
        notes += ("the frames carry a bias that was not undone; reweight to do so",)
    return Samples(angles[order], walker[order], notes=notes)


def samples_of_colvar(
    tables: Sequence[ColvarTable],
    columns: Sequence[str] = ("phi", "psi"),
    *,
    bias: Sequence[str] = (),
    bias_unit: float = 1.0,
    own_bias: bool = True,
) -> Samples:
    """Return what COLVAR files tell; each is a walker.

    Parameters
    ----------
    tables : sequence of ColvarTable
        One for each walker.
    columns : sequence of str
        The angles, in radians as PLUMED prints torsions.
    bias : sequence of str
        Columns whose sum is the bias to be undone; none takes the rows as they are.
    bias_unit : float
        The energy unit of these columns in eV.
    own_bias : bool
        See `Samples`.

    Raises
    ------
    DataError
        If a column is absent, holds NaN, or is no angle, or rows of different files are different
        times apart.
    """
    if not tables:
        raise DataError("there is no COLVAR file; give at least one")
    angles = [np.stack([_angle(table, name) for name in columns], axis=1) for table in tables]
    walker = np.repeat(np.arange(len(tables)), [len(part) for part in angles])
    _check_intervals(tables)
    notes = tuple(f"{table.file}: {note}" for table in tables for note in table.notes)
    notes += _uneven(walker)
    if bias:
        sums = [np.sum([table.column(name) for name in bias], axis=0) for table in tables]
        total = np.concatenate(sums) * bias_unit
        return Samples(np.concatenate(angles), walker, total, own_bias, notes)
    present = sorted({f for table in tables for f in table.fields if f.endswith("bias")})
    if present:
        notes += (f"the columns {', '.join(present)} were not undone; name them to reweight",)
    return Samples(np.concatenate(angles), walker, notes=notes)


def joined(parts: Sequence[Samples]) -> Samples:
    """Return the samples of several inputs, whose walkers are all different ones.

    Raises
    ------
    DataError
        If some are to be reweighted and others not.
    """
    if len({(part.bias is None, part.own_bias) for part in parts}) > 1:
        raise DataError("some inputs are to be reweighted and others not; analyze them one by one")
    offsets = np.cumsum([0, *(int(part.walker.max(initial=-1)) + 1 for part in parts)])
    biases = [part.bias for part in parts if part.bias is not None]
    walker = np.concatenate([p.walker + o for p, o in zip(parts, offsets[:-1], strict=True)])
    return Samples(
        np.concatenate([part.angles for part in parts]),
        walker,
        np.concatenate(biases) if biases else None,
        parts[0].own_bias,
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _bias(frames: Dataset) -> FloatArray:
    if "bias" not in frames.info:
        raise DataError(
            "the frames say nothing of a bias: they have no column 'bias', only "
            f"{', '.join(sorted(frames.info)) or 'none'}; write them by `uncv sample`, or leave "
            "reweighting out"
        )
    stopped = int(np.sum(np.asarray(frames.info.get("stop_reason", "")).astype(str) != ""))
    if stopped:
        raise DataError(
            f"{stopped} walkers were stopped and put back elsewhere, so that the run samples no "
            "ensemble that could be reweighted; run without stop rules that strike"
        )
    changed = np.asarray(frames.info.get("not_reweightable", "")).astype(str).ravel()
    if len(changed) and changed[0]:
        raise DataError(
            f"the run cannot be reweighted: {changed[0]}; repeat it with a bias and a temperature "
            "that stay, or leave reweighting out"
        )
    bias = np.asarray(frames.info["bias"], dtype=np.float64)
    if not np.any(bias):
        raise DataError(
            "the bias of every frame is zero: the run was not biased, and needs no reweighting, or "
            "its bias was adaptive, which has no potential and cannot be reweighted"
        )
    return bias


def _angle(table: ColvarTable, name: str) -> FloatArray:
    values = table.column(name)
    low, high = table.constants.get(f"min_{name}", "-pi"), table.constants.get(f"max_{name}", "pi")
    if (low, high) != ("-pi", "pi") or np.abs(values).max() > np.pi + 1e-4:
        raise DataError(
            f"column '{name}' of {table.file} is no torsion in radians: its domain is {low} to "
            f"{high} and its values lie between {values.min():.4g} and {values.max():.4g}; name "
            "the columns of two torsions"
        )
    return values


def _check_intervals(tables: Sequence[ColvarTable]) -> None:
    """Rows must be equally far apart in all files, or they would not stand for equal times."""
    steps = {}
    for table in tables:
        if "time" in table.fields and len(table.values) > 1:
            steps[table.file] = float(np.median(np.diff(table.column("time"))))
    if steps and max(steps.values()) > 1.01 * min(steps.values()):
        told = ", ".join(f"{file}: {step:g}" for file, step in steps.items())
        raise DataError(f"rows are different times apart ({told}); print with one STRIDE")


def _uneven(walker: NDArray[np.int64]) -> tuple[str, ...]:
    counts = np.unique(walker, return_counts=True)[1]
    if len(counts) < 2 or counts.max() <= 1.01 * counts.min():
        return ()
    return (f"walkers hold {counts.min()} to {counts.max()} frames and count accordingly",)
