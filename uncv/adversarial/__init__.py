"""Frames of large uncertainty and bearable energy, sought by gradient ascent in place of dynamics.

>>> from uncv.adversarial import AttackSettings, Displacements, Torsions
>>> AttackSettings(moves=(Displacements(limit=0.3), Torsions()), attacks=32).steps
60
"""

from uncv.adversarial.displacements import Displacements
from uncv.adversarial.result import AttackResult
from uncv.adversarial.search import attack
from uncv.adversarial.settings import AttackSettings
from uncv.adversarial.strain import Strain
from uncv.adversarial.torsions import Torsions

__all__ = ["AttackResult", "AttackSettings", "Displacements", "Strain", "Torsions", "attack"]
