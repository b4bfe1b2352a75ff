"""What the outputs of a network beside the energy mean: the spread of its force errors.

Networks give raw numbers without bounds; a softplus makes them positive. One variance serves x, y
and z, because one for each Cartesian component of a rotation invariant atom would depend on how the
molecule lies. Written in the subset of Python that TorchScript compiles.
"""

from typing import NamedTuple

import torch
from torch import Tensor

HEADS = {"": 0, "mean_variance": 1, "evidential": 3}
"""Number of outputs beside the energy, by what they are for."""


class Evidence(NamedTuple):
    """A normal-inverse-gamma distribution of mean and variance of a force component.

    Attributes
    ----------
    nu : torch.Tensor
        ν > 0, the number of observations that the mean rests on.
    alpha : torch.Tensor
        α > 1, half the number that the variance rests on.
    beta : torch.Tensor
        β > 0, (eV/Å)².
    """

    nu: Tensor
    alpha: Tensor
    beta: Tensor


def force_var(raw: Tensor) -> Tensor:
    """Return the variance of a force component, (eV/Å)², from a mean-variance head (..., 1).

    It is softplus(raw) + 1e-6: no error is taken for smaller than 1 meV/Å.
    """
    return torch.nn.functional.softplus(raw.select(-1, 0)) + 1e-6


def evidence(raw: Tensor) -> Evidence:
    """Return ν, α and β from an evidential head (..., 3).

    Source: Amini et al., NeurIPS 2020. Each is a softplus of its output, α that plus 1.
    """
    positive = torch.nn.functional.softplus(raw)
    return Evidence(positive.select(-1, 0), positive.select(-1, 1) + 1.0, positive.select(-1, 2))


def epistemic_var(found: Evidence) -> Tensor:
    """Return the variance of the mean, β/(ν (α − 1)), in (eV/Å)²: what more data would lower."""
    return found.beta / (found.nu * (found.alpha - 1.0))


def aleatoric_var(found: Evidence) -> Tensor:
    """Return the mean of the variance, β/(α − 1), in (eV/Å)²: the noise of the labels."""
    return found.beta / (found.alpha - 1.0)
