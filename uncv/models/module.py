"""Potentials of others: any torch module that gives atomic energies for atoms and pairs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from uncv.data import Batch, Dataset
from uncv.models.derivatives import evaluate_in_chunks
from uncv.models.elements import HIGHEST, species_of, sum_references
from uncv.models.files import POTENTIAL_FORMAT, POTENTIAL_VERSION, write_file
from uncv.models.module_probe import Answer, probe
from uncv.models.module_readout import AtomList, ModuleReadout, ScriptableModules, list_atoms
from uncv.models.neighbours import Pairs, find_pairs
from uncv.protocols import Evaluation, MemberOutput
from uncv.scripting import compile_module, from_bytes, load_module, plain_execution, to_bytes

Source = nn.Module | str | Path
KNOWN = set(range(1, HIGHEST + 1))
"""Atomic numbers."""


class Prepared(NamedTuple):
    """What holds until an atom has moved by half a skin.

    Attributes
    ----------
    atoms : AtomList
        The atoms as one list.
    pairs : Pairs
        Pairs within cutoff and skin.
    """

    atoms: AtomList
    pairs: Pairs


class ModulePotential(ModuleReadout):
    """An ensemble made of torch modules of your own; docs/potentials.md is the recipe.

    Parameters
    ----------
    modules : torch.nn.Module, str, Path or a sequence of them
        One module that gives all M members, or one for each, evaluated one after the other. Each is
        a module that TorchScript compiles, or a TorchScript file. The potential keeps a compiled
        copy. Features are those of the first.
    elements : sequence of int
        Atomic numbers; the modules get the index in this list.
    cutoff : float
        Distance in Å below which two atoms are a pair.
    reference_energies : sequence of float, optional
        Energy of the lone atom of each element, eV, added in float64 to the sum of the atomic
        energies; zero by default.
    dtype : torch.dtype, optional
        Of the vectors; by default that of the first module's weights, float64 without any.
    answer : Answer, optional
        What the modules said when they were asked, if it is known from a file; asked by default.

    Raises
    ------
    TypeError, ValueError
        If a module cannot be compiled, or does not answer as it must; the message says how.
    GradientError
        If energies do not depend on the vectors.
    """

    def __init__(
        self,
        modules: Source | Sequence[Source],
        elements: Sequence[int],
        cutoff: float,
        *,
        reference_energies: Sequence[float] = (),
        dtype: torch.dtype | None = None,
        answer: Answer | None = None,
    ) -> None:
        known = tuple(int(z) for z in elements)
        references = tuple(float(e) for e in reference_energies) or (0.0,) * len(known)
        _check_settings(known, cutoff, references)
        sources = [modules] if isinstance(modules, nn.Module | str | Path) else list(modules)
        if not sources:
            raise ValueError("no module is given; expected at least one")
        models = [_compiled(source) for source in sources]
        dtype = _dtype_of(models[0]) if dtype is None else dtype
        held = nn.ModuleList(models).to(dtype).requires_grad_(False)
        if answer is None:
            answer = probe(models, known, cutoff, dtype)
        super().__init__(held, cutoff, dtype, last_layer=answer.last_layer)
        self.answer = answer
        self._elements = known
        self._references = references

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers it was made for."""
        return self._elements

    @property
    def members(self) -> int:
        """Number of members M."""
        return self.answer.members

    @property
    def cutoff(self) -> float:
        """Distance in Å below which two atoms are a pair."""
        return self.reach

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the vectors and weights."""
        return self.lowest.dtype

    @property
    def extras(self) -> tuple[str, ...]:
        """What it can give beside energies and features."""
        return ("member_forces", "last_layer") if self.last_layer else ("member_forces",)

    @property
    def head(self) -> str:
        """Nothing: modules give energies and features alone."""
        return ""

    @property
    def smooth(self) -> bool:
        """Whether energies have continuous second derivatives: taken for granted."""
        return True

    @property
    def last_bias(self) -> float:
        """Zero: the bias of the last layer is a column of what the module gives for it."""
        return 0.0

    @property
    def fingerprint(self) -> str:
        """SHA-256 (16 hex digits) of settings, weights, and what the modules said when asked."""
        digest = hashlib.sha256(json.dumps(self.metadata(), sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def metadata(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return {
            "elements": list(self.elements),
            "cutoff": self.cutoff,
            "reference_energies": list(self._references),
            "answer": list(self.answer),
        }

    def prepare(self, batch: Batch, skin: float = 0.0) -> Prepared:
        """Return atoms and pairs of a batch, valid until an atom has moved by skin/2 (Å).

        Raises
        ------
        ElementError
            If the potential does not know an element.
        """
        species = species_of(batch.numbers, self.elements)
        pairs = find_pairs(batch.positions, batch.cell, batch.pbc, species >= 0, self.cutoff + skin)
        return Prepared(list_atoms(species), pairs)

    def forward(
        self, batch: Batch, prepared: Prepared | None = None, *, extra: str = ""
    ) -> MemberOutput:
        """Return energies and features of a batch, differentiable in its positions and cell.

        Forces of the members, if asked for, are differentiable too; the batch's positions must
        then require a gradient.
        """
        atoms, pairs = self.prepare(batch) if prepared is None else prepared
        with plain_execution():
            output = self.read(batch.positions, batch.cell, atoms, pairs, extra)
        if extra != "member_forces":
            return output
        forces = [
            -torch.autograd.grad(energies.sum(), batch.positions, create_graph=True)[0]
            for energies in output.energies
        ]
        return output._replace(member_forces=torch.stack(forces).to(torch.float64))

    def scriptable(self, numbers: Tensor, pbc: bool, extra: str) -> nn.Module:
        """Return a module that TorchScript can compile; see `Potential`."""
        return ScriptableModules(self, species_of(numbers, self.elements), pbc=pbc, extra=extra)

    def reference_energies(self, numbers: Tensor) -> Tensor:
        """Return the sum of atomic reference energies of each frame (F,), float64, eV."""
        return sum_references(numbers, self.elements, self._references)

    def evaluate(self, data: Dataset, *, member_forces: bool = False) -> Evaluation:
        """Return energies, forces and features of a dataset.

        Raises
        ------
        ElementError
            If the potential does not know an element.
        """
        return evaluate_in_chunks(self, data, member_forces=member_forces)

    def packed(self) -> dict[str, Any]:
        """Return settings as plain values and each module as the bytes of a TorchScript archive."""
        return {
            "architecture": "module",
            "dtype": str(self.dtype).removeprefix("torch."),
            "metadata": json.dumps(self.metadata()),
            "archives": [to_bytes(compile_module(model)) for model in self.models],
        }

    @classmethod
    def unpacked(cls, content: dict[str, Any]) -> ModulePotential:
        """Make a potential again from what `packed` gave, without asking the modules anew."""
        about = json.loads(content["metadata"])
        return cls(
            [from_bytes(archive) for archive in content["archives"]],
            about["elements"],
            about["cutoff"],
            reference_energies=about["reference_energies"],
            dtype=getattr(torch, content["dtype"]),
            answer=Answer(*about["answer"]),
        )

    def save(self, path: str | Path) -> None:
        """Write settings and modules to one file, atomically; `load_potential` reads it."""
        write_file(path, POTENTIAL_FORMAT, POTENTIAL_VERSION, self.packed())


def _check_settings(
    elements: tuple[int, ...], cutoff: float, references: tuple[float, ...]
) -> None:
    if not elements or len(set(elements)) != len(elements) or not set(elements) <= KNOWN:
        raise ValueError(f"elements are {elements}; expected distinct atomic numbers")
    if not cutoff > 0:
        raise ValueError(f"the cutoff is {cutoff} Å; expected a positive distance")
    if len(references) != len(elements):
        raise ValueError(
            f"{len(references)} reference energies are given for {len(elements)} elements; "
            "expected one for each"
        )


def _compiled(source: Source) -> nn.Module:
    """Return a compiled copy of a module, or what a TorchScript file holds.

    The copy went through an archive, as it will in a file: TorchScript orders operations anew when
    it reads one, so only then are values the same to the last digit before and after.
    """
    if not isinstance(source, nn.Module):
        return load_module(source)[0].eval()
    try:
        return from_bytes(to_bytes(compile_module(source))).eval()
    except (RuntimeError, OSError, TypeError, AttributeError) as error:
        raise TypeError(
            f"TorchScript cannot compile {type(source).__name__}: {error}; write the module in the "
            "part of Python that torch.jit.script takes, or implement uncv.protocols.Potential"
        ) from error


def _dtype_of(model: nn.Module) -> torch.dtype:
    for value in (*model.parameters(), *model.buffers()):
        if value.is_floating_point():
            return value.dtype
    return torch.float64
