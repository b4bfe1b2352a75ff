"""Silica by the BKS potential: labels for crystals, melts and glasses of SiO2.

Pairs interact by V(r) = q q'/r + A exp(−b r) − C/r^6 + 4ε[(σ/r)^30 − (σ/r)^6]. The charges and
the Buckingham terms are those of van Beest, Kramer and van Santen, Phys. Rev. Lett. 64, 1955
(1990). Their energy falls without bound below 1.19 Å (Si-O) and 1.44 Å (O-O), and atoms of a hot
melt get there; the last term, of Saika-Voivod, Sciortino, Grande and Poole, Phys. Rev. E 70, 061507
(2004), closes that hole, is smooth, and changes the energy of a bond of 1.6 Å by 0.004 eV.

A cell of some 72 atoms is smaller than twice a sensible cutoff. The oracle therefore writes the
periodic images around the cell out as particles of their own: a pair of two atoms of the cell
counts once, one of an atom and an image half. Of this energy, the forces on an atom and all its
images add up to the force, and the moments of all forces to the virial. Charges are treated by
Ewald's sum, its pair part with the same images, its part in reciprocal space in closed form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.dependencies import installed_version
from uncv.errors import ConfigError, OracleError
from uncv.oracles.base import FrameOracle, Labels
from uncv.units import ANGSTROM_IN_NM, EV_IN_KJ_PER_MOL, FORCE_IN_OPENMM

if TYPE_CHECKING:
    from openmm import Context, CustomNonbondedForce, System

FloatArray = NDArray[np.float64]

SI, O = 14, 8  # noqa: E741 - the chemical symbol
CHARGES = {SI: 2.4, O: -1.2}
COULOMB = 14.399645478
"""e²/(4πε0) in eV Å, CODATA 2018."""


class PairParameters(NamedTuple):
    """Short-range interaction of two elements: eV, 1/Å, eV Å^6, eV, Å."""

    A: float
    b: float
    C: float
    epsilon: float
    sigma: float


SI_O = PairParameters(18003.7572, 4.87318, 133.5381, 0.003097948, 1.313635)
O_O = PairParameters(1388.7730, 2.76000, 175.0000, 0.00105105048, 1.779239)
TAPER = 0.775  # the short range is switched off between this part of the cutoff and the cutoff
ACCURACY = 4.5  # Ewald's sum leaves out erfc(4.5) = 2e-10 of the charges' interaction on each side


class BKSSilica(FrameOracle):
    """The BKS potential of silica as the reference, for periodic cells of any size and shape.

    Parameters
    ----------
    cutoff : float
        Distance in Å at which the short-range terms have been switched off, smoothly from 0.775 of
        it on; Coulomb interactions are complete whatever it is. The cited work has 10 Å, at three
        times the time for a cell of 72 atoms.
    max_force : float, optional
        A frame with a larger force on an atom (eV/Å) counts as failed.

    Raises
    ------
    ConfigError
        If the cutoff is not positive.

    Examples
    --------
    >>> from uncv.structures.quartz import alpha_quartz
    >>> labelled = BKSSilica().label(alpha_quartz())
    >>> round(float(labelled.energy[0]) / 3, 1)  # eV for each SiO2, from ions far apart
    -58.2
    """

    def __init__(self, cutoff: float = 8.0, max_force: float | None = None) -> None:
        if not cutoff > 0:
            raise ConfigError(f"cutoff is {cutoff}; give a positive distance in Å")
        super().__init__(
            f"BKS silica with 30-6 term, {cutoff:g} Å",
            max_force,
            software=f"openmm {installed_version('openmm')}",
        )
        self.cutoff = cutoff
        self._contexts: dict[tuple[bytes, tuple[int, ...]], Context] = {}

    def compute(self, frame: Dataset) -> Labels:
        """Return energy (eV), forces (eV/Å) and stress (eV/Å^3) of a dataset of one frame.

        Raises
        ------
        OracleError
            If the frame is not SiO2, or not periodic in all directions.
        """
        numbers = _silica(frame)
        cell = frame.cell[0]
        fractions = frame.positions[0, : len(numbers)] @ np.linalg.inv(cell)
        positions = (fractions - np.floor(fractions)) @ cell
        charges = np.array([CHARGES[int(z)] for z in numbers])
        pairs = self._pairs(numbers, positions, cell)
        waves = reciprocal_space(charges, positions, cell, self.alpha)
        own = -COULOMB * self.alpha / np.sqrt(np.pi) * (charges**2).sum()
        volume = abs(np.linalg.det(cell))
        return Labels(
            pairs.energy + waves.energy + own,
            pairs.forces + waves.forces,
            (pairs.strain_derivative + waves.strain_derivative) / volume,
        )

    @property
    def alpha(self) -> float:
        """Width parameter of Ewald's sum, 1/Å."""
        return ACCURACY / self.cutoff

    def make_system(self, frame: Dataset) -> System:
        """Return an OpenMM System of the atoms of one frame, for quick dynamics of small cells.

        OpenMM allows no cutoff beyond half the cell. Where that is less than this oracle's, the
        short range ends there, so that frames of such dynamics need the labels of `label`.

        Raises
        ------
        OracleError
            If the frame is not SiO2 or not periodic, or its cell is not in OpenMM's reduced form.
        """
        import openmm
        from openmm import app

        numbers = _silica(frame)
        cutoff = min(self.cutoff, 0.495 * float(np.diag(frame.cell[0]).min()))
        system = openmm.System()
        try:
            system.setDefaultPeriodicBoxVectors(*(frame.cell[0] * ANGSTROM_IN_NM))
        except openmm.OpenMMException as error:
            raise OracleError(f"OpenMM refuses the cell; rotate and reduce it: {error}") from error
        coulomb = openmm.NonbondedForce()
        coulomb.setNonbondedMethod(openmm.NonbondedForce.PME)
        coulomb.setCutoffDistance(cutoff * ANGSTROM_IN_NM)
        pairs = _pair_force("short", cutoff, ["silicon"])
        pairs.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
        for z in numbers:
            system.addParticle(app.Element.getByAtomicNumber(int(z)).mass)
            coulomb.addParticle(CHARGES[int(z)], 1.0, 0.0)
            pairs.addParticle([float(z == SI)])
        system.addForce(coulomb)
        system.addForce(pairs)
        return system

    def _pairs(self, numbers: NDArray, positions: FloatArray, cell: FloatArray) -> _Part:
        """Return the part of the energy that is a sum over pairs within the cutoff."""
        widths = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        reach = tuple(int(n) for n in np.ceil(self.cutoff / widths))
        shifts = _images(reach) @ cell
        everything = (positions + shifts[:, None]).reshape(-1, 3)
        key = (numbers.tobytes(), reach)
        if key not in self._contexts:
            self._contexts = {key: self._make_context(numbers, len(shifts))}
        context = self._contexts[key]
        context.setPositions(everything * ANGSTROM_IN_NM)
        state = context.getState(getEnergy=True, getForces=True)
        forces = np.asarray(state.getForces(asNumpy=True)._value) / FORCE_IN_OPENMM  # noqa: SLF001
        energy = float(state.getPotentialEnergy()._value) / EV_IN_KJ_PER_MOL  # noqa: SLF001
        return _Part(energy, forces.reshape(len(shifts), -1, 3).sum(0), -forces.T @ everything)

    def _make_context(self, numbers: NDArray, copies: int) -> Context:
        """Return a context of the cell, its atoms first, and of its images."""
        import openmm

        system = openmm.System()
        force = _pair_force(
            f"half*(short + {COULOMB}*charge1*charge2*erfc({self.alpha}*R)/R);"
            "half=0.5*(1+own1*own2)",
            self.cutoff,
            ["silicon", "charge", "own"],
        )
        for copy in range(copies):
            for z in numbers:
                system.addParticle(1.0)
                force.addParticle([float(z == SI), CHARGES[int(z)], float(copy == 0)])
        force.addInteractionGroup(range(len(numbers)), range(copies * len(numbers)))
        force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffNonPeriodic)
        system.addForce(force)
        # The Reference platform computes in double precision.
        platform = openmm.Platform.getPlatformByName("Reference")
        return openmm.Context(system, openmm.VerletIntegrator(0.001), platform)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_contexts": {}}


class _Part(NamedTuple):
    """Energy (eV), forces (A, 3) (eV/Å) and derivative by strain (3, 3) (eV) of a term."""

    energy: float
    forces: FloatArray
    strain_derivative: FloatArray


def reciprocal_space(
    charges: FloatArray, positions: FloatArray, cell: FloatArray, alpha: float
) -> _Part:
    """Return the smooth part of Ewald's sum, for a cell without net charge.

    Parameters
    ----------
    charges : numpy.ndarray
        Charges (A,) in e.
    positions : numpy.ndarray
        Positions (A, 3) in Å.
    cell : numpy.ndarray
        Cell vectors as rows (3, 3) in Å.
    alpha : float
        Width parameter in 1/Å: the pair part of the sum is q q' erfc(αr)/r.
    """
    basis = 2.0 * np.pi * np.linalg.inv(cell).T
    largest = 2.0 * alpha * ACCURACY
    reach = np.floor(largest * np.linalg.norm(cell, axis=1) / (2.0 * np.pi)).astype(int)
    # k and −k say the same; the first half of the symmetric list and a factor of 2 are enough.
    k = _images(tuple(reach))[1:] @ basis
    squares = (k**2).sum(axis=1)
    first = (np.arange(len(k)) % 2 == 0) & (squares <= largest**2)
    k, squares = k[first], squares[first]
    phases = positions @ k.T
    cosines, sines = np.cos(phases), np.sin(phases)
    c, s = charges @ cosines, charges @ sines
    volume = abs(np.linalg.det(cell))
    weights = COULOMB * 4.0 * np.pi / volume * np.exp(-squares / (4.0 * alpha**2)) / squares
    energies = weights * (c**2 + s**2)
    forces = 2.0 * charges[:, None] * ((weights * (c * sines - s * cosines)) @ k)
    slopes = 2.0 * energies * (1.0 / squares + 1.0 / (4.0 * alpha**2))
    energy = float(energies.sum())
    return _Part(energy, forces, (slopes[:, None] * k).T @ k - energy * np.eye(3))


def _silica(frame: Dataset) -> NDArray:
    """Return the atomic numbers of a frame that is SiO2 and periodic."""
    numbers = frame.numbers[0][: frame.frame_atoms[0]]
    silicon, oxygen = int((numbers == SI).sum()), int((numbers == O).sum())
    if silicon + oxygen != len(numbers) or oxygen != 2 * silicon:
        raise OracleError(
            f"the BKS potential is for SiO2, the frame has {silicon} Si, {oxygen} O and "
            f"{len(numbers) - silicon - oxygen} other atoms; use another oracle"
        )
    if not frame.pbc[0].all():
        raise OracleError("BKS silica is periodic in all directions, the frame is not; give a cell")
    return numbers


def _images(reach: tuple[int, ...]) -> NDArray:
    """Return whole-number shifts (K, 3) within the reach: 0, then each beside its negative."""
    grid = np.meshgrid(*(np.arange(-n, n + 1.0) for n in reach), indexing="ij")
    everything = np.stack(grid, axis=-1).reshape(-1, 3)
    half = everything[: len(everything) // 2]
    return np.concatenate([np.zeros((1, 3)), np.stack([half, -half], axis=1).reshape(-1, 3)])


def _pair_force(energy: str, cutoff: float, parameters: list[str]) -> CustomNonbondedForce:
    """Return a force between pairs from an energy in eV that may speak of ``short`` and R in Å."""
    import openmm

    mixed = "".join(
        f"{name}={getattr(SI_O, name)}*cross+{getattr(O_O, name)}*oxygens;"
        for name in PairParameters._fields
    )
    force = openmm.CustomNonbondedForce(
        f"{EV_IN_KJ_PER_MOL}*total; total={energy};"
        "short=switch*(A*exp(-b*R)-C/R^6+4*epsilon*((sigma/R)^30-(sigma/R)^6));"
        f"switch=1-t^3*(10-15*t+6*t^2); t=max(0,(R-{TAPER * cutoff})/{(1 - TAPER) * cutoff});"
        f"{mixed} cross=silicon1+silicon2-2*silicon1*silicon2;"
        f"oxygens=(1-silicon1)*(1-silicon2); R=r/{ANGSTROM_IN_NM}"
    )
    for name in parameters:
        force.addPerParticleParameter(name)
    force.setCutoffDistance(cutoff * ANGSTROM_IN_NM)
    return force
