"""Labels of any calculator of ASE: an object, a class by import path, or a function in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from uncv.data import Dataset
from uncv.dependencies import installed_version
from uncv.errors import ConfigError, OracleError
from uncv.importing import load_object, split_path
from uncv.oracles.base import FrameOracle, Labels


@dataclass(frozen=True)
class CalculatorSource:
    """How a calculator is made, in every process anew.

    Parameters
    ----------
    path : str
        With dots alone, ``package.module.Class``, it is called with the arguments. With a colon,
        ``package.module:name`` or ``file.py:name``, it is a class or function that is called with
        the ``ase.Atoms`` of a structure first: for calculators that belong to one structure, such
        as force fields with bonds.
    arguments : dict of str
        Keyword arguments, of the kinds that JSON and YAML know.
    structure : Dataset, optional
        One frame. With it the calculator is made once, for this structure, and asked for all
        frames, which must have its atoms in its order. Without, one with a colon is made for each
        frame anew.
    each_frame : bool
        Whether the calculator is made for each frame anew in any case: for those whose answer
        depends on the frames before, as where a self-consistent field starts from the last one.

    Raises
    ------
    ConfigError
        If the path names nothing that can be called, if the arguments are not JSON, or if the
        structure is not one frame.
    """

    path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    structure: Dataset | None = None
    each_frame: bool = False

    def __post_init__(self) -> None:
        place, name = split_path(self.path)
        if place.endswith(".py"):
            object.__setattr__(self, "path", f"{Path(place).resolve()}:{name}")
        if not callable(load_object(self.path)):
            raise ConfigError(f"{self.path} cannot be called; name a class or a function")
        if self.structure is not None and len(self.structure) != 1:
            raise ConfigError(f"structure has {len(self.structure)} frames; give one")
        self._written_arguments()

    @property
    def for_structure(self) -> bool:
        """Whether it is called with a structure."""
        return ":" in self.path

    @property
    def lasting(self) -> bool:
        """Whether one calculator serves all frames."""
        return not self.each_frame and (self.structure is not None or not self.for_structure)

    @property
    def name(self) -> str:
        """Class or function, and its arguments: ``LennardJones(sigma=1.5)``."""
        place, name = split_path(self.path)
        name = f"{Path(place).name}:{name}" if place.endswith(".py") else name
        given = ", ".join(f"{k}={json.dumps(v)}" for k, v in sorted(self.arguments.items()))
        return f"{name}({given})" if given else name

    @property
    def identity(self) -> str:
        """All that determines the calculator: path, code of a file, arguments, structure."""
        place, _ = split_path(self.path)
        code = Path(place).read_bytes() if place.endswith(".py") else b""
        atoms = b""
        if self.for_structure and self.structure is not None:
            one = self.structure
            atoms = one.numbers.tobytes() + one.positions.tobytes() + one.cell.tobytes()
        content = hashlib.sha256(code + b"|" + atoms).hexdigest()
        return f"{self.path} {self._written_arguments()} {content}"

    def make(self, atoms: Atoms) -> Any:
        """Return a calculator, for atoms where no structure was given.

        Raises
        ------
        ConfigError
            If it cannot be made, or is no calculator with energies and forces.
        """
        first: tuple[Any, ...] = ()
        if self.for_structure:
            first = (atoms if self.structure is None else _atoms(self.structure),)
        try:
            calculator = load_object(self.path)(*first, **self.arguments)
        except Exception as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"{self.name} cannot be made ({type(error).__name__}: {error}); correct the "
                "arguments, or with file.py:name let it take ase.Atoms first"
            ) from error
        _check_offer(calculator)
        return calculator

    def _written_arguments(self) -> str:
        try:
            return json.dumps(dict(self.arguments), sort_keys=True)
        except TypeError as error:
            raise ConfigError(
                f"the arguments of {self.path} are not numbers, text, lists and so on ({error}); "
                "make the calculator in a function of a file, and name that as file.py:name"
            ) from error


class AseOracle(FrameOracle):
    """Labels frames with a calculator of ASE: energies, forces, and stress in a periodic cell.

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator or CalculatorSource
        Asked for one frame after the other, each time with new atoms. A calculator travels to
        other processes if it pickles; of a source there is one in each process.
    level_of_theory : str, optional
        Recorded with every frame; by default the name of the calculator's class, and the
        arguments of a source.
    stress : bool, optional
        Whether frames that are periodic in all directions get a stress; by default if the
        calculator says that it has one.
    max_force : float, optional
        A frame with a larger force on an atom (eV/Å) counts as failed.

    Raises
    ------
    ConfigError
        If the calculator gives no energy or no forces.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> AseOracle(LennardJones()).level_of_theory
    'LennardJones'
    """

    def __init__(
        self,
        calculator: Any,
        level_of_theory: str | None = None,
        *,
        stress: bool | None = None,
        max_force: float | None = None,
    ) -> None:
        self.source = calculator if isinstance(calculator, CalculatorSource) else None
        self._calculator = None if self.source else calculator
        kind = calculator.path if self.source else type(calculator).__module__
        name = self.source.name if self.source else type(calculator).__name__
        super().__init__(level_of_theory or name, max_force, software=_software(kind))
        self.stress = stress
        if self.source is None:
            _check_offer(calculator, stress=bool(stress))
        elif self.source.lasting:
            _check_offer(self._calculator_of(Atoms()), stress=bool(stress))

    @property
    def identity(self) -> str:
        """The source of the calculator; of an object its level of theory, so say all in that."""
        return f"AseOracle: {self.source.identity}" if self.source else super().identity

    @property
    def calculator(self) -> Any:
        """The calculator, None while it has not been made or where each frame has its own."""
        return self._calculator

    def compute(self, frame: Dataset) -> Labels:
        """Return energy, forces and stress of a dataset of one frame.

        Raises
        ------
        OracleError
            If the calculator was made for other atoms.
        """
        atoms = _atoms(frame)
        calculator = atoms.calc = self._calculator_of(atoms)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        offers = "stress" in calculator.implemented_properties
        whole = bool(atoms.pbc.all()) and (offers if self.stress is None else self.stress)
        stress = atoms.get_stress(voigt=False) if whole else None
        return Labels(float(energy), np.array(forces, dtype=np.float64), stress)

    def _calculator_of(self, atoms: Atoms) -> Any:
        """Return the calculator that lasts, or a new one for these atoms."""
        if self.source is None:
            return self._calculator
        if len(atoms) and self.source.for_structure:
            self._check_atoms(atoms)
        if not self.source.lasting:
            return self.source.make(atoms)
        if self._calculator is None:
            self._calculator = self.source.make(atoms)
        return self._calculator

    def _check_atoms(self, atoms: Atoms) -> None:
        made_for = None if self.source is None else self.source.structure
        if made_for is None:
            return
        wanted = made_for.numbers[0][: made_for.frame_atoms[0]]
        if not np.array_equal(atoms.numbers, wanted):
            raise OracleError(
                f"the frame has {len(atoms)} atoms that are not, or not in the order of, the "
                f"{len(wanted)} atoms the calculator was made for; make an oracle for them"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_calculator": None if self.source else self._calculator}


def ase_calculator(
    path: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    structure: Dataset | None = None,
    each_frame: bool = False,
    **options: Any,
) -> AseOracle:
    """Return the oracle of a calculator that is named, not made; see `CalculatorSource`.

    Parameters
    ----------
    path : str
        ``package.module.Class``, or ``file.py:name`` that is called with atoms.
    arguments : dict of str, optional
        Keyword arguments.
    structure : Dataset, optional
        One frame, for which a calculator with a colon in its path is made.
    each_frame : bool
        Whether a calculator is made for each frame.
    **options
        Those of `AseOracle`: ``level_of_theory``, ``stress``, ``max_force``.

    Raises
    ------
    ConfigError
        If nothing can be made of this.

    Examples
    --------
    >>> ase_calculator("ase.calculators.lj.LennardJones", {"sigma": 1.5}).level_of_theory
    'LennardJones(sigma=1.5)'
    """
    source = CalculatorSource(path, arguments or {}, structure, each_frame)
    return AseOracle(source, **options)


def _check_offer(calculator: Any, *, stress: bool = False) -> None:
    offered = set(getattr(calculator, "implemented_properties", ()))
    missing = sorted({"energy", "forces"} - offered)
    name = type(calculator).__name__
    if missing:
        raise ConfigError(
            f"{name} gives no {' and no '.join(missing)}; expected a "
            "calculator of ASE with both among its implemented_properties"
        )
    if stress and "stress" not in offered:
        raise ConfigError(f"{name} gives no stress; leave stress= out")


def _software(kind: str) -> str:
    """Return name and version of the package that a calculator comes from, and of ASE."""
    package = kind.split(".")[0]
    both = [f"ase {installed_version('ase')}"]
    version = None if ":" in kind or package == "ase" else installed_version(package)
    return ", ".join([f"{package} {version}", *both] if version else both)


def _atoms(frame: Dataset) -> Atoms:
    mask = frame.mask[0]
    periodic = frame.pbc[0]
    cell = frame.cell[0] if periodic.any() else None
    return Atoms(frame.numbers[0][mask], frame.positions[0][mask], cell=cell, pbc=periodic)
