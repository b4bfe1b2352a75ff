"""Settings that do not go together, and structures that cannot be evaluated."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from ase import Atoms

from uncv.ase.drive import AseBias, innermost
from uncv.bias import AdaptiveBias, has_potential
from uncv.cv import UncertaintyCV
from uncv.errors import EngineError
from uncv.plumed import Plumed


def check_settings(
    cv: UncertaintyCV,
    bias: AseBias | None,
    stress_strength: float | None,
    plumed: str | Path | Plumed | None,
) -> None:
    """Refuse what cannot work together; see `uncv.ase.UncertaintyCalculator`."""
    if bias is not None and not isinstance(bias, AseBias):
        raise TypeError(
            f"bias is a {type(bias).__name__}; expected an energy of u alone, such as LinearBias, "
            "AdaptiveBias, or one of these capped or scheduled"
        )
    if (bias is not None or plumed is not None) and not cv.smooth:
        raise EngineError(
            f"reduction {cv.reduce!r} has a gradient that jumps; bias by 'softmax' or 'mean'"
        )
    if bias is not None and plumed is not None and not has_potential(bias):
        raise EngineError(
            f"{type(innermost(bias)).__name__} has no potential here (adaptive or capped) and "
            "cannot be combined with PLUMED; use a conservative bias, or PLUMED alone"
        )
    if stress_strength is None:
        return
    if not isinstance(innermost(bias), AdaptiveBias):
        raise ValueError("stress_strength is of the adaptive bias alone; leave it out")
    if not math.isfinite(stress_strength):
        raise ValueError(f"stress_strength is {stress_strength}; expected a finite number")


def checked_atoms(atoms: Atoms | None) -> Atoms:
    """Return atoms that can be evaluated, refusing others."""
    if atoms is None or len(atoms) == 0:
        raise EngineError("there are no atoms to evaluate; give atoms with at least one")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise EngineError("positions or cell are NaN or infinite; go back to a sound structure")
    filled = np.where(atoms.pbc[:, None], atoms.cell.array, np.eye(3))
    if abs(np.linalg.det(filled)) < 1e-6:
        raise EngineError(
            f"the atoms are periodic (pbc={atoms.pbc.tolist()}) but their cell has no volume; "
            "set the cell or pbc=False"
        )
    return atoms
