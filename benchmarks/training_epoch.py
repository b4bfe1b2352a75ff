"""Time of one training epoch: descriptor Jacobians against a double backward pass.

Run: python benchmarks/training_epoch.py [--frames 256] [--json]

The reference is the plain way: forces by autograd through the descriptor in plain torch, with a
graph of its own, and the loss differentiated through that. The same networks, batches, loss and
optimiser throughout. Frames: alanine dipeptide, displaced at random, labelled with AMBER ff14SB.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace

import numpy as np
import torch

from uncv.data import Dataset
from uncv.models import AniPotential
from uncv.models.aev import Graph
from uncv.models.neighbours import pair_vectors
from uncv.oracles import OpenMMForceField
from uncv.structures import alanine_dipeptide
from uncv.training import TrainSettings
from uncv.training.centring import Centring, fit_centring
from uncv.training.frames import LabelledFrames
from uncv.training.jacobian import join_graphs
from uncv.training.loss import frame_losses, predict, squared_errors
from uncv.training.networks import copied_networks, networks_of
from uncv.training.optimiser import Optimiser
from uncv.training.start import starting_potential

GOAL = 5.0
RATE = 1e-3


def labelled(frames: int) -> Dataset:
    topology, start = alanine_dipeptide()
    rng = np.random.default_rng(0)
    positions = start.positions + rng.normal(0.0, 0.05, (frames, *start.positions.shape[1:]))
    structures = Dataset(numbers=start.numbers[0], positions=positions)
    return OpenMMForceField(topology, "amber14-all.xml").label(structures)


def double_backward_loss(
    potential: AniPotential,
    data: Dataset,
    graphs: list[Graph],
    ids: torch.Tensor,
    settings: TrainSettings,
) -> torch.Tensor:
    """Return the loss of a batch, forces by autograd; neighbours are known, as in our paths."""
    batch = data[ids.numpy()].to_batch(potential.dtype)
    positions = batch.positions.requires_grad_()
    graph = join_graphs(potential.aev, [graphs[i] for i in ids])
    described = potential.aev(pair_vectors(positions, batch.cell, graph.pairs), graph)
    species = potential.species(batch.numbers).flatten()
    frame = torch.arange(len(ids)).repeat_interleave(positions.shape[1])
    energies = described.new_zeros((potential.members, len(ids)))
    for index, network in enumerate(networks_of(potential)):
        rows = (species == index).nonzero().squeeze(1)
        energies = energies.index_add(1, frame[rows], network(described[rows]) * potential.scale)
    forces = torch.stack(
        [-torch.autograd.grad(e.sum(), positions, create_graph=True)[0] for e in energies]
    )
    reference = potential.reference_energies(batch.numbers)
    wanted = torch.as_tensor(data.energy)[ids] - reference
    energy_error = (energies - wanted.to(energies.dtype)) / positions.shape[1]
    force_error = forces - torch.as_tensor(data.forces)[ids].to(forces.dtype)
    losses = settings.energy_weight * energy_error.square()
    losses = losses + settings.force_weight * force_error.square().mean(dim=(2, 3))
    return losses.mean(dim=1).sum()


def double_backward_epoch(potential: AniPotential, data: Dataset, settings: TrainSettings) -> float:
    potential.requires_grad_(True)
    graphs = [potential.prepare(data[i].to_batch()).graph for i in range(len(data))]
    width = len(potential.elements)
    flat = Centring(torch.zeros(width, potential.aev.width), torch.ones(width))
    optimiser = Optimiser(networks_of(potential), flat, settings, RATE, 100)
    begin = time.perf_counter()
    for ids in torch.arange(len(data)).split(settings.batch_size):
        optimiser.step(double_backward_loss(potential, data, graphs, ids, settings))
    return time.perf_counter() - begin


def our_epoch(potential: AniPotential, data: Dataset, settings: TrainSettings) -> tuple[float, int]:
    frames = LabelledFrames(potential, data)
    centring = fit_centring(frames.inputs, frames.species, len(potential.elements))
    frames.centre(centring)
    taken = frames.keep_jacobians(settings.memory_budget)
    optimiser = Optimiser(copied_networks(networks_of(potential)), centring, settings, RATE, 100)
    begin = time.perf_counter()
    for ids in torch.arange(len(data)).split(settings.batch_size):
        batch = frames.batch(ids)
        prediction = predict(optimiser.networks, potential.scale, frames, batch)
        losses = frame_losses(squared_errors(prediction, batch), settings)
        optimiser.step(losses.mean(dim=1).sum())
    return time.perf_counter() - begin, taken


def measure(frames: int, repeats: int) -> dict[str, float]:
    data, settings = labelled(frames), TrainSettings(batch_size=16)
    potential = starting_potential(data, settings, 0, None)
    cached, pairs, plain = [], [], []
    for _ in range(repeats):  # interleaved, so that a busy machine is busy for all of them
        seconds, taken = our_epoch(potential, data, settings)
        cached.append(seconds)
        pairs.append(our_epoch(potential, data, replace(settings, memory_budget=0))[0])
        plain.append(double_backward_epoch(potential, data, settings))
        potential.requires_grad_(False)
    return {
        "frames": frames,
        "members": settings.members,
        "jacobian_megabytes": taken / 1e6,
        "cached_jacobian_seconds": min(cached),
        "pull_back_seconds": min(pairs),
        "double_backward_seconds": min(plain),
        "ratio_cached_jacobian": min(plain) / min(cached),
        "ratio_pull_back": min(plain) / min(pairs),
        "goal": GOAL,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    result = measure(arguments.frames, arguments.repeats)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:28s} {value:10.3f}")
    return 0 if result["ratio_cached_jacobian"] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
