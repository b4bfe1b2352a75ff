"""Train an ensemble of potentials on energies and forces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

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

SCALE_FRAMES = 32
"""Frames whose forces set the scale of new networks."""


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
        If there are too few frames, or no labels that the loss uses, or infinite ones.
    ElementError
        If the data contain an element that the potential to start from does not know.
    TrainingError
        If the loss is not finite, or the checkpoint is that of another run.
    """
    settings = TrainSettings() if settings is None else settings
    _check(data, settings, "data")
    if validation is None:
        data, validation = hold_out(data, settings.valid_fraction, seed)
    else:
        _check(validation, settings, "validation")
    potential = starting_potential(data, settings, seed, start)
    identity = run_identity(settings, seed, potential.fingerprint, data, validation)
    frames, centring = _frames(potential, data, validation, settings, seed)
    networks = copied_networks(networks_of(potential))
    if start is None and settings.start == "scratch":
        scale_first_layers(networks, FIRST_LAYER / centring.spread)
        scale = _scale(networks, frames.training)
    else:
        centre(networks, centring)
        scale = potential.settings.scale
    steps = settings.epochs * -(-len(data) // settings.batch_size)
    training = Training(Optimiser(networks, centring, settings, steps), frames, scale, seed)
    _run(training, identity, _Outputs(checkpoint, log, progress))
    return _finished(potential, training.optimiser.best, centring, scale)
