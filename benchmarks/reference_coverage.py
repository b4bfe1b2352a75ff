"""Coverage of (φ, ψ) by AMBER itself: what unbiased dynamics can be expected to give.

    python benchmarks/reference_coverage.py [--json]

Eight runs from the minimum, 9,000 steps of 1 fs each with a hydrogen mass of 4 amu, a frame every
25 steps: 72,000 steps and 2,880 frames at each temperature.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

import uncv
from uncv.reference import ReferenceSettings, reference_md

FORCE_FIELD = ("amber14/protein.ff14SB.xml",)
TEMPERATURES = (300.0, 600.0, 1200.0)


def covered(temperature: float, walkers: int = 8) -> float:
    """Return the coverage of all walkers' frames together."""
    topology, start = uncv.structures.alanine_dipeptide()
    settings = ReferenceSettings(
        temperature, frames=360, stride=25, equilibration=0, timestep=1.0, hydrogen_mass=4.0
    )
    runs = [reference_md(topology, FORCE_FIELD, start, settings, seed=s) for s in range(walkers)]
    angles = [uncv.analysis.dihedrals(run) for run in runs]
    return float(uncv.analysis.coverage(np.concatenate(angles)))


def main() -> None:
    """Print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = {f"{temperature:g} K": covered(temperature) for temperature in TEMPERATURES}
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        return
    for name, value in found.items():
        print(f"{name:>7s} {value:.3f}")


if __name__ == "__main__":
    main()
