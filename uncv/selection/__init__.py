"""Which frames of a pool to label next: by chance, by uncertainty, or unlike what is known."""

from uncv.selection.base import Method
from uncv.selection.choice import METHODS, select
from uncv.selection.ranking import inside_window

__all__ = ["METHODS", "Method", "inside_window", "select"]
