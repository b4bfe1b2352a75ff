"""TorchScript files of a collective variable, for engines that run without Python.

The exported module is bound to the species and the number of walkers it was made for, runs the
plain descriptor, and says what it promises in extra files (`uncv.export_promise`).
"""

from copy import deepcopy
from pathlib import Path
from typing import List, Literal, Tuple, get_args  # noqa: UP035  TorchScript wants typing's names

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from uncv.bias import Bias
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import DataError, FileFormatError
from uncv.export_promise import METADATA, as_texts, promise, read_promise
from uncv.groups import FixedGroups
from uncv.protocols import MemberOutput
from uncv.scripting import ScriptModule, compile_module, exported, load_module, save_module
from uncv.uncertainty import reduce_atoms
from uncv.units import EV_IN_KJ_PER_MOL, uncertainty_in_openmm

Output = Literal["total", "energy", "uncertainty"]


class ScriptedCV(nn.Module):
    """Energy, u and atomic uncertainties of W walkers of fixed species, as TorchScript runs it."""

    reference: Tensor

    def __init__(
        self, cv: UncertaintyCV, numbers: ArrayLike, *, walkers: int, periodic: bool
    ) -> None:
        super().__init__()
        potential, extra = cv.potential, cv.uncertainty.extra
        if not hasattr(potential, "scriptable"):
            raise TypeError(
                f"{type(potential).__name__} cannot be exported; it has no method scriptable "
                "(see uncv.protocols.Potential): use the python backend"
            )
        one = torch.as_tensor(np.asarray(numbers, dtype=np.int64))
        both = one.expand(walkers, -1).contiguous()
        self.member_forces = extra == "member_forces"
        self.potential = potential.scriptable(both, periodic, "" if self.member_forces else extra)
        self.groups = FixedGroups(both, potential.elements)
        self.register_buffer("reference", potential.reference_energies(both))
        self.periodic = periodic
        self.walkers = walkers
        self.uncertainty = cv.uncertainty
        self.calibrator = AsItIs() if cv.calibrator is None else cv.calibrator
        self.per_atom = cv.uncertainty.per_atom
        self.reduce = cv.reduce

    def forward(self, positions: Tensor, cell: Tensor) -> Tuple[Tensor, Tensor, Tensor]:  # noqa: UP006
        """Return total energy (W,) in eV, u (W,) and atomic uncertainties (W, A) or (W, 0).

        Parameters
        ----------
        positions : torch.Tensor
            (W, A, 3) in Å, float64.
        cell : torch.Tensor
            (W, 3, 3) in Å, float64.
        """
        if not self.periodic:
            positions = positions - positions.mean(dim=1, keepdim=True)
        if self.member_forces and not positions.requires_grad:
            positions = positions.detach().requires_grad_()
        output = self.potential(positions, cell)
        if self.member_forces:
            output = with_member_forces(output, positions)
        groups = self.groups()
        values = self.uncertainty(output, groups).to(torch.float64)
        values = self.calibrator(values, groups.numbers)
        total = output.energies.mean(dim=0) + self.reference
        if self.per_atom:
            return total, reduce_atoms(values, groups.mask, self.reduce), values
        return total, values, torch.zeros_like(positions[:, :0, 0])


def with_member_forces(output: MemberOutput, positions: Tensor) -> MemberOutput:
    """Add the forces of the members, one by one: TorchScript has no batched gradients."""
    rows: List[Tensor] = []  # noqa: UP006
    for member in range(output.energies.shape[0]):
        gradient = torch.autograd.grad(
            [output.energies[member].sum()], [positions], create_graph=True
        )[0]
        if gradient is not None:
            rows.append(-gradient)
    return MemberOutput(
        output.energies,
        output.atomic_energies,
        output.features,
        torch.stack(rows),
        None,
        None,
        None,
    )


class AsItIs(nn.Module):
    """No calibration."""

    def forward(self, u: Tensor, numbers: Tensor) -> Tensor:
        """Return u."""
        return u


class NoBias(Bias):
    """V = 0."""

    def forward(self, u: Tensor) -> Tensor:
        """Return zeros (F,)."""
        return torch.zeros_like(u)


class TorchForceModule(nn.Module):
    """What TorchForce calls: positions in nm to one energy in kJ/mol (or u in OpenMM's units)."""

    atoms: Tensor

    def __init__(
        self,
        scripted: ScriptedCV,
        bias: nn.Module,
        output: Output,
        unit: float,
        atoms: Tensor,
        particles: int,
    ) -> None:
        super().__init__()
        self.register_buffer("atoms", atoms)
        self.particles = particles
        self.cv = scripted
        self.bias = bias
        self.unit = unit
        self.uncertainty_only = output == "uncertainty"
        self.biased = output == "total"
        self.walkers = scripted.walkers

    def _value(self, positions: Tensor, box: Tensor) -> Tensor:
        if positions.shape[0] != self.particles:
            raise ValueError(
                f"the System has {positions.shape[0]} particles; this force is for {self.particles}"
            )
        chosen = positions.index_select(0, self.atoms)
        x = (chosen.to(torch.float64) * 10.0).view(self.walkers, -1, 3)
        cell = (box.to(torch.float64) * 10.0).unsqueeze(0).expand(self.walkers, 3, 3)
        energy, u, _ = self.cv(x, cell)
        if self.uncertainty_only:
            return u.sum() * self.unit
        if self.biased:
            energy = energy + self.bias(u)
        return energy.sum() * self.unit

    def forward(self, positions: Tensor) -> Tensor:
        """Return the value without a cell."""
        box = torch.zeros((3, 3), dtype=torch.float64, device=positions.device)
        return self._value(positions, box)

    @exported
    def evaluate(self, positions: Tensor, cell: Tensor) -> Tuple[Tensor, Tensor, Tensor]:  # noqa: UP006
        """Return energies (W,) in eV, u (W,) and atomic uncertainties, from Å."""
        return self.cv(positions, cell)


class PeriodicTorchForceModule(TorchForceModule):
    """The same for periodic systems, called with the box vectors."""

    def forward(self, positions: Tensor, box: Tensor) -> Tensor:  # type: ignore[override]
        """Return the value in a cell whose vectors are the rows of ``box`` (nm)."""
        return self._value(positions, box)


def script(
    cv: UncertaintyCV,
    numbers: ArrayLike,
    *,
    walkers: int = 1,
    periodic: bool = False,
    output: Output = "total",
    bias: Bias | None = None,
    particles: int | None = None,
    atoms: ArrayLike | None = None,
) -> ScriptModule:
    """Return the TorchScript module of a collective variable.

    Parameters
    ----------
    cv : UncertaintyCV
        What to export.
    numbers : array_like
        Atomic numbers (A,) that the module is bound to.
    walkers : int
        Number of copies of the molecule in the positions.
    periodic : bool
        Whether ``forward`` takes the box vectors too.
    output : str
        What ``forward`` gives: 'energy' (member mean, kJ/mol), 'total' (with the bias, kJ/mol) or
        'uncertainty' (in OpenMM's units).
    bias : Bias, optional
        Conservative bias of u.
    particles : int, optional
        Number of particles in the positions that ``forward`` gets; W·A by default.
    atoms : array_like, optional
        Indices (A,) of the model's atoms among them; all by default.

    Raises
    ------
    ValueError
        If the output is unknown, or the bias not conservative.
    """
    if output not in get_args(Output):
        raise ValueError(f"output {output!r} is unknown; expected one of {get_args(Output)}")
    if bias is not None and not isinstance(bias, Bias):
        raise ValueError(
            f"{type(bias).__name__} is not a function of u alone and cannot be exported; use a "
            "conservative bias, or the python backend"
        )
    core = ScriptedCV(cv, numbers, walkers=walkers, periodic=periodic)
    unit = uncertainty_in_openmm(cv.kind) if output == "uncertainty" else EV_IN_KJ_PER_MOL
    family = PeriodicTorchForceModule if periodic else TorchForceModule
    count = walkers * len(np.asarray(numbers)) if particles is None else particles
    chosen = torch.arange(count) if atoms is None else torch.as_tensor(np.asarray(atoms))
    module = family(core, NoBias() if bias is None else bias, output, unit, chosen, count)
    with torch.no_grad():  # copies of compiled modules would keep a graph
        module = deepcopy(module)  # what follows must not reach the potential
    module.requires_grad_(False)
    return compile_module(module.eval())


def export(
    cv: UncertaintyCV,
    like: Dataset,
    path: str | Path,
    *,
    walkers: int = 1,
    output: Output = "energy",
) -> Path:
    """Write the TorchScript file for TorchForce and other programs, bound to a structure.

    ``forward`` takes positions in nm (and box vectors, if the structure is periodic) and gives one
    number in OpenMM's units; ``evaluate`` takes positions (W, A, 3) and cells in Å and gives
    energies in eV, u and atomic uncertainties. The PLUMED plugin calls ``evaluate`` and wants one
    walker.

    Parameters
    ----------
    cv : UncertaintyCV
        What to export.
    like : Dataset
        One frame with the species and periodicity.
    path : str or Path
        File to write, usually ending in .pt.
    walkers, output
        See `script`.

    Raises
    ------
    DataError
        If there is not exactly one frame.
    """
    if len(like) != 1:
        raise DataError(f"the structure to export for has {len(like)} frames; give exactly one")
    numbers = like.numbers[0][like.mask[0]]
    periodic = bool(like.pbc.all())
    module = script(cv, numbers, walkers=walkers, periodic=periodic, output=output)
    save_module(module, path, as_texts(promise(cv, numbers, walkers, periodic, output)))
    return Path(path)


def load_exported(path: str | Path) -> tuple[ScriptModule, dict]:
    """Read an exported file and what it says of itself.

    Raises
    ------
    FileFormatError
        If it is not a file that `export` wrote.
    """
    try:
        module, (text,) = load_module(path, (METADATA,))
    except FileFormatError as error:
        raise FileFormatError(
            f"{path} is not a file written by uncv export: {error}; export it again"
        ) from error
    return module, read_promise(text, path)
