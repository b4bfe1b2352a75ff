"""Energy, uncertainty and bias as a calculator of ASE, for its optimisers, dynamics and NEB.

Units are ASE's, which are those of uncv: eV, Å, eV/Å^3. See docs/ase.md.
"""

from uncv.ase.adaptive import Coefficients
from uncv.ase.calculator import UncertaintyCalculator
from uncv.ase.structures import snapshot

__all__ = ["Coefficients", "UncertaintyCalculator", "snapshot"]
