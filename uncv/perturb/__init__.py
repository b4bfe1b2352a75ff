"""Structures around a start, for the first labelled set of a molecule or crystal without dynamics.

>>> from uncv import perturb, structures
>>> quartz = structures.alpha_quartz()
>>> made = perturb.draw(quartz, 20, [perturb.Strain(0.03), perturb.Rattle(0.05)], seed=0)
>>> len(made), str(made.info["perturbation"][0])
(20, 'strain 0.03, rattle 0.05 Å')
"""

from uncv.perturb.drawing import Perturbation, draw
from uncv.perturb.geometry import Geometry
from uncv.perturb.modes import NormalModes, hessian
from uncv.perturb.steps import Rattle, SineWave, Strain

__all__ = [
    "Geometry",
    "NormalModes",
    "Perturbation",
    "Rattle",
    "SineWave",
    "Strain",
    "draw",
    "hessian",
]
