"""What every uncertainty is: a module from what the members say to a number per atom or frame."""

from abc import abstractmethod
from typing import Any, Self

from torch import Tensor, nn

from uncv.data import Dataset
from uncv.errors import FingerprintError, NotFittedError
from uncv.protocols import MemberOutput, Potential

DELTA = 1e-6
"""Smoothing of standard deviations, in eV or eV/Å: sqrt(var + DELTA²) has a finite slope at 0."""


class UncertaintyBase(nn.Module):
    """Base of the uncertainties.

    Attributes
    ----------
    kind : str
        'energy' (eV), 'force' (eV/Å) or 'dimensionless'.
    per_atom : bool
        Whether it gives a value per atom (F, A) that is then reduced, or one per frame (F,).
    needs_member_forces : bool
        Whether it looks at ``MemberOutput.member_forces``.
    potential_ : str
        Fingerprint of the potential it was fitted on; '' if it needs no fit.
    """

    # Without annotations: TorchScript reads those of a class as types of its attributes.
    kind = "dimensionless"  # one of uncv.units.Kind
    per_atom = True
    needs_member_forces = False
    needs_fit = True
    potential_ = ""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what its constructor takes, as plain values."""

    @abstractmethod
    def forward(self, output: MemberOutput, mask: Tensor) -> Tensor:
        """Return the uncertainty of each atom (F, A), 0 on padding, or of each frame (F,).

        Parameters
        ----------
        output : MemberOutput
            What the members say.
        mask : torch.Tensor
            True on atoms (F, A).
        """

    def fit(self, potential: Potential, data: Dataset) -> Self:
        """Fit to the training data of a potential and return self."""
        self.potential_ = potential.fingerprint
        return self

    def check(self, potential: Potential) -> None:
        """Refuse use without a fit, or with another potential than that of the fit.

        Raises
        ------
        NotFittedError, FingerprintError
        """
        if not self.needs_fit:
            return
        name = type(self).__name__
        if not self.potential_:
            raise NotFittedError(f"{name} is not fitted; call fit(potential, data) first")
        if self.potential_ != potential.fingerprint:
            raise FingerprintError(
                f"{name} was fitted on potential {self.potential_} but is used with "
                f"{potential.fingerprint}; fit it again on this potential"
            )
