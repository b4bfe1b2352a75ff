"""Energy, uncertainty and bias as forces of OpenMM.

`create_system` makes the System of a potential, biased or not, of one or several walkers;
`uncertainty_force` and `energy_force` are single Forces for Systems of your own. At this border
lengths are nm, energies kJ/mol, times ps, and u is in OpenMM's units by its kind.
"""

from uncv.openmm.checkpoint import driver_of, finish, load_checkpoint, save_checkpoint
from uncv.openmm.forces import energy_force, uncertainty_force
from uncv.openmm.mixed import embed
from uncv.openmm.particles import remove_center_of_mass_motion, replicate
from uncv.openmm.plumed_run import Plumed
from uncv.openmm.reporters import WalkerReporter
from uncv.openmm.system import create_system, plumed_force

__all__ = [
    "Plumed",
    "WalkerReporter",
    "create_system",
    "driver_of",
    "embed",
    "energy_force",
    "finish",
    "load_checkpoint",
    "plumed_force",
    "remove_center_of_mass_motion",
    "replicate",
    "save_checkpoint",
    "uncertainty_force",
]
