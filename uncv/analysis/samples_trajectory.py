"""Samples of trajectories that MDTraj reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uncv.analysis.backbone import ResidueTorsion, resolved
from uncv.analysis.samples import Samples
from uncv.analysis.trajectory import frame_interval, trajectory_parts, trajectory_topology
from uncv.analysis.variable_axes import axes_of
from uncv.analysis.variables import Variable

if TYPE_CHECKING:
    import mdtraj


def samples_of_trajectory(
    path: str | Path,
    variables: Sequence[Variable | ResidueTorsion],
    topology: mdtraj.Topology | None = None,
) -> Samples:
    """Return what a trajectory of MDTraj's tells; it is one walker, and read a part at a time.

    Parameters
    ----------
    path : str or Path
        DCD, XTC, TRR, NetCDF, HDF5, PDB or GRO.
    variables : sequence
        What to look at; torsions of residues are found in the topology.
    topology : mdtraj.Topology, optional
        For files that do not store it.

    Raises
    ------
    FileFormatError, FileNotFoundError
        If the file cannot be read.
    DataError
        If the topology does not fit, or a variable is not there.
    """
    molecule = trajectory_topology(path, topology)
    chosen = resolved(variables, molecule)
    parts, interval = [], None
    for part in trajectory_parts(path, molecule):
        interval = interval or frame_interval(path, part)
        parts.append(np.stack([variable.values(part) for variable in chosen], axis=1))
    values = np.concatenate(parts)
    walker = np.zeros(len(values), dtype=np.int64)
    axes, open_axes = axes_of(chosen, values)
    return Samples(values, walker, axes=axes, open_axes=open_axes, interval_fs=interval)
