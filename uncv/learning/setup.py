"""From the sections of a configuration to the objects of a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from uncv.config import CampaignConfig
from uncv.config.training import DescriptorConfig
from uncv.config.uncertainty import UncertaintyConfig
from uncv.data import Dataset
from uncv.errors import ConfigError
from uncv.io import read
from uncv.learning.system import Engine, Observable, engine_of, load_structure, observable_of
from uncv.models.aev import AevSettings
from uncv.oracles import make_oracle
from uncv.perturb import Strain, draw
from uncv.protocols import Oracle
from uncv.sampling import SampleSettings
from uncv.sampling_crystal import CrystalSettings
from uncv.schedule import Ramp, SawTooth, Schedule
from uncv.stopping import StopRules
from uncv.training import TrainSettings
from uncv.uncertainty import UncertaintyBase, by_name

if TYPE_CHECKING:
    from openmm.app import Topology

_PURPOSES = ("start", "train", "sample", "select", "split", "fold", "warm_up", "accept")
PRESSED_STRESS_WEIGHT = 1000.0
"""Of the loss at constant pressure: an error of 0.16 GPa then counts like one of 0.03 eV/Å."""


class Setup(NamedTuple):
    """What a campaign works with.

    Attributes
    ----------
    topology : openmm.app.Topology
        The molecule or crystal.
    start : Dataset
        Its start structures, as a rule one frame.
    engine : {'openmm', 'ase'}
        What moves the walkers.
    observable : Observable
        What coverage is followed of.
    oracle : Oracle
        Where labels come from.
    test : Dataset or None
        Labelled frames that are never trained on.
    """

    topology: Topology
    start: Dataset
    engine: Engine
    observable: Observable
    oracle: Oracle
    test: Dataset | None = None

    @property
    def torsions(self) -> tuple[tuple[int, int, int, int], ...]:
        """Torsions whose coverage is followed; may be empty."""
        return self.observable.torsions


def seed_of(config: CampaignConfig, round_: int, purpose: str, part: int = 0) -> int:
    """Return the seed of one purpose in one round: all randomness of a campaign comes from here.

    Parts are the tasks that share a purpose: groups of walkers, groups of members.
    """
    words = [config.seed, round_, _PURPOSES.index(purpose), *([part] if part else [])]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def make_setup(config: CampaignConfig, labels: Path | None = None) -> Setup:
    """Return the structure and the oracle that a configuration asks for.

    Parameters
    ----------
    config : CampaignConfig
        The campaign.
    labels : pathlib.Path, optional
        Where labels are kept for reuse, if the oracle's section wants that.

    Raises
    ------
    ConfigError
        If the structure or the test data cannot be used, or the oracle does not know the
        structure.
    """
    topology, start = load_structure(config.system)
    return Setup(
        topology,
        start,
        engine_of(config, start),
        observable_of(config.system, start),
        make_oracle(config.oracle, topology, start[:1], labels),
        _labelled("test_data", config.system.test_data),
    )


def labelled_data(config: CampaignConfig) -> Dataset | None:
    """Return the labelled frames that a campaign begins with, None where it makes its own.

    Raises
    ------
    ConfigError
        If the file cannot be used.
    """
    return _labelled("labelled_data", config.system.labelled_data)


def _labelled(key: str, path: str | None) -> Dataset | None:
    """Return the labelled frames of a file that a key of the system names."""
    if path is None:
        return None
    try:
        data = read(path)
        data.require("energy", "forces")
    except (OSError, ValueError) as error:
        raise ConfigError(f"system.{key} cannot be used: {error}") from error
    if len(data) == 0:
        raise ConfigError(f"system.{key} cannot be used: {path} has no frames")
    return data


def displaced_starts(config: CampaignConfig, start: Dataset) -> Dataset:
    """Return the first structures to label: the start structures, strained and displaced.

    Notes
    -----
    Zaverkin et al. (2024) displace by 0.02 Å alone; here a second, larger amplitude gives the
    first potential some forces to learn from.
    """
    count, strain = config.budget.initial_labels, config.budget.initial_strain
    seed = seed_of(config, 0, "start")
    random = np.random.default_rng(seed)
    amplitudes = np.resize(config.budget.initial_displacements_angstrom, count)
    noise = random.normal(size=(count, *start.positions.shape[1:])) * amplitudes[:, None, None]
    frames = start[np.arange(count) % len(start)].without_labels()
    if strain is not None:
        frames = draw(start, count, Strain(strain), seed=seed).without_labels()
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


def train_settings(
    config: CampaignConfig, members: int, frames: int, *, warm: bool
) -> TrainSettings:
    """Return how a round trains on so many frames: at length from scratch, shortly if warm."""
    given = config.potential
    options: dict[str, Any] = {
        "members": members,
        "epochs": given.epochs_of(frames, warm=warm),
        "patience": given.patience,
        "batch_size": given.batch_size,
        "learning_rate": given.learning_rate,
        "start": given.start,
        "hidden": given.hidden,
        "descriptor": _descriptor(given.descriptor),
        "energy_weight": given.energy_weight,
        "force_weight": given.force_weight,
        "weight_decay": given.weight_decay,
        "stress_weight": _stress_weight(config),
        "subset_fraction": given.subset_share,
        "head": head_of(config.uncertainty),
    }
    return TrainSettings(**{key: value for key, value in options.items() if value is not None})


def _descriptor(given: DescriptorConfig) -> AevSettings:
    return AevSettings.evenly(
        given.radial_cutoff_angstrom,
        given.angular_cutoff_angstrom,
        radial=given.radial_functions,
        angular=given.angular_functions,
        angles=given.angles,
        radial_eta=given.radial_eta,
        angular_eta=given.angular_eta,
        zeta=given.zeta,
    )


def _stress_weight(config: CampaignConfig) -> float | None:
    given = config.potential.stress_weight
    if given is None and config.sampling.pressure_gpa is not None:
        return PRESSED_STRESS_WEIGHT
    return given


def dynamics_settings(
    config: CampaignConfig, engine: Engine, starts: Dataset
) -> SampleSettings | CrystalSettings:
    """Return the dynamics of a group of walkers that begin at these structures."""
    given = config.sampling
    common: dict[str, Any] = {
        "temperature": _temperature(config),
        "timestep": given.timestep_fs,
        "hydrogen_mass": given.hydrogen_mass_amu,
        "steps": given.steps_per_round,
        "stride": given.stride,
        "walkers": len(starts),
    }
    if engine == "openmm":
        return SampleSettings(friction=given.friction_per_ps, **common)
    return CrystalSettings(
        pressure=given.pressure_gpa,
        cell=given.cell,
        thermostat_time=given.thermostat_time_fs,
        barostat_time=given.barostat_time_fs,
        stress_strength=config.bias.stress_strength,
        volume_limits=_volume_limits(config, starts),
        **common,
    )


def _volume_limits(config: CampaignConfig, starts: Dataset) -> tuple[float, float]:
    """Return the limits in units of the smallest and the largest start volume."""
    volumes = np.abs(np.linalg.det(starts.cell))
    limits = config.stop.volume_limits_angstrom3
    if limits is None or not volumes.all():
        return CrystalSettings.volume_limits
    return limits[0] / float(volumes.min()), limits[1] / float(volumes.max())


def _temperature(config: CampaignConfig) -> float | Schedule:
    given = config.sampling
    end, steps = given.temperature_end_k, given.temperature_schedule_steps
    if end is None or steps is None:
        return given.temperature_k
    kind = Ramp if given.temperature_schedule == "ramp" else SawTooth
    return kind(given.temperature_k, end, steps)


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
