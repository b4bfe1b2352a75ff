"""Energy, uncertainty and bias as a calculator of ASE, for its optimisers, dynamics and NEB.

Units are ASE's, which are those of uncv: eV, Å, eV/Å^3. See docs/ase.md.
"""

from uncv.ase.adaptive import Coefficients
from uncv.ase.calculator import UncertaintyCalculator
from uncv.ase.langevin import CellError, CellLimits, CrystalLangevin, LangevinSettings
from uncv.ase.masses import repartitioned, thermal_momenta
from uncv.ase.structures import snapshot
from uncv.plumed import Plumed

__all__ = [
    "CellError",
    "CellLimits",
    "Coefficients",
    "CrystalLangevin",
    "LangevinSettings",
    "Plumed",
    "UncertaintyCalculator",
    "repartitioned",
    "snapshot",
    "thermal_momenta",
]
