"""Deep evidential regression of forces: networks that say how much evidence they have."""

from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor

from uncv.groups import AtomGroups
from uncv.heads import aleatoric_var, epistemic_var, evidence
from uncv.protocols import MemberOutput, Potential
from uncv.uncertainty.base import UncertaintyBase

Part = Literal["epistemic", "aleatoric"]


class EvidentialUncertainty(UncertaintyBase):
    """Standard deviation of a force component, eV/Å, from evidence about its mean and variance.

    Parameters
    ----------
    of : str
        'epistemic': of the mean, sqrt(β/(ν (α − 1))), which more data would lower.
        'aleatoric': of the labels about it, sqrt(β/(α − 1)).

    Notes
    -----
    Each atom has one ν, α and β, shared by x, y and z, learnt with the forces
    (``TrainSettings(head="evidential")``). Of several members the variances are averaged: how far
    the members' forces differ is a matter of `EnsembleUncertainty`. The likelihood settles the sum
    of both variances; their ratio ν follows from the regulariser alone.

    Sources: Amini et al., NeurIPS 2020; Tan et al., npj Comput. Mater. 9, 225 (2023).

    Examples
    --------
    >>> EvidentialUncertainty(of="aleatoric").kind
    'force'
    """

    kind = "force"
    extra = "heads"
    needs_fit = False
    of: Final[str]

    def __init__(self, of: Part = "epistemic") -> None:
        super().__init__()
        if of not in get_args(Part):
            raise ValueError(f"of={of!r} is unknown; expected one of {get_args(Part)}")
        self.of = of

    def settings(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {"of": self.of}

    def check(self, potential: Potential) -> None:
        """Refuse a potential without an evidential head.

        Raises
        ------
        ValueError
        """
        self.check_head(potential, "evidential")

    def forward(self, output: MemberOutput, groups: AtomGroups) -> Tensor:
        """Return the uncertainty of each atom (F, A)."""
        heads = output.heads
        if heads is None:
            raise ValueError("the heads are missing; evaluate with extra='heads'")
        found = evidence(heads.to(torch.float64))
        variance = epistemic_var(found) if self.of == "epistemic" else aleatoric_var(found)
        return variance.mean(dim=0).sqrt().masked_fill(~groups.mask, 0.0)
