"""Samples of frames that uncv stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.analysis.dihedrals import ALANINE_PHI_PSI, dihedrals
from uncv.analysis.samples import Samples, uneven
from uncv.analysis.variable_axes import axes_of
from uncv.analysis.variables import Torsion, Variable
from uncv.data import Dataset
from uncv.errors import DataError

FloatArray = NDArray[np.float64]


def samples_of_frames(
    frames: Dataset,
    atoms: ArrayLike = ALANINE_PHI_PSI,
    *,
    variables: Sequence[Variable] | None = None,
    reweight: bool = False,
    own_bias: bool = False,
    timestep_fs: float | None = None,
) -> Samples:
    """Return what frames of `uncv.sampling.sample` tell; column ``walker`` is 0 where absent.

    Frames at which a walker stopped are left out: they are not at the stride. The walker goes on
    from somewhere else, and so begins a new piece, as it does in each round of a campaign.

    Parameters
    ----------
    frames : Dataset
        With the columns ``bias`` (eV), if it is to be undone, and ``walker``, ``round``, ``step``
        and ``stop_reason`` where known.
    atoms : array_like
        Four atoms for each angle, (K, 4).
    variables : sequence of Variable, optional
        What to look at, in place of these torsions.
    reweight : bool
        Whether the bias is to be undone.
    own_bias : bool
        See `Samples`.
    timestep_fs : float, optional
        Of a step; with it the time between frames is known.

    Raises
    ------
    DataError
        If a bias is to be undone that the frames do not tell, that is zero everywhere, or whose
        walkers were stopped and put back.
    """
    chosen = _torsions(atoms) if variables is None else tuple(variables)
    if variables is None:
        values = dihedrals(frames, atoms, periodic=True)
    else:
        values = np.stack([variable.values(frames) for variable in chosen], axis=1)
    bias = _bias(frames) if reweight else None
    order = _order(frames)
    walker = _integers(frames, "walker")[order]
    piece, regular = _pieces(frames, order)
    steps = _steps(frames, order[regular], piece[regular])
    found = Samples(
        values[order],
        walker,
        None if bias is None else bias[order],
        own_bias,
        _frame_notes(frames, walker[regular], reweight=reweight),
        *axes_of(chosen, values),
        piece,
        None if steps is None or timestep_fs is None else steps * timestep_fs,
        steps,
    )
    return found if regular.all() else found.take(regular)


def _torsions(atoms: ArrayLike) -> tuple[Torsion, ...]:
    quadruples = np.atleast_2d(np.asarray(atoms, dtype=np.int64))
    if quadruples.ndim != 2 or quadruples.shape[1] != 4:
        raise DataError(f"atoms have shape {np.shape(atoms)}; expected (angles, 4) indices")
    names = ("φ", "ψ") if len(quadruples) == 2 else ("",) * len(quadruples)
    return tuple(
        Torsion(tuple(row), name) for row, name in zip(quadruples.tolist(), names, strict=True)
    )


def _integers(frames: Dataset, name: str) -> NDArray[np.int64]:
    return np.asarray(frames.info.get(name, np.zeros(len(frames))), dtype=np.int64)


def _order(frames: Dataset) -> NDArray[np.int64]:
    """Return the order in time within each walker."""
    step = frames.info.get("step", np.arange(len(frames)))
    return np.lexsort((step, _integers(frames, "round"), _integers(frames, "walker")))


def _stopped(frames: Dataset) -> NDArray[np.bool_]:
    reasons = frames.info.get("stop_reason")
    if reasons is None:
        return np.zeros(len(frames), dtype=bool)
    return np.asarray(reasons).astype(str) != ""


def _pieces(
    frames: Dataset, order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the piece of each frame, ordered, and which frames did not stop a walker."""
    if len(order) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    walker, round_ = (_integers(frames, name)[order] for name in ("walker", "round"))
    stopped = _stopped(frames)[order]
    begins = (walker[1:] != walker[:-1]) | (round_[1:] != round_[:-1]) | stopped[:-1]
    return np.concatenate([[0], np.cumsum(begins)]), ~stopped


def _steps(frames: Dataset, order: NDArray[np.int64], piece: NDArray[np.int64]) -> float | None:
    """Return the steps between frames, None where they are not told."""
    if "step" not in frames.info:
        return None
    step = np.asarray(frames.info["step"], dtype=np.float64)[order]
    between = np.diff(step)[piece[1:] == piece[:-1]]
    found = float(np.median(between)) if len(between) else 0.0
    return found if found > 0.0 else None


def _frame_notes(frames: Dataset, walker: NDArray[np.int64], *, reweight: bool) -> tuple[str, ...]:
    notes = uneven(walker) if len(walker) else ()
    stopped = int(_stopped(frames).sum())
    if stopped:
        notes += (f"{stopped} frames at which walkers stopped were left out",)
    if not reweight and np.any(np.nan_to_num(frames.info.get("bias", 0.0))):
        notes += ("the frames carry a bias that was not undone; reweight to do so",)
    return notes


def _bias(frames: Dataset) -> FloatArray:
    if "bias" not in frames.info:
        raise DataError(
            "the frames say nothing of a bias: they have no column 'bias', only "
            f"{', '.join(sorted(frames.info)) or 'none'}; write them by `uncv sample`, or leave "
            "reweighting out"
        )
    stopped = int(_stopped(frames).sum())
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
