"""From the section of a configuration to an oracle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from uncv.config.oracle import (
    AseOracleConfig,
    CommandOracleConfig,
    ForceFieldOracleConfig,
    OracleConfig,
    PotentialOracleConfig,
    PySCFOracleConfig,
    XTBOracleConfig,
)
from uncv.data import Dataset
from uncv.errors import ConfigError
from uncv.oracles.ase_calculator import ase_calculator
from uncv.oracles.base import FrameOracle
from uncv.oracles.cache import CachedOracle
from uncv.oracles.command import CommandOracle
from uncv.oracles.openmm_forcefield import OpenMMForceField
from uncv.oracles.potential import PotentialOracle
from uncv.oracles.pyscf import PySCFOracle, ScfSettings
from uncv.oracles.xtb import XTBOracle

if TYPE_CHECKING:
    from openmm.app import Topology


def make_oracle(
    given: OracleConfig,
    topology: Topology | None = None,
    frame: Dataset | None = None,
    labels: str | Path | None = None,
) -> FrameOracle | CachedOracle:
    """Return the oracle that a section of a configuration asks for.

    Parameters
    ----------
    given : OracleConfig
        The section.
    topology : openmm.app.Topology, optional
        The molecule, for a force field.
    frame : Dataset, optional
        The start structure, one frame, for calculators that belong to a structure.
    labels : path-like, optional
        Where labels are kept for reuse, if the section wants that; without, none are.

    Raises
    ------
    ConfigError
        If the oracle cannot be made of what is given.
    DependencyError
        If a program is not installed.
    """
    oracle = _make(given, topology, frame)
    return CachedOracle(oracle, labels) if given.reuse_labels and labels is not None else oracle


def _make(given: OracleConfig, topology: Topology | None, frame: Dataset | None) -> FrameOracle:
    limit = given.max_force_ev_per_angstrom
    match given:
        case ForceFieldOracleConfig():
            if topology is None:
                raise ConfigError("a force field needs the topology of a molecule; give a PDB file")
            return OpenMMForceField(topology, *given.force_field, max_force=limit)
        case XTBOracleConfig():
            return XTBOracle(
                given.method,
                charge=given.charge,
                multiplicity=given.multiplicity,
                accuracy=given.accuracy,
                electronic_temperature=given.electronic_temperature_k,
                max_iterations=given.max_iterations,
                threads=given.threads,
                max_force=limit,
            )
        case PySCFOracleConfig():
            return _make_pyscf(given)
        case AseOracleConfig():
            return ase_calculator(
                given.calculator,
                given.arguments,
                structure=None if frame is None or given.made_for == "frame" else frame[0],
                each_frame=given.made_for == "frame",
                level_of_theory=given.level_of_theory,
                stress=given.stress,
                max_force=limit,
            )
        case PotentialOracleConfig():
            return PotentialOracle(given.path, limit)
        case CommandOracleConfig():
            return CommandOracle(
                given.command,
                given.level_of_theory,
                timeout=given.timeout_s,
                frames_at_once=given.frames_at_once,
                software=given.software,
                max_force=limit,
            )


def _make_pyscf(given: PySCFOracleConfig) -> PySCFOracle:
    settings = ScfSettings(
        energy_tolerance=given.energy_tolerance_hartree,
        max_cycles=given.max_cycles,
        grid_level=given.grid_level,
        density_fit=given.density_fit,
        threads=given.threads,
    )
    return PySCFOracle(
        given.functional,
        given.basis,
        given.dispersion,
        charge=given.charge,
        multiplicity=given.multiplicity,
        settings=settings,
        max_force=given.max_force_ev_per_angstrom,
    )
