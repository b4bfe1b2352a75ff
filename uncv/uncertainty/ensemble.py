"""The spread of an ensemble's members."""

import warnings
from typing import Any, Final, Literal, get_args

from torch import Tensor

from uncv.groups import AtomGroups
from uncv.protocols import MemberOutput, Potential
from uncv.uncertainty.base import DELTA, UncertaintyBase

Of = Literal["energy", "atomic_energy", "forces"]


class EnsembleUncertainty(UncertaintyBase):
    """Standard deviation over the members, with M − 1 degrees of freedom.

    Parameters
    ----------
    of : str
        'energy': std of the energy of a frame, eV; it has no values per atom.
        'atomic_energy': std of each atom's energy, eV; depends on how members share out their
        energy among atoms.
        'forces': root mean square per Cartesian component of the members' deviation from their
        mean force, sqrt(Σ_m |F_m − F̄|² / (3 (M − 1))), eV/Å. Its gradient takes second
        derivatives of the model.

    Notes
    -----
    Deep ensembles: Lakshminarayanan et al., NeurIPS 2017. A standard deviation is smoothed to
    sqrt(var + δ²), δ = 1e-6 eV or eV/Å, so that its slope stays finite where members agree.

    Examples
    --------
    >>> EnsembleUncertainty(of="forces").kind
    'force'
    """

    needs_fit = False
    of: Final[str]

    def __init__(self, of: Of = "energy") -> None:
        super().__init__()
        if of not in get_args(Of):
            raise ValueError(f"of={of!r} is unknown; expected one of {get_args(Of)}")
        self.of = of
        self.delta = DELTA
        self.kind = "force" if of == "forces" else "energy"
        self.per_atom = of != "energy"
        self.extra = "member_forces" if of == "forces" else ""

    def settings(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {"of": self.of}

    def check(self, potential: Potential) -> None:
        """Refuse a potential of one member, which has no spread.

        Warn of forces whose spread has kinks: those of a potential that is not smooth.

        Raises
        ------
        ValueError
        """
        self.check_extra(potential)
        if potential.members < 2:
            raise ValueError(
                f"the potential has {potential.members} member; an ensemble uncertainty needs at "
                "least 2: train with TrainSettings(members=4)"
            )
        if self.of == "forces" and not potential.smooth:
            warnings.warn(
                "the activation of this potential has a jump in its second derivative, so the "
                "gradient of the spread of its forces jumps; use of='energy' or 'atomic_energy', "
                "or a potential with activation='silu'",
                stacklevel=3,
            )

    def forward(self, output: MemberOutput, groups: AtomGroups) -> Tensor:
        """Return the uncertainty of each frame (F,) or atom (F, A)."""
        if self.of == "energy":
            return (output.energies.var(dim=0) + self.delta**2).sqrt()
        if self.of == "atomic_energy":
            values = (output.atomic_energies.var(dim=0) + self.delta**2).sqrt()
        else:
            forces = output.member_forces
            if forces is None:
                raise ValueError(
                    "the members' forces are missing; evaluate with extra='member_forces'"
                )
            variance = forces.var(dim=0).sum(dim=-1) / 3.0
            values = (variance + self.delta**2).sqrt()
        return values.masked_fill(~groups.mask, 0.0)
