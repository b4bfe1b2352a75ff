"""Train an ensemble of potentials on energies and forces."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.models import AniPotential
from uncv.training.centring import Centring, centre, fit_centring, scale_first_layers, uncentre
from uncv.training.checkpoint import resume, run_identity, save_checkpoint, write_log
from uncv.training.frames import LabelledFrames
from uncv.training.loop import Training, TrainingFrames
from uncv.training.loss import predict
from uncv.training.networks import Networks, copied_networks, networks_of
from uncv.training.optimiser import FIRST_LAYER, Optimiser
from uncv.training.settings import EpochLog, TrainSettings
from uncv.training.start import starting_potential

NEW_RATE, CONTINUED_RATE, CELU_RATE = 1e-2, 3e-3, 1e-3
"""Largest learning rates by default: new networks, continued ones, those of ANI-1x's kind."""
SCALE_FRAMES = 32
"""Frames whose forces set the scale of new networks."""


class Outputs(NamedTuple):
    """Where the epochs of a run are told of; see `train`."""

    checkpoint: str | Path | None
    log: str | Path | None
    progress: Callable[[EpochLog], None] | None


def train(
    data: Dataset,
    settings: TrainSettings | None = None,
    *,
    seed: int = 0,
    start: AniPotential | None = None,
    validation: Dataset | None = None,
    checkpoint: str | Path | None = None,
    log: str | Path | None = None,
    progress: Callable[[EpochLog], None] | None = None,
) -> AniPotential:
    """Return an ensemble trained on labelled frames.

    Parameters
    ----------
    data : Dataset
        Frames with energies (eV), forces (eV/Å) or both; NaN where a frame has none. Molecules
        may differ.
    settings : TrainSettings, optional
        How to train.
    seed : int
        Of first weights, held-out frames, subsets and order. The result is the same for the same
        seed, bit by bit with one thread.
    start : AniPotential, optional
        Continue this potential: its networks, elements and atomic reference energies are kept.
    validation : Dataset, optional
        Frames for choosing the best weights; by default a share of the data is held out. Which
        ones depends on the frames and the seed, so that frames added later hardly change it.
    checkpoint : str or Path, optional
        Written after each epoch; if it exists, the run continues from it.
    log : str or Path, optional
        Table of all epochs (CSV), written after each.
    progress : callable, optional
        Called with an `EpochLog` after each epoch.

    Raises
    ------
    DataError
        If there are no frames, no labels that the loss uses, or infinite ones.
    ElementError
        If the data contain an element that the potential to start from does not know.
    TrainingError
        If the loss is not finite, or the checkpoint is that of another run.
    """
    settings = TrainSettings() if settings is None else settings
    _check(data, settings, "data")
    if validation is None:
        data, validation = _split(data, settings, seed)
    else:
        _check(validation, settings, "validation")
    _check_head(data, settings)
    potential = starting_potential(data, settings, seed, start)
    identity = run_identity(settings, seed, potential.fingerprint, data, validation)
    frames, centring = _frames(potential, data, validation, settings, seed)
    networks = copied_networks(networks_of(potential))
    new = start is None and settings.start == "scratch"
    if new:
        scale_first_layers(networks, FIRST_LAYER / centring.spread)
        scale = _scale(networks, frames.training)
    else:
        centre(networks, centring)
        scale = potential.settings.scale
    steps = settings.epochs * -(-len(data) // settings.batch_size)
    rate = settings.learning_rate or _default_rate(potential, new=new)
    optimiser = Optimiser(networks, centring, settings, rate, steps)
    training = Training(optimiser, frames, scale, seed)
    if start is not None and start.head:
        training.learn_heads()
    _run(training, identity, Outputs(checkpoint, log, progress))
    return _finished(potential, optimiser.best, centring, scale)


def hold_out(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """Split off a share of the frames by a hash of their positions and the seed.

    The same frames are held out when others are added, except where the growing share takes in or
    leaves out a few: a potential continued on more data has hardly seen its validation frames.

    Parameters
    ----------
    data : Dataset
        F frames.
    fraction : float
        Share to hold out; at least one frame unless it is 0 or there is only one.
    seed : int
        Other seeds hold out other frames.
    """
    number = max(1, round(fraction * len(data))) if fraction > 0 and len(data) > 1 else 0
    if number == 0:
        return data, None
    keys = [
        hashlib.sha256(str(seed).encode() + x[m].tobytes()).digest()
        for x, m in zip(data.positions, data.mask, strict=True)
    ]
    order = np.array(sorted(range(len(data)), key=keys.__getitem__))
    return data[np.sort(order[number:])], data[np.sort(order[:number])]


def _split(data: Dataset, settings: TrainSettings, seed: int) -> tuple[Dataset, Dataset | None]:
    """Hold out frames that carry labels; frames without one teach nothing and are left out."""
    return hold_out(data[_useful(data, settings)], settings.valid_fraction, seed)


def _run(training: Training, identity: str, outputs: Outputs) -> None:
    checkpoint, log, progress = outputs
    history = [] if checkpoint is None else resume(Path(checkpoint), identity, training)
    while not training.finished:
        history.append(training.advance())
        if checkpoint is not None:
            save_checkpoint(Path(checkpoint), identity, training, history)
        if log is not None:
            write_log(Path(log), history)
        if progress is not None:
            progress(history[-1])


def _frames(
    potential: AniPotential,
    data: Dataset,
    validation: Dataset | None,
    settings: TrainSettings,
    seed: int,
) -> tuple[TrainingFrames, Centring]:
    wanted = settings.force_weight > 0 and _finite(data, "forces").any()
    strain = settings.stress_weight > 0
    frames = LabelledFrames(potential, data, forces=bool(wanted), strain=strain)
    centring = fit_centring(frames.inputs, frames.species, len(potential.elements))
    frames.centre(centring)
    left = settings.memory_budget - frames.keep_jacobians(settings.memory_budget)
    held = None
    if validation is not None:
        held = LabelledFrames(potential, validation, forces=bool(wanted), strain=strain)
        held.centre(centring)
        held.keep_jacobians(left)
    weights = subsets(settings.members, len(data), settings.subset_fraction, seed)
    return TrainingFrames(frames, held, weights.to(potential.dtype)), centring


def subsets(members: int, frames: int, fraction: float, seed: int) -> Tensor:
    """Return which frames each member sees, (M, F) of 0 and 1, its own draw for each member."""
    number = math.ceil(fraction * frames)
    chosen = torch.zeros((members, frames))
    for member in range(members):
        order = np.random.default_rng([seed % 2**63, member]).permutation(frames)
        chosen[member, torch.as_tensor(order[:number])] = 1.0
    return chosen


def _default_rate(potential: AniPotential, *, new: bool) -> float:
    if potential.settings.activation == "celu":
        return CELU_RATE
    return NEW_RATE if new else CONTINUED_RATE


def _scale(networks: Networks, frames: LabelledFrames) -> float:
    """Return the factor that gives new networks forces of the size of the labels."""
    if not frames.forces:
        return 1.0
    batch = frames.batch(torch.arange(min(SCALE_FRAMES, len(frames))))
    with torch.no_grad():
        found = predict(networks, 1.0, frames, batch).forces.square().mean().sqrt()
    known = batch.labels.has_forces[batch.frame] > 0
    wanted = batch.labels.forces[known].square().mean().sqrt()
    return float(wanted / found) if bool(wanted > 0) and bool(found > 0) else 1.0


def _finished(
    potential: AniPotential, networks: Networks, centring: Centring, scale: float
) -> AniPotential:
    uncentre(networks, centring)
    trained = AniPotential(replace(potential.settings, scale=scale)).to(potential.dtype)
    for target, source in zip(networks_of(trained), networks, strict=True):
        target.load_state_dict(source.state_dict())
    return trained.requires_grad_(False)


def _check(data: Dataset, settings: TrainSettings, name: str) -> None:
    if len(data) == 0:
        raise DataError(f"{name} has no frames; expected at least one labelled frame")
    for label in ("energy", "forces", "stress"):
        value = getattr(data, label)
        if value is not None and np.isinf(value).any():
            bad = np.flatnonzero(np.isinf(value).reshape(len(data), -1).any(axis=1))
            some = ", ".join(str(i) for i in bad[:8])
            raise DataError(f"{label} of frames {some} of {name} is infinite; remove these frames")
    if not _useful(data, settings).any():
        raise DataError(
            f"no frame of {name} carries a label that the loss uses "
            f"({', '.join(_used_labels(settings))}); label the frames, or change the weights"
        )


def _check_head(data: Dataset, settings: TrainSettings) -> None:
    if settings.head and not _finite(data, "forces").any():
        raise DataError(
            f"the head {settings.head!r} learns the errors of forces but no training frame has "
            "forces; label them, or train without a head"
        )


def _used_labels(settings: TrainSettings) -> list[str]:
    weights = settings.energy_weight, settings.force_weight, settings.stress_weight
    return [n for n, w in zip(("energy", "forces", "stress"), weights, strict=True) if w > 0]


def _useful(data: Dataset, settings: TrainSettings) -> NDArray[np.bool_]:
    """Return which frames carry a label that the loss uses (F,)."""
    return np.any([_finite(data, label) for label in _used_labels(settings)], axis=0)


def _finite(data: Dataset, label: str) -> NDArray[np.bool_]:
    """Return which frames carry a label (F,)."""
    value = getattr(data, label)
    if value is None:
        return np.zeros(len(data), dtype=bool)
    if label == "forces":
        value = np.where(data.mask[:, :, None], value, 0.0)
    return np.all(np.isfinite(value).reshape(len(data), -1), axis=1)
