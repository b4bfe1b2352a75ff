"""Labels by a classical force field in OpenMM."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uncv.data import Dataset
from uncv.dependencies import installed_version
from uncv.errors import ConfigError, OracleError
from uncv.oracles.base import FrameOracle, Labels
from uncv.units import ANGSTROM_IN_NM, EV_IN_KJ_PER_MOL, FORCE_IN_OPENMM

if TYPE_CHECKING:
    from openmm import Context, System
    from openmm.app import Topology


class OpenMMForceField(FrameOracle):
    """A force field of OpenMM's files as the reference.

    Parameters
    ----------
    topology : openmm.app.Topology
        The molecule; every frame must have its atoms in its order. With box vectors it is
        periodic (particle-mesh Ewald); without, it is in vacuum and all pairs interact.
    files : str
        Force-field files as for openmm.app.ForceField.
    platform : str
        Platform of OpenMM; for small molecules ``Reference`` is fastest, and it is deterministic.
    max_force : float, optional
        A frame with a larger force on an atom (eV/Å) counts as failed.
    nonbonded_cutoff : float
        Cutoff of direct interactions in Å, of periodic systems only.

    Raises
    ------
    ConfigError
        If the force field has no parameters for the topology, or a file is not found.

    Examples
    --------
    >>> from uncv.structures import alanine_dipeptide
    >>> topology, start = alanine_dipeptide()
    >>> oracle = OpenMMForceField(topology, "amber14/protein.ff14SB.xml")
    >>> round(float(oracle.label(start).energy[0]), 2)  # eV
    -0.95
    """

    def __init__(
        self,
        topology: Topology,
        *files: str,
        platform: str = "Reference",
        max_force: float | None = None,
        nonbonded_cutoff: float = 9.0,
    ) -> None:
        level = f"OpenMM {'+'.join(Path(f).name for f in files)}"
        super().__init__(level, max_force, software=f"openmm {installed_version('openmm')}")
        self.topology = topology
        self.files = files
        self.platform = platform
        self.nonbonded_cutoff = nonbonded_cutoff
        self._numbers = np.array([atom.element.atomic_number for atom in topology.atoms()])
        self._context = self._make_context()

    @property
    def identity(self) -> str:
        """A hash of the whole force field: bonds, charges, parameters, cutoffs."""
        import openmm

        text = openmm.XmlSerializer.serialize(self._context.getSystem())
        text = re.sub(r'openmmVersion="[^"]*"', "", text)
        return f"OpenMMForceField: {self.platform} {sha256(text.encode()).hexdigest()}"

    @property
    def periodic(self) -> bool:
        """Whether the topology has box vectors."""
        return self.topology.getPeriodicBoxVectors() is not None

    def make_system(self, hydrogen_mass: float | None = None) -> System:
        """Return the force field as an OpenMM System without constraints, for MD with it.

        Parameters
        ----------
        hydrogen_mass : float, optional
            Mass of hydrogen in amu, taken from the heavy atom it is bonded to.

        Raises
        ------
        ConfigError
            If the force field has no parameters for the topology, or a file is not found.
        """
        from openmm import app, unit

        options: dict[str, Any] = {"nonbondedMethod": app.NoCutoff}
        if self.periodic:
            cutoff = self.nonbonded_cutoff * unit.angstrom
            options = {"nonbondedMethod": app.PME, "nonbondedCutoff": cutoff}
        if hydrogen_mass is not None:
            options["hydrogenMass"] = hydrogen_mass * unit.amu
        try:
            system = app.ForceField(*self.files).createSystem(
                self.topology,
                constraints=None,
                rigidWater=False,
                removeCMMotion=False,
                **options,
            )
        except (ValueError, OSError) as error:
            raise ConfigError(
                f"the force field {', '.join(self.files)} cannot describe this structure: {error}"
            ) from error
        if self.periodic:
            _bond_through_the_boundary(system)
        return system

    def compute(self, frame: Dataset) -> Labels:
        """Return energy (eV) and forces (eV/Å) of a dataset of one frame.

        Raises
        ------
        OracleError
            If the frame has other atoms than the topology, or no cell where one is needed.
        """
        numbers = frame.numbers[0][: frame.frame_atoms[0]]
        if not np.array_equal(numbers, self._numbers):
            raise OracleError(
                f"the frame has {len(numbers)} atoms that are not, or not in the order of, the "
                f"{len(self._numbers)} atoms of the topology; make an oracle for this molecule"
            )
        if self.periodic:
            if not frame.pbc[0].all():
                raise OracleError("the topology is periodic but the frame has no cell; give one")
            self._context.setPeriodicBoxVectors(*(frame.cell[0] * ANGSTROM_IN_NM))
        self._context.setPositions(frame.positions[0, : len(numbers)] * ANGSTROM_IN_NM)
        state = self._context.getState(getEnergy=True, getForces=True)
        return Labels(_energy(state), _forces(state))

    def _make_context(self) -> Context:
        import openmm

        return openmm.Context(
            self.make_system(),
            openmm.VerletIntegrator(0.001),
            openmm.Platform.getPlatformByName(self.platform),
        )

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_context"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._context = self._make_context()


def _bond_through_the_boundary(system: System) -> None:
    """Let bonds and exclusions look for the nearest image, since frames may be wrapped."""
    for force in system.getForces():
        if hasattr(force, "setUsesPeriodicBoundaryConditions"):
            force.setUsesPeriodicBoundaryConditions(True)
        if hasattr(force, "setExceptionsUsePeriodicBoundaryConditions"):
            force.setExceptionsUsePeriodicBoundaryConditions(True)


def _energy(state: Any) -> float:
    from openmm import unit

    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return float(energy) / EV_IN_KJ_PER_MOL


def _forces(state: Any) -> np.ndarray:
    from openmm import unit

    per_nm = unit.kilojoule_per_mole / unit.nanometer
    return np.asarray(state.getForces(asNumpy=True).value_in_unit(per_nm)) / FORCE_IN_OPENMM
