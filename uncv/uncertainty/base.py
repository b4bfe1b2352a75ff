"""What every uncertainty is: a module from what the members say to a number per atom or frame."""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from ase.data import chemical_symbols
from torch import Tensor

from uncv.data import Dataset
from uncv.errors import FingerprintError, NotFittedError
from uncv.fitted import FittedModule
from uncv.groups import AtomGroups
from uncv.protocols import MemberOutput, Potential

DELTA = 1e-6
"""Smoothing of standard deviations, in eV or eV/Å: sqrt(var + DELTA²) has a finite slope at 0."""


class UncertaintyBase(FittedModule):
    """Base of the uncertainties.

    Attributes
    ----------
    kind : str
        'energy' (eV), 'force' (eV/Å) or 'dimensionless'.
    per_atom : bool
        Whether it gives a value per atom (F, A) that is then reduced, or one per frame (F,).
    extra : str
        What it looks at beside energies and features: one of `uncv.protocols.EXTRAS`, or ''.
    potential_ : str
        Fingerprint of the potential it was fitted on; '' if it needs no fit.
    """

    # Without annotations: TorchScript reads those of a class as types of its attributes.
    kind = "dimensionless"  # one of uncv.units.Kind
    per_atom = True
    extra = ""
    needs_fit = True
    potential_ = ""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what its constructor takes, as plain values."""

    @abstractmethod
    def forward(self, output: MemberOutput, groups: AtomGroups) -> Tensor:
        """Return the uncertainty of each atom (F, A), 0 on padding, or of each frame (F,).

        Parameters
        ----------
        output : MemberOutput
            What the members say.
        groups : AtomGroups
            Which atoms belong to which element.
        """

    def fit(self, potential: Potential, data: Dataset) -> Self:
        """Fit to the training data of a potential and return self."""
        self.potential_ = potential.fingerprint
        return self

    def check(self, potential: Potential) -> None:
        """Refuse a potential that lacks what it needs, and use without a fit or after another's.

        Raises
        ------
        NotFittedError, FingerprintError
        ValueError
            If the potential does not give what the uncertainty looks at.
        """
        name = type(self).__name__
        self.check_extra(potential)
        if not self.needs_fit:
            return
        if not self.potential_:
            raise NotFittedError(f"{name} is not fitted; call fit(potential, data) first")
        if self.potential_ != potential.fingerprint:
            raise FingerprintError(
                f"{name} was fitted on potential {self.potential_} but is used with "
                f"{potential.fingerprint}; fit it again on this potential"
            )

    def check_extra(self, potential: Potential) -> None:
        """Refuse a potential that does not give what the uncertainty looks at.

        Raises
        ------
        ValueError
        """
        if self.extra and self.extra not in potential.extras:
            raise ValueError(
                f"{type(self).__name__} needs {self.extra} of the potential, but this "
                f"{type(potential).__name__} gives {', '.join(potential.extras) or 'none'}; choose "
                "another uncertainty, or a potential that gives it"
            )

    def check_head(self, potential: Potential, head: str) -> None:
        """Refuse a potential whose networks were not trained with a head.

        Raises
        ------
        ValueError
        """
        if potential.head != head:
            raise ValueError(
                f"{type(self).__name__} needs a potential with the head {head!r} but this one has "
                f"{potential.head or 'no'} head; train with TrainSettings(head={head!r})"
            )


class TrainedUncertainty(UncertaintyBase):
    """Base of those fitted to the training atoms, as one member of the potential sees them.

    They know nothing of an element that was not among these atoms, and say so once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._untold: set[int] = set()

    def expect_warnings(self, known: Sequence[bool]) -> None:
        """Take note of which elements of the potential were in the training data."""
        self._untold = {index for index, there in enumerate(known) if not there}

    def warn_of_strangers(self, groups: AtomGroups, consequence: str) -> None:
        """Warn at the first sight of an element that was not in the training data."""
        for index in sorted(self._untold):
            rows = groups.rows[index]
            if len(rows) > 0:
                self._untold.discard(index)
                symbol = chemical_symbols[int(groups.numbers.flatten()[rows[0]])]
                warnings.warn(
                    f"there was no {symbol} in the data that {type(self).__name__} was fitted to, "
                    f"so its uncertainty {consequence}; fit to data with {symbol}",
                    stacklevel=5,
                )

    def check_member(self, potential: Potential, member: int | str) -> None:
        """Refuse a member that the potential has not; 'all' is always there.

        Raises
        ------
        ValueError
        """
        if isinstance(member, int) and not 0 <= member < potential.members:
            raise ValueError(
                f"member {member} was asked for, but the potential has {potential.members}; choose "
                "one below that"
            )
