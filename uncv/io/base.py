"""The keys of extended XYZ that mean something to the reader, and names that avoid them."""

from __future__ import annotations

from typing import NamedTuple

ENERGY = ("REF_energy", "energy", "free_energy")
FORCES = ("REF_forces", "forces")
STRESS = ("REF_stress", "stress")
VIRIAL = ("REF_virials", "virials", "virial")
_STRUCTURE = (
    "Lattice", "pbc", "Properties", "species", "symbols", "numbers", "Z", "pos", "positions",
    "charge", "move_mask",
)  # fmt: skip
_RESERVED = {*ENERGY, *FORCES, *STRESS, *VIRIAL, *_STRUCTURE}
_PREFIX = "info_"


class LabelKeys(NamedTuple):
    """What labels are called in a file: eV, eV/Å and eV/Å^3."""

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"


def key_of(column: str) -> str:
    """Return the key under which a per-frame column is written.

    >>> key_of("walker"), key_of("energy")
    ('walker', 'info_energy')
    """
    return _PREFIX + column if column in _RESERVED or column.startswith(_PREFIX) else column


def column_of(key: str) -> str:
    """Return the per-frame column of a key, the inverse of :func:`key_of`.

    >>> column_of("info_energy"), column_of("info_walker")
    ('energy', 'info_walker')
    """
    rest = key.removeprefix(_PREFIX)
    return rest if rest in _RESERVED or rest.startswith(_PREFIX) else key
