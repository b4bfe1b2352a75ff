"""What the files of a campaign say: read once, while it may go on, without its lock."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from uncv.analysis import ALANINE_PHI_PSI
from uncv.data import Dataset
from uncv.errors import ConfigError, UncvError
from uncv.io import read
from uncv.learning.directory import RunDirectory
from uncv.learning.system import SHIPPED, Observable
from uncv.status import CampaignStatus, status
from uncv.status.journal import Event, read_events

FloatArray = NDArray[np.float64]


class Stored(NamedTuple):
    """Frames that a run of walkers stored, all columns as long.

    Attributes
    ----------
    round, walker, step : numpy.ndarray
        The round of the model, the walker, and its step.
    uncertainty : numpy.ndarray
        In the unit of its kind.
    reason : numpy.ndarray
        Why the walker stopped there; '' for the frames stored at the stride.
    values : numpy.ndarray or None
        The followed variables (F, d).
    """

    round: NDArray[np.int64]
    walker: NDArray[np.int64]
    step: NDArray[np.int64]
    uncertainty: FloatArray
    reason: NDArray[np.str_]
    values: FloatArray | None

    @property
    def regular(self) -> NDArray[np.bool_]:
        """Which frames were stored at the stride."""
        return self.reason == ""


@dataclass(frozen=True)
class RunFiles:
    """A campaign as its run directory shows it.

    Attributes
    ----------
    status : CampaignStatus
        How far it is, and its rounds.
    events : list of dict
        The journal.
    config : dict
        ``config.yaml`` as it stands, empty where it cannot be read.
    stored : list of Stored
        What each run of walkers stored, in their order.
    labelled, quarantine : Dataset or None
        Frames with labels, and those that the oracle could not label.
    observable : Observable
        The variables whose coverage is followed.
    notes : tuple of str
        What could not be read.
    """

    status: CampaignStatus
    events: list[Event]
    config: dict[str, Any]
    stored: list[Stored]
    labelled: Dataset | None
    quarantine: Dataset | None
    observable: Observable
    notes: tuple[str, ...] = field(default=())

    @property
    def directory(self) -> RunDirectory:
        """Where the files are."""
        return RunDirectory(self.status.directory)

    @property
    def name(self) -> str:
        """Of the run directory."""
        return self.status.directory.resolve().name

    def of(self, name: str) -> list[Event]:
        """Return the events of one name."""
        return [event for event in self.events if event["event"] == name]

    def at(self, section: str, key: str, other: Any = None) -> Any:
        """Return a value of the configuration, another one where it is not there."""
        values = self.config.get(section)
        found = values.get(key) if isinstance(values, dict) else None
        return other if found is None else found

    @property
    def kind(self) -> str:
        """Kind of the uncertainty, 'dimensionless' where the journal does not say."""
        told = [e["kind"] for e in self.of("sampled") if e.get("kind")]
        if told:
            return str(told[-1])
        given, of = self.at("uncertainty", "kind"), self.at("uncertainty", "of")
        if given == "ensemble":
            return "force" if of == "forces" else "energy"
        return "force" if given in ("mve", "evidential") else "dimensionless"

    @property
    def labelled_rounds(self) -> int:
        """How many rounds were labelled, the first frames aside."""
        return sum(1 for event in self.of("labelled") if event.get("round"))

    def round_of_labels(self) -> NDArray[np.int64]:
        """Return which model chose each labelled frame (F,), 0 for the first ones."""
        if self.labelled is None:
            return np.zeros(0, dtype=np.int64)
        rounds = np.asarray(self.labelled.info["round"], dtype=np.int64)
        if "segment" not in self.labelled.info:
            return rounds
        models = {e.get("fingerprint"): int(e["round"]) for e in self.of("trained")}
        prints = self.labelled.info["fingerprint"].tolist()
        own = [models.get(p, int(r)) for p, r in zip(prints, rounds, strict=True)]
        return np.where(rounds == 0, 0, own)


def read_run(directory: str | Path) -> RunFiles:
    """Read a run directory.

    Raises
    ------
    CampaignError
        If it is no run directory.
    """
    state = status(directory)
    path, notes = state.directory, list(state.notes)
    events = read_events(path / "journal.jsonl").events
    config = _config(path)
    files = RunDirectory(path)
    observable = _observable(config)
    stored = _frames(files, observable, notes)
    labelled = _read(path / "labelled.extxyz", notes)
    quarantine = _read(path / "quarantine.extxyz", notes)
    return RunFiles(state, events, config, stored, labelled, quarantine, observable, tuple(notes))


def _frames(files: RunDirectory, observable: Observable, notes: list[str]) -> list[Stored]:
    found = []
    for number in range(1, files.last("frames") + 1):
        part = _read(files.frames(number), notes)
        if part is not None and len(part):
            info, watched = part.info, _watched(part, observable)
            series = info["round"], info["walker"], info["step"], info["uncertainty"]
            found.append(Stored(*series, info["stop_reason"], watched))
    return found


def _watched(frames: Dataset, observable: Observable) -> FloatArray | None:
    """Return what is followed; of crystals that nothing is said of, the volume."""
    values = observable.values(frames)
    if values is None and frames.pbc.all():
        return np.abs(np.linalg.det(frames.cell))[:, None]
    return values


def _read(path: Path, notes: list[str]) -> Dataset | None:
    if not path.exists():
        return None
    try:
        return read(path)
    except (UncvError, OSError, ValueError) as error:
        notes.append(f"{path.name} cannot be read ({error}); what it holds is left out")
        return None


def _config(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    return values if isinstance(values, dict) else {}


def _observable(config: dict[str, Any]) -> Observable:
    system = config.get("system") or {}
    torsions = tuple(tuple(int(a) for a in t) for t in system.get("torsions") or ())
    if not torsions and system.get("structure", SHIPPED) == SHIPPED and config:
        torsions = ALANINE_PHI_PSI
    limits = system.get("volume_range_angstrom3")
    if any(len(t) != 4 for t in torsions):
        raise ConfigError("a torsion of config.yaml has not four atoms; correct system.torsions")
    return Observable(torsions, tuple(limits) if limits else None)  # type: ignore[arg-type]
