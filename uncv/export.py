"""TorchScript files of a collective variable, for engines that run without Python.

This is the one file of the package that names ``torch.jit``. The exported module is bound to the
species and the number of walkers it was made for, runs the plain descriptor, and says what it
promises in its extra file ``uncv.json``.
"""

import json
from copy import deepcopy
from pathlib import Path
from typing import List, Literal, Tuple, get_args  # noqa: UP035  TorchScript wants typing's names

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from uncv._version import __version__
from uncv.bias import Bias
from uncv.calibration import Calibrator
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import DataError, FileFormatError
from uncv.models import AniPotential
from uncv.models.neighbours import pair_vectors
from uncv.protocols import MemberOutput
from uncv.uncertainty import reduce_atoms
from uncv.units import ANGSTROM_IN_NM, EV_IN_KJ_PER_MOL, uncertainty_in_openmm

FORMAT = "uncv-torchscript"
VERSION = 1
METADATA = "uncv.json"
Output = Literal["total", "energy", "uncertainty"]


class ScriptedCV(nn.Module):
    """Energy, u and atomic uncertainties of W walkers of fixed species, as TorchScript runs it."""

    numbers: Tensor
    pbc: Tensor
    order: Tensor
    back: Tensor
    reference: Tensor
    species: Tensor
    lowest: Tensor

    def __init__(
        self, cv: UncertaintyCV, numbers: ArrayLike, *, walkers: int, periodic: bool
    ) -> None:
        super().__init__()
        potential = cv.potential
        if not isinstance(potential, AniPotential):
            raise TypeError(
                f"{type(potential).__name__} cannot be exported; expected an AniPotential: use the "
                "python backend"
            )
        one = torch.as_tensor(np.asarray(numbers, dtype=np.int64))
        both = one.expand(walkers, -1).contiguous()
        species = potential.species(both)
        flat = species.reshape(-1)
        order = torch.argsort(flat, stable=True)
        self.counts: List[int] = [int((flat == k).sum()) for k in range(len(potential.networks))]  # noqa: UP006
        buffers = {
            "numbers": both,
            "species": species,
            "pbc": torch.full((walkers, 3), periodic),
            "order": order,
            "back": torch.argsort(order),
            "reference": potential.reference_energies(both),
            "lowest": torch.zeros(0, dtype=potential.dtype),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)
        self.scale = float(potential.scale)
        self.aev = potential.aev
        self.networks = potential.networks
        self.uncertainty = cv.uncertainty
        self.factor = 1.0 if cv.calibrator is None else _factor(cv.calibrator)
        self.per_atom = cv.uncertainty.per_atom
        self.member_forces = cv.uncertainty.needs_member_forces
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
        if not bool(self.pbc[0, 0].item()):
            positions = positions - positions.mean(dim=1, keepdim=True)
        if self.member_forces and not positions.requires_grad:
            positions = positions.detach().requires_grad_()
        x, box = positions.to(self.lowest.dtype), cell.to(self.lowest.dtype)
        graph = self.aev.graph(self.species, x, box, self.pbc, 0.0)
        described = self.aev(pair_vectors(x, box, graph.pairs), graph)
        parts = torch.split(described.index_select(0, self.order), self.counts)
        energies: List[Tensor] = []  # noqa: UP006
        for index, network in enumerate(self.networks):
            energies.append(network(parts[index]))
        atomic = torch.cat(energies, dim=1).index_select(1, self.back).to(torch.float64)
        atomic = (atomic * self.scale).view(-1, positions.shape[0], positions.shape[1])
        members = atomic.sum(dim=2)
        forces = torch.zeros((0, 0, 0, 3), dtype=torch.float64)
        if self.member_forces:
            rows: List[Tensor] = []  # noqa: UP006
            for member in range(members.shape[0]):
                gradient = torch.autograd.grad(
                    [members[member].sum()], [positions], create_graph=True
                )[0]
                if gradient is not None:
                    rows.append(-gradient)
            forces = torch.stack(rows)
        features = described.view(positions.shape[0], positions.shape[1], -1)
        mask = self.numbers > 0
        values = self.uncertainty(MemberOutput(members, atomic, features, forces), mask)
        values = values.to(torch.float64) * self.factor
        total = members.mean(dim=0) + self.reference
        if self.per_atom:
            return total, reduce_atoms(values, mask, self.reduce), values
        return total, values, torch.zeros((positions.shape[0], 0), dtype=torch.float64)


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
        self.walkers = int(scripted.numbers.shape[0])

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

    @torch.jit.export
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
) -> torch.jit.ScriptModule:
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
    module = deepcopy(module)  # what follows must not reach the potential
    module.requires_grad_(False)
    return torch.jit.script(module.eval())


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
    energies in eV, u and atomic uncertainties.

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
    about = {
        "format": FORMAT,
        "version": VERSION,
        "uncv": __version__,
        "fingerprint": cv.fingerprint,
        "numbers": [int(z) for z in numbers],
        "walkers": walkers,
        "periodic": periodic,
        "output": output,
        "kind": cv.kind,
        "dtype": str(cv.potential.dtype).removeprefix("torch."),
        "cutoff_angstrom": cv.potential.cutoff,
        "angstrom_in_nm": ANGSTROM_IN_NM,
    }
    path = Path(path)
    scratch = path.with_name(path.name + ".part")
    module.save(str(scratch), _extra_files={METADATA: json.dumps(about)})
    scratch.replace(path)
    return path


def load_exported(path: str | Path) -> tuple[torch.jit.ScriptModule, dict]:
    """Read an exported file and what it says of itself.

    Raises
    ------
    FileFormatError
        If it is not a file that `export` wrote.
    """
    extra = {METADATA: ""}
    try:
        module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
        about = json.loads(extra[METADATA])
    except (RuntimeError, ValueError) as error:
        raise FileFormatError(
            f"{path} is not a file written by uncv export: {error}; export it again"
        ) from error
    if about.get("format") != FORMAT or about.get("version", 0) > VERSION:
        raise FileFormatError(
            f"{path} has format {about.get('format')} version {about.get('version')}; "
            f"expected {FORMAT} up to version {VERSION}"
        )
    return module, about


def _factor(calibrator: Calibrator) -> float:
    return calibrator.fitted_factor()
