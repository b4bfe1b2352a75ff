"""Training of ensembles on energies and forces."""

from uncv.training.members import join_members, some_members
from uncv.training.settings import EpochLog, TrainSettings
from uncv.training.train import hold_out, train

__all__ = ["EpochLog", "TrainSettings", "hold_out", "join_members", "some_members", "train"]
