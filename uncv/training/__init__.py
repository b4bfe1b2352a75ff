"""Training of ensembles on energies and forces."""

from uncv.training.settings import EpochLog, TrainSettings
from uncv.training.train import hold_out, train

__all__ = ["EpochLog", "TrainSettings", "hold_out", "train"]
