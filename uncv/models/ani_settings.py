"""The shape of an ANI-type ensemble."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from uncv.heads import HEADS
from uncv.models.aev import AevSettings


@dataclass(frozen=True)
class AniSettings:
    """Shape of an ANI-type ensemble.

    Parameters
    ----------
    elements : tuple of int
        Atomic numbers, in the order of the descriptor's blocks.
    members : int
        Number of members.
    hidden : tuple of tuple of int
        Widths of the hidden layers, one tuple per element.
    activation : str
        'silu' or 'celu'.
    reference_energies : tuple of float
        Energy of the lone atom of each element in eV, added in float64 at the very end.
    scale : float
        Factor from the output of the networks to eV.
    aev : AevSettings
        Constants of the descriptor.
    head : str
        What the networks give beside the energy: '' (nothing), 'mean_variance' or 'evidential'.
    """

    elements: tuple[int, ...]
    members: int
    hidden: tuple[tuple[int, ...], ...]
    activation: str = "silu"
    reference_energies: tuple[float, ...] = ()
    scale: float = 1.0
    aev: AevSettings = field(default_factory=AevSettings)
    head: str = ""

    def __post_init__(self) -> None:
        if len(set(self.elements)) != len(self.elements) or not self.elements:
            raise ValueError(f"elements are {self.elements}; expected distinct atomic numbers")
        if len(self.hidden) != len(self.elements):
            raise ValueError(
                f"hidden layers are given for {len(self.hidden)} elements; "
                f"expected {len(self.elements)}"
            )
        if self.members < 1:
            raise ValueError(f"members is {self.members}; expected at least 1")
        if self.head not in HEADS:
            raise ValueError(f"head {self.head!r} is unknown; expected one of {tuple(HEADS)}")
        if not self.reference_energies:
            object.__setattr__(self, "reference_energies", (0.0,) * len(self.elements))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return {
            "elements": list(self.elements),
            "members": self.members,
            "hidden": [list(h) for h in self.hidden],
            "activation": self.activation,
            "reference_energies": list(self.reference_energies),
            "scale": self.scale,
            **({"head": self.head} if self.head else {}),
            "aev": self.aev.to_dict(),
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> AniSettings:
        """Return the settings that `to_dict` gave."""
        aev: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in given["aev"].items()
        }
        return cls(
            elements=tuple(given["elements"]),
            members=given["members"],
            hidden=tuple(tuple(h) for h in given["hidden"]),
            activation=given["activation"],
            reference_energies=tuple(given["reference_energies"]),
            scale=given["scale"],
            head=given.get("head", ""),
            aev=AevSettings(**aev),
        )
