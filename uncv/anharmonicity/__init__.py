"""How far forces are from those of a harmonic crystal, and where the latter come from."""

from uncv.anharmonicity.displacements import finite_displacements
from uncv.anharmonicity.harmonic import HarmonicModel
from uncv.anharmonicity.measure import Anharmonicity, anharmonicity, anharmonicity_spread
from uncv.anharmonicity.phonopy_files import harmonic_of_phonopy, read_harmonic
from uncv.anharmonicity.relaxation import relaxed

__all__ = [
    "Anharmonicity",
    "HarmonicModel",
    "anharmonicity",
    "anharmonicity_spread",
    "finite_displacements",
    "harmonic_of_phonopy",
    "read_harmonic",
    "relaxed",
]
