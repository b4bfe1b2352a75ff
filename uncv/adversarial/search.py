"""Start frames in, candidate frames out: attacks made, told apart, and chosen from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from uncv.adversarial.ascent import Ascent, ascend
from uncv.adversarial.base import Motion, Move
from uncv.adversarial.distinct import distinct
from uncv.adversarial.limits import Limits
from uncv.adversarial.objective import Objective, log_partition
from uncv.adversarial.result import AttackResult, bare, described
from uncv.adversarial.settings import AttackSettings
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import DataError
from uncv.features_frames import FrameFeatures, frame_features
from uncv.selection import select

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def attack(
    cv: UncertaintyCV,
    starts: Dataset,
    settings: AttackSettings | None = None,
    *,
    reference: Dataset | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> AttackResult:
    """Seek frames that a potential is uncertain of and that its energy still allows.

    From every start, Adam maximises log U − Ē/k_BT − log Q over what the settings let move, all
    attacks as one batch; each keeps its best physical step. Duplicates are then dropped and
    candidates chosen.

    Parameters
    ----------
    cv : UncertaintyCV
        Uncertainty U and mean energy Ē.
    starts : Dataset
        Start structures, which take turns; their labels are not looked at.
    settings : AttackSettings, optional
        How.
    reference : Dataset, optional
        What is known, as a rule the training data: Q is the mean of exp(−Ē/k_BT) over it, and no
        candidate is the same as one of its frames. Without, the start frames are taken.
    seed : int
        Of the random displacements at the start. Those of attack k depend on the seed and k alone.
    progress : callable, optional
        Called with steps done and steps in all.

    Raises
    ------
    DataError
        If there is no start, a move does not suit it, the reference has other compositions, or
        every attack ended before its first step.
    GradientError
        If the uncertainty does not depend on what moves.
    ConfigError
        If the stop rules do not suit.
    ElementError
        If the potential does not know an element.

    Notes
    -----
    Source: Schwalbe-Koda, Tan, Gómez-Bombarelli, Nat. Commun. 12, 5104 (2021). Energies are
    extensive: the temperature that suits a molecule is too low for a large cell.
    """
    settings = settings or AttackSettings()
    if len(starts) == 0:
        raise DataError("there is no structure to attack; give at least one start frame")
    cv.prepare(starts.to_batch())  # refuses unknown elements before anything else is looked at
    fallback = reference is None or len(reference) == 0
    known = (starts if reference is None or fallback else reference).without_labels()
    frames = bare(starts, np.arange(settings.attacks) % len(starts))
    moves = [(move, move.bound(frames)) for move in settings.moves]
    found = ascend(
        Objective(cv, settings.kt, log_partition(cv, known, frames, settings.kt)),
        frames.to_batch(),
        moves,
        Limits(settings.stop, starts, settings.attacks, cv.kind),
        settings.steps,
        _drawn(moves, settings.attacks, seed),
        progress,
    )
    _check_any(found)
    attacked = described(cv, starts, found, seed)
    best = np.argsort(-attacked.info["loss"], kind="stable")
    sound = best[found.step[best] >= 0]
    unlike = sound[distinct(cv.potential, attacked[sound], known, settings.tolerance)]
    chosen = _chosen(cv, attacked, unlike, known, settings, seed)
    told = "start frames" if fallback else "reference frames"
    return AttackResult(attacked, unlike, chosen, found.loss, told)


def _drawn(moves: Sequence[tuple[Move, Motion]], attacks: int, seed: int) -> list[FloatArray]:
    """Return for each move the parameters (F, ...) that attacks begin with."""
    streams = [np.random.default_rng((seed, attack)) for attack in range(attacks)]
    return [
        np.stack([move.size * stream.normal(size=motion.shape) for stream in streams])
        for move, motion in moves
    ]


def _check_any(found: Ascent) -> None:
    """Refuse starts none of which can be attacked."""
    if (found.step >= 0).any():
        return
    raise DataError(
        f"every attack ended before its first step, attack 0 because: {found.reasons[0]}; look at "
        "the start frames, or loosen the stop rules"
    )


def _chosen(
    cv: UncertaintyCV,
    attacked: Dataset,
    unlike: IntArray,
    known: Dataset,
    settings: AttackSettings,
    seed: int,
) -> IntArray:
    """Return which of the distinct frames are candidates, in the order of choice."""
    if settings.count is None or settings.count >= len(unlike):
        return unlike
    which: FrameFeatures = "last_layer" if "last_layer" in cv.potential.extras else "mean"
    pool = attacked[unlike]
    picked = select(
        frame_features(cv.potential, pool, which),
        frame_features(cv.potential, known, which),
        settings.count,
        settings.method,
        scores=pool.info["uncertainty"],
        seed=seed,
    )
    return unlike[picked]
