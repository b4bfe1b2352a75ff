"""Labels of molecules by density-functional theory or Hartree-Fock, through PySCF."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from uncv.data import Dataset
from uncv.errors import ConfigError, OracleError
from uncv.oracles.base import FrameOracle, Labels, installed
from uncv.thread_limit import ThreadLimit
from uncv.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

Dispersion = Literal["d3bj", "d4"]
_FORCE = HARTREE_IN_EV / BOHR_IN_ANGSTROM


@dataclass(frozen=True)
class ScfSettings:
    """How a self-consistent field is converged, and on which grid.

    Parameters
    ----------
    energy_tolerance : float
        Change of the energy between the last two cycles, in hartree.
    max_cycles : int
        A frame that does not converge in as many cycles counts as failed.
    grid_level : int
        Of the integration grid, 0 (coarse) to 9; forces leave out its response, some 1e-4 eV/Å
        at level 3.
    density_fit : bool
        Whether Coulomb integrals are fitted: quicker for large molecules, another energy.
    threads : int
        Threads of a calculation.
    """

    energy_tolerance: float = 1e-9
    max_cycles: int = 100
    grid_level: int = 3
    density_fit: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("energy_tolerance", "max_cycles", "threads"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a positive number")
        if self.grid_level not in range(10):
            raise ConfigError(f"grid_level is {self.grid_level}; give a level from 0 to 9")


class PySCFOracle(FrameOracle):
    """A density functional, or Hartree-Fock, in Gaussian basis functions: energies and forces.

    Where the basis has effective core potentials (def2 beyond krypton) they are used.

    Parameters
    ----------
    functional : str
        As PySCF and libxc call it ('pbe', 'b3lyp', 'wb97x', ...), or 'hf'.
    basis : str
        As PySCF calls it ('def2-svp', '6-31g(d)', ...).
    dispersion : {'d3bj', 'd4'}, optional
        Correction added to energy and forces, with the functional's own parameters.
    charge : int
        Total charge in e.
    multiplicity : int
        2S + 1; beyond 1 the calculation is unrestricted.
    settings : ScfSettings, optional
        Convergence, grid, threads.
    max_force : float, optional
        A frame with a larger force on an atom (eV/Å) counts as failed.

    Raises
    ------
    ConfigError
        If PySCF knows no such functional or basis, for another dispersion, or a multiplicity below
        1.
    DependencyError
        If PySCF, or for a dispersion its pyscf-dispersion, is not installed.

    Examples
    --------
    >>> hydrogen = Dataset([1, 1], [[[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]])
    >>> labelled = PySCFOracle("hf", "sto-3g").label(hydrogen)
    >>> round(float(labelled.energy[0]), 2)  # eV
    -30.39
    """

    def __init__(
        self,
        functional: str = "pbe",
        basis: str = "def2-svp",
        dispersion: Dispersion | None = None,
        *,
        charge: int = 0,
        multiplicity: int = 1,
        settings: ScfSettings | None = None,
        max_force: float | None = None,
    ) -> None:
        software = installed("pyscf", "dft")
        if dispersion not in (None, "d3bj", "d4"):
            raise ConfigError(f"dispersion is {dispersion!r}; expected 'd3bj', 'd4' or None")
        if dispersion is not None:
            software += f", {installed('pyscf-dispersion', 'dft', 'pyscf.dispersion')}"
        if multiplicity < 1:
            raise ConfigError(f"multiplicity is {multiplicity}; give 1 or more")
        _check_names(functional, basis)
        self.settings = settings or ScfSettings()
        method = functional if dispersion is None else f"{functional}-{dispersion}"
        level = f"{method}/{basis}, charge {charge}, multiplicity {multiplicity}"
        level += f", grid {self.settings.grid_level}"
        level += ", density fitting" if self.settings.density_fit else ""
        super().__init__(level, max_force, software=software)
        self.functional = functional
        self.basis = basis
        self.dispersion = dispersion
        self.charge = charge
        self.multiplicity = multiplicity
        self.threads = ThreadLimit(self.settings.threads)

    def compute(self, frame: Dataset) -> Labels:
        """Return energy (eV) and forces (eV/Å) of a dataset of one frame.

        Raises
        ------
        OracleError
            If the frame is periodic, if its number of electrons does not go with the multiplicity,
            if the basis lacks an element, or if the field does not converge.
        """
        from pyscf import lib

        if frame.pbc[0].any():
            raise OracleError("PySCF labels molecules here, the frame is periodic; use xtb or ase")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to install other packages
            omp = lib.with_omp_threads(self.settings.threads)
            with self._field(self._molecule(frame)) as field, self.threads, omp:
                return self._labels(field)

    def _labels(self, field: Any) -> Labels:
        energy = field.kernel()
        if not field.converged:
            raise OracleError(
                f"the field has not converged in {self.settings.max_cycles} cycles; allow more, or "
                "look at charge and multiplicity"
            )
        gradient = field.nuc_grad_method().kernel()
        return Labels(float(energy) * HARTREE_IN_EV, -np.asarray(gradient) * _FORCE)

    def _molecule(self, frame: Dataset) -> Any:
        from ase.data import chemical_symbols
        from pyscf import gto

        symbols = [chemical_symbols[z] for z in frame.numbers[0][: frame.frame_atoms[0]]]
        positions = frame.positions[0] / BOHR_IN_ANGSTROM
        molecule = gto.Mole(
            atom=list(zip(symbols, positions.tolist(), strict=False)),
            unit="Bohr",
            basis=self.basis,
            ecp={s: self.basis for s in set(symbols) if gto.basis.load_ecp(self.basis, s)},
            charge=self.charge,
            spin=self.multiplicity - 1,
            verbose=0,
        )
        try:
            return molecule.build(dump_input=False, parse_arg=False)
        except RuntimeError as error:
            raise OracleError(str(error).replace("\n", "; ")) from error

    @contextmanager
    def _field(self, molecule: Any) -> Iterator[Any]:
        """Give the mean field, whose scratch file PySCF would leave open."""
        from pyscf import dft

        kind = dft.RKS if self.multiplicity == 1 else dft.UKS
        field = kind(molecule, xc=self.functional)
        scratch = getattr(field, "_chkfile", None)
        field.chkfile = None  # nothing is written
        field.conv_tol = self.settings.energy_tolerance
        field.max_cycle = self.settings.max_cycles
        field.grids.level = self.settings.grid_level
        field.disp = self.dispersion
        try:
            yield field.density_fit() if self.settings.density_fit else field
        finally:
            if scratch is not None:
                scratch.close()


def _check_names(functional: str, basis: str) -> None:
    """Refuse names that PySCF does not know, before anything is labelled."""
    from pyscf import dft, gto
    from pyscf.lib.exceptions import BasisNotFoundError

    try:
        known = bool(functional) and dft.libxc.parse_xc(functional) is not None
    except (KeyError, ValueError):
        known = False
    if not known:
        raise ConfigError(
            f"PySCF knows no functional {functional!r}; expected a name of libxc such as 'pbe', "
            "'b3lyp' or 'wb97x', or 'hf'"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            gto.basis.load(basis, "H")
        except BasisNotFoundError as error:
            if "Unknown basis" in str(error):
                raise ConfigError(
                    f"PySCF knows no basis {basis!r}; expected a name such as 'def2-svp' or "
                    "'6-31g(d)'"
                ) from error
