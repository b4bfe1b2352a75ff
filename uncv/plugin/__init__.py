"""The PLUMED action UNCERTAINTY for any program with PLUMED: found, built, kept in a cache."""

from uncv.plugin.installation import PlumedInstallation, find_plumed
from uncv.plugin.library import build, path

__all__ = ["PlumedInstallation", "build", "find_plumed", "path"]
