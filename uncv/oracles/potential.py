"""Labels by a potential: a teacher for tests, for pre-training, and for a cheaper model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uncv._version import __version__
from uncv.data import Dataset
from uncv.errors import FingerprintError
from uncv.oracles.base import FrameOracle, Labels
from uncv.protocols import Potential


class PotentialOracle(FrameOracle):
    """The member mean of a potential as the reference: energy, forces, and stress of a cell.

    Parameters
    ----------
    potential : Potential, str or Path
        A potential, or what `uncv.load_potential` takes: 'ani1x' or a file. A copy in another
        process is read from that file again, a potential given as an object travels along.
    max_force : float, optional
        A frame with a larger force on an atom (eV/Å) counts as failed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file is not a potential.
    """

    def __init__(self, potential: Potential | str | Path, max_force: float | None = None) -> None:
        self.path = str(potential) if isinstance(potential, (str, Path)) else None
        if self.path is not None and Path(self.path).is_file():
            self.path = str(Path(self.path).resolve())
        self._potential: Potential | None = (
            _load(potential) if isinstance(potential, (str, Path)) else potential
        )
        self.fingerprint = self.potential.fingerprint
        members = self.potential.members
        level = f"potential {self.fingerprint[:16]}, {members} member{'s' if members > 1 else ''}"
        super().__init__(level, max_force, software=f"uncv {__version__}")

    @property
    def potential(self) -> Potential:
        """The teacher.

        Raises
        ------
        FingerprintError
            In a copy, if its file now holds another potential.
        """
        if self._potential is None:
            loaded = _load(str(self.path))
            if loaded.fingerprint != self.fingerprint:
                raise FingerprintError(
                    f"{self.path} holds potential {loaded.fingerprint[:16]}, this oracle was made "
                    f"with {self.fingerprint[:16]}; restore the file or make the oracle again"
                )
            self._potential = loaded
        return self._potential

    @property
    def identity(self) -> str:
        """The fingerprint of the potential."""
        return f"{type(self).__name__}: {self.fingerprint}"

    def compute(self, frame: Dataset) -> Labels:
        """Return energy (eV), forces (eV/Å) and, of a cell, stress (eV/Å^3) of one frame.

        Raises
        ------
        ElementError
            If the potential was not made for an element of the frame.
        """
        found = self.potential.evaluate(frame.without_labels())
        stress = None if found.stress is None else found.stress[0]
        return Labels(float(found.energies.mean(axis=0)[0]), found.forces[0], stress)

    def __getstate__(self) -> dict[str, Any]:
        kept = self._potential if self.path is None else None
        return {**self.__dict__, "_potential": kept}


def _load(path: str | Path) -> Potential:
    from uncv.models import load_potential

    return load_potential(path)
