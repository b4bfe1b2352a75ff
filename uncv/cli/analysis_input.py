"""What `uncv analyze` reads: frames, trajectories, COLVAR files and run directories."""

# The imports stand inside the functions, so that `uncv --help` starts no engine.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from uncv.cli.analysis_variables import (
    Group,
    Reading,
    check_suggested,
    check_topology,
    torsions,
    wanted,
)
from uncv.errors import DataError
from uncv.units import FS_IN_PS

if TYPE_CHECKING:
    from uncv.analysis import Samples
    from uncv.data import Dataset


class Given(NamedTuple):
    """What was read: samples of all variables, which belong together, and the temperature."""

    samples: Samples
    groups: tuple[Group, ...]
    temperature: float | None = None


def read_inputs(inputs: Sequence[Path], reading: Reading) -> Given:
    """Read all inputs as one run.

    Raises
    ------
    FileNotFoundError
        If an input is not there.
    DataError
        If they are of different kinds, or do not hold what is asked for.
    """
    from uncv.analysis import is_colvar, joined

    missing = [str(path) for path in inputs if not path.exists()]
    if missing:
        raise FileNotFoundError(f"there is no file {', '.join(missing)}; check the path")
    tables = [path for path in inputs if path.is_file() and is_colvar(path)]
    if tables and len(tables) < len(inputs):
        raise DataError("some inputs are COLVAR files and others frames; analyze them one by one")
    if tables:
        return _finished([_colvar(tables, reading)], reading)
    if reading.bias:
        raise DataError("--bias names columns of COLVAR files; frames are reweighted by --reweight")
    parts = [_frames(path, reading) for path in inputs]
    if len({part.groups for part in parts}) > 1:
        raise DataError("the inputs suggest different variables; name some, as --variable volume")
    given = Given(joined([part.samples for part in parts]), parts[0].groups, parts[0].temperature)
    return _finished([given], reading)


def _finished(parts: list[Given], reading: Reading) -> Given:
    (given,) = parts
    samples = given.samples.discard(reading.discard)
    if reading.interval_ps is not None:
        samples = replace(samples, interval_fs=reading.interval_ps / FS_IN_PS)
    return given._replace(samples=samples)


def _colvar(tables: Sequence[Path], reading: Reading) -> Given:
    from uncv.analysis import Column, read_colvar, samples_of_colvar

    if reading.reweight and not reading.bias:
        raise DataError(
            "which columns of COLVAR hold the bias is not said; name them, as --bias opes.bias"
        )
    others = [v for v in reading.variables if not isinstance(v, Column)]
    if others or reading.residues:
        raise DataError(
            "COLVAR files hold columns alone, no atoms; name them by --column or column:NAME"
        )
    samples = samples_of_colvar(
        [read_colvar(path) for path in tables],
        reading.columns or ("phi", "psi"),
        variables=[v for v in reading.variables if isinstance(v, Column)] or None,
        bias=reading.bias,
        bias_unit=reading.unit.in_ev,
        own_bias=reading.own_bias is not False,
    )
    return Given(samples, (Group("", tuple(range(samples.values.shape[1]))),))


def _frames(path: Path, reading: Reading) -> Given:
    from uncv.analysis import is_trajectory

    if path.is_dir():
        return _run(path, reading)
    if is_trajectory(path):
        return _trajectory(path, reading)
    return _dataset(path, reading)


def _trajectory(path: Path, reading: Reading) -> Given:
    from uncv.analysis import load_topology, samples_of_trajectory, trajectory_topology

    if reading.reweight:
        raise DataError(f"{path} holds no bias; give frames of uncv or COLVAR files to reweight")
    given = None if reading.topology is None else load_topology(reading.topology)
    topology = trajectory_topology(path, given)
    variables, groups = wanted(reading, topology)
    return Given(samples_of_trajectory(path, variables, topology), groups)


def _dataset(path: Path, reading: Reading) -> Given:
    from uncv.analysis import load_topology, samples_of_frames
    from uncv.io import read

    frames = read(path)
    topology = None if reading.topology is None else load_topology(reading.topology)
    check_topology(frames, topology, path)
    check_suggested(frames, reading, path)
    variables, groups = wanted(reading, topology)
    samples = samples_of_frames(
        frames,
        variables=variables,
        reweight=reading.reweight,
        own_bias=bool(reading.own_bias),
        timestep_fs=reading.timestep_fs,
    )
    return Given(samples, groups)


def _run(path: Path, reading: Reading) -> Given:
    """Read the frames that a campaign sampled; what it follows is looked at by default."""
    from uncv.analysis import Volume, load_topology, samples_of_frames
    from uncv.config import load_config

    if reading.reweight:
        raise DataError(
            f"{path} is a campaign, whose model changes from round to round: its frames cannot be "
            "reweighted; leave --reweight out"
        )
    frames = run_frames(path)
    config = load_config(path / "config.yaml")
    if not (reading.variables or reading.residues or reading.topology):
        system = config.system
        volume = system.volume_range_angstrom3
        if system.torsions:
            reading = replace(reading, variables=torsions(system.torsions))
        elif volume is not None:
            reading = replace(reading, variables=(Volume(limits=(volume[0], volume[1])),))
    topology = None if reading.topology is None else load_topology(reading.topology)
    check_topology(frames, topology, path)
    check_suggested(frames, reading, path)
    variables, groups = wanted(reading, topology)
    samples = samples_of_frames(
        frames,
        variables=variables,
        timestep_fs=reading.timestep_fs or config.sampling.timestep_fs,
    )
    return Given(samples, groups, config.sampling.temperature_k)


def run_frames(path: Path) -> Dataset:
    """Return the frames that a campaign sampled, all rounds.

    Raises
    ------
    DataError
        If the folder is no run directory, or nothing was sampled yet.
    """
    from uncv.data import concatenate
    from uncv.io import read

    if not (path / "journal.jsonl").is_file() or not (path / "config.yaml").is_file():
        raise DataError(
            f"{path} is no run directory: it has no journal.jsonl and config.yaml; give the folder "
            "of a campaign, or files"
        )
    files = sorted(path.glob("frames_round_*.npz"))
    if not files:
        raise DataError(f"{path} has sampled no frames yet; let it finish a round first")
    parts = [read(file) for file in files]
    known = set.intersection(*(set(part.info) for part in parts))
    return concatenate([_with(part, known) for part in parts])


def read_frames(path: Path, reading: Reading) -> Dataset:
    """Return whole frames of an input, for their atomic environments."""
    from uncv.io import read

    if path.is_dir():
        return run_frames(path)
    return read(path, topology=reading.topology)


def _with(frames: Dataset, columns: set[str]) -> Dataset:
    info = {name: column for name, column in frames.info.items() if name in columns}
    return replace(frames, info=info)
