"""Unit conversions: eV, Å, amu, fs inside uncv; kJ/mol, nm, ps at the OpenMM and PLUMED borders.

Every conversion in the package goes through the constants and functions of this file.

Source of the constants: CODATA 2018 (exact by the 2019 SI, except hartree and bohr).
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["energy", "force", "dimensionless"]
"""What an uncertainty measures: ``energy`` (eV), ``force`` (eV/Å) or ``dimensionless``."""

EV_IN_KJ_PER_MOL = 96.48533212331
"""One electronvolt in kJ/mol."""
ANGSTROM_IN_NM = 0.1
"""One ångström in nanometres."""
FS_IN_PS = 1e-3
"""One femtosecond in picoseconds."""
HARTREE_IN_EV = 27.211386245988
"""One hartree in electronvolts."""
BOHR_IN_ANGSTROM = 0.529177210903
"""One bohr in ångströms."""
KCAL_PER_MOL_IN_EV = 4.184 / EV_IN_KJ_PER_MOL
"""One (thermochemical) kilocalorie per mole in electronvolts."""
KB_IN_EV_PER_K = 8.617333262e-5
"""The Boltzmann constant in eV/K."""
KB_IN_KJ_PER_MOL_K = KB_IN_EV_PER_K * EV_IN_KJ_PER_MOL
"""The Boltzmann constant in kJ/mol/K."""
ROOT_CURVATURE_IN_CM = 521.4708983725
"""The wavenumber in cm⁻¹ of a mode whose mass-weighted curvature is 1 eV/(Å^2 amu)."""
EV_PER_ANGSTROM3_IN_GPA = 160.2176634
"""One eV/Å^3 in gigapascals."""
FORCE_IN_OPENMM = EV_IN_KJ_PER_MOL / ANGSTROM_IN_NM
"""One eV/Å in kJ/mol/nm."""

_OPENMM_FACTORS: dict[str, float] = {
    "energy": EV_IN_KJ_PER_MOL,
    "force": FORCE_IN_OPENMM,
    "dimensionless": 1.0,
}
_UNIT_NAMES = {"energy": "eV", "force": "eV/Å", "dimensionless": ""}
_OPENMM_UNIT_NAMES = {"energy": "kJ/mol", "force": "kJ/mol/nm", "dimensionless": ""}


def uncertainty_in_openmm(kind: Kind) -> float:
    """Return the factor that turns an uncertainty of this kind into OpenMM's and PLUMED's units.

    >>> uncertainty_in_openmm("dimensionless")
    1.0
    """
    return _OPENMM_FACTORS[kind]


def unit_name(kind: Kind, *, openmm: bool = False) -> str:
    """Return the unit of an uncertainty of this kind in words ('' for a dimensionless one).

    >>> unit_name("force")
    'eV/Å'
    """
    return (_OPENMM_UNIT_NAMES if openmm else _UNIT_NAMES)[kind]
