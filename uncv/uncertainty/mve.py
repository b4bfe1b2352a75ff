"""The spread of force errors that networks were trained to say: mean-variance estimation."""

from typing import Any

import torch
from torch import Tensor

from uncv.groups import AtomGroups
from uncv.heads import force_var
from uncv.protocols import MemberOutput, Potential
from uncv.uncertainty.base import UncertaintyBase


class MVEUncertainty(UncertaintyBase):
    """Standard deviation of a force component, eV/Å, from a second output of the networks.

    Notes
    -----
    Each atom has one variance s² = softplus(raw) + (1 meV/Å)², shared by x, y and z, learnt with
    the forces as mean of a normal distribution: ``TrainSettings(head="mean_variance")``. Of several
    members the variances are averaged, u = sqrt(mean s²): how far the members' forces differ is a
    matter of `EnsembleUncertainty`. It speaks of the errors seen in training and knows little of
    structures unlike those.

    Sources: Nix, Weigend, ICNN 1994; Tan et al., npj Comput. Mater. 9, 225 (2023).

    Examples
    --------
    >>> MVEUncertainty().kind
    'force'
    """

    kind = "force"
    extra = "heads"
    needs_fit = False

    def settings(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {}

    def check(self, potential: Potential) -> None:
        """Refuse a potential without a mean-variance head.

        Raises
        ------
        ValueError
        """
        self.check_head(potential, "mean_variance")

    def forward(self, output: MemberOutput, groups: AtomGroups) -> Tensor:
        """Return the uncertainty of each atom (F, A)."""
        heads = output.heads
        if heads is None:
            raise ValueError("the heads are missing; evaluate with extra='heads'")
        variance = force_var(heads.to(torch.float64)).mean(dim=0)
        return variance.sqrt().masked_fill(~groups.mask, 0.0)
