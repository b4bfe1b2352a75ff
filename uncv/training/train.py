"""Train an ensemble of potentials on energies and forces."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.models import AniPotential
from uncv.training.frames import LabelledFrames
from uncv.training.loop import Training
from uncv.training.optimiser import Optimiser
from uncv.training.centring import centre, fit_centring, uncentre
from uncv.training.settings import EpochLog, TrainSettings
from uncv.training.start import member_seed, starting_potential


def train(data, settings=TrainSettings(), *, seed=0, start=None, validation=None, checkpoint=None, log=None, progress=None):
    if validation is None:
        n = max(1, round(settings.valid_fraction * len(data))) 
        data, validation = data.split(len(data) - n, seed=seed)
    potential = starting_potential(data, settings, seed, start)
    frames = LabelledFrames(potential, data)
    held = LabelledFrames(potential, validation)
    centring = fit_centring(frames.described, frames.species, len(potential.elements))
    taken = frames.prepare(centring, settings.memory_budget)
    held.prepare(centring, settings.memory_budget - taken)
    networks = copy.deepcopy(potential.networks)
    if start is not None or settings.start != "scratch":
        centre(networks, centring)
        scale = potential.settings.scale
    else:
        from uncv.training.loss import predict
        from uncv.training.optimiser import SPREAD_FACTOR
        for net, w in zip(networks, centring.spread.tolist()): net.first.weight.data /= (SPREAD_FACTOR*w)
        with torch.no_grad():
            b = frames.batch(torch.arange(min(32, len(frames))))
            pr = predict(networks, 1.0, frames, b)
            f = b.labels.forces.square().mean().sqrt()
            scale = float(f / pr.forces.square().mean().sqrt())
    steps = settings.epochs * -(-len(frames) // settings.batch_size)
    opt = Optimiser(networks, centring, settings, steps)
    tr = Training(opt, frames, held, torch.ones(settings.members, len(frames)), scale, seed)
    while not tr.finished:
        e = tr.advance()
        if progress: progress(e)
    best = opt.best
    uncentre(best, centring)
    out = AniPotential(replace(potential.settings, scale=scale)).to(potential.dtype)
    out.networks.load_state_dict(best.state_dict())
    return out.requires_grad_(False)
