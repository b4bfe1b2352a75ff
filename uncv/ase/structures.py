"""Structures that remember what the calculator knows of them."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from uncv.ase.calculator import ARRAYS, VALUES, UncertaintyCalculator
from uncv.errors import EngineError


def snapshot(atoms: Atoms) -> Atoms:
    """Return a copy of the atoms with everything that their calculator knows of them.

    ASE's files keep its own properties alone. In the copy ``uncertainty``, ``bias`` and
    ``energy_unbiased`` are in ``info``, ``atomic_uncertainty`` and (if they were asked for)
    ``forces_unbiased`` in ``arrays``, and energy, forces and stress in a SinglePointCalculator;
    they are of E + V, so label the structure before you train on it.

    Raises
    ------
    EngineError
        If the calculator is another one.
    """
    calc = atoms.calc
    if not isinstance(calc, UncertaintyCalculator):
        raise EngineError(
            f"the calculator of these atoms is {type(calc).__name__}; expected an "
            "UncertaintyCalculator"
        )
    calc.get_property("forces", atoms)
    copy = atoms.copy()
    copy.info |= {name: calc.results[name] for name in VALUES if name in calc.results}
    for name in ARRAYS:
        if name in calc.results:
            copy.set_array(name, calc.results[name])
    known = {name: calc.results[name] for name in all_properties if name in calc.results}
    copy.calc = SinglePointCalculator(copy, **known)
    return copy
