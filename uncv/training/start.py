"""The potential that training starts from: new, pretrained or trained before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from uncv.data import Dataset, FloatArray
from uncv.errors import DataError
from uncv.models import AniPotential, AniSettings, load_potential
from uncv.training.heads import with_head
from uncv.training.members import some_members
from uncv.training.networks import networks_of, parameters_by_member
from uncv.training.settings import TrainSettings

SEED_STRIDE = 1_000_003
"""Distance between the seeds that two neighbouring seeds lead to."""


def starting_potential(
    data: Dataset, settings: TrainSettings, seed: int, start: AniPotential | None
) -> AniPotential:
    """Return a potential to train, a copy of its own, with the head that the settings ask for.

    Parameters
    ----------
    data : Dataset
        Training frames: their elements, composition and energies.
    settings : TrainSettings
        Says what to start from if no potential is given.
    seed : int
        Of the members' first weights.
    start : AniPotential, optional
        Continued with its own networks and atomic reference energies.

    Raises
    ------
    ElementError
        If the data contain elements that a given or pretrained potential does not know.
    """
    return with_head(_without_head(data, settings, seed, start), settings.head)


def _without_head(
    data: Dataset, settings: TrainSettings, seed: int, start: AniPotential | None
) -> AniPotential:
    if start is not None:
        if start.members != settings.members:
            raise ValueError(
                f"the potential to continue has {start.members} members but the settings ask for "
                f"{settings.members}; give both the same number"
            )
        potential = some_members(start, 0, start.members)
        potential.species(torch.as_tensor(data.numbers))
        return potential
    if settings.start == "scratch":
        return _scratch(data, settings, seed)
    pretrained = load_potential("ani1x")
    pretrained.species(torch.as_tensor(data.numbers))
    if settings.members > pretrained.members:
        raise ValueError(
            f"members is {settings.members} but ani1x has {pretrained.members}; "
            "ask for fewer, or start from scratch"
        )
    potential = some_members(pretrained, 0, settings.members)
    return with_reference_energies(potential, data, interaction_energies(potential, data))


def interaction_energies(potential: AniPotential, data: Dataset) -> FloatArray:
    """Return the mean over members of the energy without reference energies, (F,) in eV."""
    with torch.no_grad():
        parts = [
            potential(data[i : i + 64].to_batch()).energies.mean(dim=0)
            for i in range(0, len(data), 64)
        ]
    return torch.cat(parts).to(torch.float64).numpy()


def with_reference_energies(
    potential: AniPotential, data: Dataset, interaction: FloatArray
) -> AniPotential:
    """Return the potential with atomic reference energies that fit the data.

    Least squares on the composition of the frames, for what the interaction energies (F,) leave
    over; of all solutions for too few compositions, that of the smallest norm.
    """
    if data.energy is None or not np.isfinite(data.energy).any():
        return potential
    known = np.isfinite(data.energy)
    counts = np.stack([(data.numbers[known] == z).sum(axis=1) for z in potential.elements], axis=1)
    target = data.energy[known] - interaction[known]
    fitted = np.linalg.lstsq(counts.astype(np.float64), target, rcond=None)[0]
    settings = replace(potential.settings, reference_energies=tuple(float(e) for e in fitted))
    changed = AniPotential(settings).to(potential.dtype)
    changed.load_state_dict(potential.state_dict())
    return changed.requires_grad_(False)


def nested_seed(seed: int, index: int) -> int:
    """Return the seed of one member, or of one epoch."""
    return (seed * SEED_STRIDE + index) % 2**63


def _scratch(data: Dataset, settings: TrainSettings, seed: int) -> AniPotential:
    elements = data.elements
    if not elements:
        raise DataError("the dataset has no atoms; give frames to train on")
    shape = AniSettings(
        elements=elements,
        members=settings.members,
        hidden=tuple(settings.hidden_of(z) for z in elements),
        activation=settings.activation,
        aev=settings.descriptor,
    )
    potential = AniPotential(shape)
    alone = AniPotential(replace(shape, members=1))
    for member in range(settings.members):
        generator = torch.Generator().manual_seed(nested_seed(seed, member))
        for network in networks_of(alone):
            network.initialise(generator)
        of_one = parameters_by_member(networks_of(alone))
        of_all = parameters_by_member(networks_of(potential))
        with torch.no_grad():
            for target, source in zip(of_all, of_one, strict=True):
                target[member] = source[0]
    potential.requires_grad_(False)
    return with_reference_energies(potential, data, np.zeros(len(data)))
