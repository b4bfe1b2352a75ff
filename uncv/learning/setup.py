"""From the sections of a configuration to the objects of a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from uncv.analysis import ALANINE_PHI_PSI
from uncv.config import CampaignConfig, SystemConfig
from uncv.config_uncertainty import UncertaintyConfig
from uncv.data import Dataset
from uncv.errors import ConfigError
from uncv.oracles import OpenMMForceField
from uncv.protocols import Oracle
from uncv.sampling import SampleSettings
from uncv.stopping import StopRules
from uncv.structures import alanine_dipeptide
from uncv.training import TrainSettings
from uncv.uncertainty import UncertaintyBase, by_name
from uncv.units import ANGSTROM_IN_NM

if TYPE_CHECKING:
    from openmm.app import Topology

SHIPPED = "alanine_dipeptide"
_PURPOSES = ("start", "train", "sample", "select", "split", "fold", "warm_up")


class Setup(NamedTuple):
    """What a campaign works with.

    Attributes
    ----------
    topology : openmm.app.Topology
        The molecule.
    start : Dataset
        Its start structure, one frame.
    torsions : tuple of tuple of int
        Torsions whose coverage is followed; may be empty.
    oracle : Oracle
        Where labels come from.
    """

    topology: Topology
    start: Dataset
    torsions: tuple[tuple[int, int, int, int], ...]
    oracle: Oracle


def seed_of(config: CampaignConfig, round_: int, purpose: str) -> int:
    """Return the seed of one purpose in one round: all randomness of a campaign comes from here."""
    sequence = np.random.SeedSequence([config.seed, round_, _PURPOSES.index(purpose)])
    return int(sequence.generate_state(1)[0] >> 1)


def make_setup(config: CampaignConfig) -> Setup:
    """Return the structure and the oracle that a configuration asks for.

    Raises
    ------
    ConfigError
        If the structure cannot be read or the force field does not know it.
    """
    topology, start = load_structure(config.system)
    torsions = config.system.torsions
    if not torsions and config.system.structure == SHIPPED:
        torsions = ALANINE_PHI_PSI
    wrong = [t for t in torsions if min(t) < 0 or max(t) >= start.frame_atoms[0]]
    if wrong:
        raise ConfigError(
            f"torsion {wrong[0]} names an atom that is not there: the structure has "
            f"{start.frame_atoms[0]} atoms, counted from 0"
        )
    oracle = OpenMMForceField(
        topology,
        *config.oracle.force_field,
        max_force=config.oracle.max_force_ev_per_angstrom,
    )
    return Setup(topology, start, torsions, oracle)


def load_structure(system: SystemConfig) -> tuple[Topology, Dataset]:
    """Return topology and positions of a shipped structure or a PDB file.

    Raises
    ------
    ConfigError
        If there is no such structure or file, or it is not a PDB file.
    """
    from openmm import app, unit

    if system.structure == SHIPPED:
        return alanine_dipeptide()
    if not Path(system.structure).is_file():
        raise ConfigError(
            f"structure {system.structure!r} is neither a file nor {SHIPPED!r}; give a PDB file"
        )
    try:
        pdb = app.PDBFile(system.structure)
    except Exception as error:
        raise ConfigError(f"{system.structure} cannot be read as PDB: {error}") from error
    topology = pdb.topology
    cell = np.zeros((3, 3))
    if not system.periodic:
        topology.setPeriodicBoxVectors(None)
    elif topology.getPeriodicBoxVectors() is None:
        raise ConfigError(f"{system.structure} has no box (CRYST1) but system.periodic is true")
    else:
        cell = np.array(topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer))
    positions = np.array(pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    numbers = np.array([atom.element.atomic_number for atom in topology.atoms()])
    start = Dataset(numbers, positions[None] / ANGSTROM_IN_NM, cell=cell / ANGSTROM_IN_NM)
    return topology, start


def displaced_starts(config: CampaignConfig, start: Dataset) -> Dataset:
    """Return the first structures to label: the start with Gaussian displacements.

    Notes
    -----
    Zaverkin et al. (2024) displace by 0.02 Å alone; here a second, larger amplitude gives the
    first potential some forces to learn from.
    """
    count = config.budget.initial_labels
    random = np.random.default_rng(seed_of(config, 0, "start"))
    amplitudes = np.resize(config.budget.initial_displacements_angstrom, count)
    noise = random.normal(size=(count, *start.positions.shape[1:])) * amplitudes[:, None, None]
    frames = start[np.zeros(count, dtype=np.int64)].without_labels()
    return Dataset(frames.numbers, frames.positions + noise, cell=frames.cell, pbc=frames.pbc)


_FAMILY_OF_KIND = {
    "ensemble": "EnsembleUncertainty",
    "gradient": "GradientUncertainty",
    "gmm": "GMMUncertainty",
    "mean_variance": "MVEUncertainty",
    "evidential": "EvidentialUncertainty",
}


def make_uncertainty(given: UncertaintyConfig) -> UncertaintyBase:
    """Return the uncertainty of a section, not fitted."""
    options = given.model_dump(exclude={"kind", "reduce", "method"})
    if given.kind == "gradient":
        options["kind"] = given.method
    return by_name(_FAMILY_OF_KIND[given.kind], options)


def head_of(given: UncertaintyConfig) -> Literal["", "mean_variance", "evidential"]:
    """Return the head that a potential must be trained with for an uncertainty, '' for none."""
    return given.kind if given.kind in ("mean_variance", "evidential") else ""


def train_settings(config: CampaignConfig, *, warm: bool) -> TrainSettings:
    """Return how a round trains: at length from scratch, shortly from the previous round."""
    given = config.potential
    options: dict[str, Any] = {
        "members": given.members,
        "epochs": given.epochs_warm if warm else given.epochs,
        "batch_size": given.batch_size,
        "learning_rate": given.learning_rate,
        "start": given.start,
        "hidden": given.hidden,
        "energy_weight": given.energy_weight,
        "force_weight": given.force_weight,
        "subset_fraction": given.subset_share,
        "head": head_of(config.uncertainty),
    }
    return TrainSettings(**{key: value for key, value in options.items() if value is not None})


def sample_settings(config: CampaignConfig) -> SampleSettings:
    """Return the dynamics of a round."""
    given = config.sampling
    return SampleSettings(
        temperature=given.temperature_k,
        timestep=given.timestep_fs,
        friction=given.friction_per_ps,
        hydrogen_mass=given.hydrogen_mass_amu,
        steps=given.steps_per_round,
        stride=given.stride,
        walkers=given.walkers,
    )


def stop_rules(config: CampaignConfig) -> StopRules:
    """Return when a walker is stopped."""
    given = config.stop
    return StopRules(
        max_uncertainty=given.max_uncertainty,
        max_atomic_uncertainty=given.max_atomic_uncertainty,
        min_distance_factor=given.min_distance_factor,
        min_contact_factor=given.min_contact_factor,
        max_bond_factor=given.max_bond_factor,
        max_force=given.max_force_ev_per_angstrom,
    )


def viability_rules(config: CampaignConfig) -> StopRules:
    """Return which candidates are broken structures: the geometric part of the stop rules."""
    given = config.stop
    return StopRules(
        min_distance_factor=given.min_distance_factor,
        min_contact_factor=given.min_contact_factor,
        max_bond_factor=given.max_bond_factor,
    )
