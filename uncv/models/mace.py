"""Models of MACE as potentials: the only file that knows mace-torch and e3nn."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from uncv.errors import DependencyError, FileFormatError
from uncv.models.mace_module import (
    HiddenInput,
    LinearInput,
    MaceEnergies,
    MaceReadouts,
    OutputWeights,
)
from uncv.models.module import ModulePotential
from uncv.scripting import is_compiled

Model = nn.Module | str | Path


def load_mace(
    models: Model | Sequence[Model], *, head: str | None = None, dtype: torch.dtype | None = None
) -> ModulePotential:
    """Return models of MACE as the members of one potential.

    Features are the scalar (l = 0, even) node features of all interactions, of the first member.
    The last layer is that of every readout: the inputs of the linear maps that the energy of an
    atom is the sum of, each times what it is multiplied by.

    Parameters
    ----------
    models : torch.nn.Module, str, Path or a sequence of them
        ``MACE`` or ``ScaleShiftMACE``, in memory or as the .model file that ``mace_run_train``
        wrote. Such a file is a pickle: reading it executes what its author put there, so read
        those of people you trust. Several are an ensemble.
    head : str, optional
        Which head of models with several.
    dtype : torch.dtype, optional
        Float64 or float32; by default as the models are.

    Raises
    ------
    DependencyError
        If mace-torch is not installed.
    FileFormatError
        If a file does not hold a model.
    TypeError, ValueError
        If a model is of another kind, the members do not belong together, or there is no such head.
    """
    library = import_mace()
    sources = [models] if isinstance(models, nn.Module | str | Path) else list(models)
    if not sources:
        raise ValueError("no model is given; expected at least one")
    own = [_own(source, library) for source in sources]
    elements, cutoff = _common_shape(own)
    heads = [_head(model, head) for model in own]
    alone = np.array([_lone_atoms(m)[h] for m, h in zip(own, heads, strict=True)])
    mean = alone.mean(axis=0)
    modules = [
        _module(model, index, energies - mean, library)
        for model, index, energies in zip(own, heads, alone, strict=True)
    ]
    return ModulePotential(modules, elements, cutoff, reference_energies=mean, dtype=dtype)


class Library(NamedTuple):
    """What is used of mace-torch and e3nn."""

    kinds: tuple[type, ...]
    compile: Any
    irreps: Any


def import_mace() -> Library:
    """Import mace-torch, which takes seconds, without what its import does beside.

    It prints, and sets an environment variable that makes ``torch.load`` run pickles by default;
    that is put back.

    Raises
    ------
    DependencyError
        If it is not installed.
    """
    name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            modules = import_module("mace.modules")
            jit = import_module("e3nn.util.jit")
            o3 = import_module("e3nn.o3")
    except ImportError as error:
        raise DependencyError(
            f"MACE models need mace-torch, which does not load ({error}); run: "
            "pip install uncv[mace]"
        ) from error
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
    return Library((modules.MACE, modules.ScaleShiftMACE), jit.compile, o3.Irreps)


def _own(source: Model, library: Library) -> nn.Module:
    """Return a model that may be changed: from a file, or a copy on the CPU.

    The copy goes through a pickle, since e3nn's empty weights cannot be copied otherwise.
    """
    if isinstance(source, nn.Module):
        _check(source, library)
        pickled = BytesIO()
        torch.save(source, pickled)
        pickled.seek(0)
        return _unpickled(pickled)
    if not Path(source).is_file():
        raise FileNotFoundError(f"{source} does not exist; expected a .model file of MACE")
    try:
        model = _unpickled(source)
    except Exception as error:  # unpickling raises whatever the file's author likes
        raise FileFormatError(f"{source} is not a .model file of MACE: {error}") from error
    _check(model, library)
    return model


def _unpickled(source: str | Path | BytesIO) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TorchScript archives, refused later
        return torch.load(source, map_location="cpu", weights_only=False)


def _check(model: nn.Module, library: Library) -> None:
    if is_compiled(model):
        raise TypeError(
            "the model is compiled already; expected the .model file that mace_run_train wrote "
            "beside the compiled one"
        )
    if type(model) not in library.kinds:
        raise TypeError(
            f"the model is a {type(model).__name__}; expected MACE or ScaleShiftMACE of mace-torch"
        )
    if hasattr(model, "joint_embedding"):
        raise ValueError(
            "the model takes properties of a frame (charge, spin) as input; expected one that "
            "takes elements and positions alone"
        )


def _common_shape(models: Sequence[Any]) -> tuple[tuple[int, ...], float]:
    """Return elements and cutoff (Å) that all models have."""
    shapes = [(tuple(int(z) for z in m.atomic_numbers), float(m.r_max)) for m in models]
    for shape in shapes[1:]:
        if shape != shapes[0]:
            raise ValueError(
                f"the models differ in elements or cutoff: {shape} and {shapes[0]}; expected "
                "members of one shape"
            )
    return shapes[0]


def _head(model: Any, head: str | None) -> int:
    heads = list(getattr(model, "heads", None) or ["Default"])
    if head is None and len(heads) == 1:
        return 0
    if head not in heads:
        raise ValueError(f"head is {head!r}; expected one of {', '.join(heads)}")
    return heads.index(head)


def _lone_atoms(model: Any) -> np.ndarray:
    """Return the energies of lone atoms (heads, elements), eV."""
    return np.atleast_2d(model.atomic_energies_fn.atomic_energies.detach().cpu().double().numpy())


def _module(model: Any, head: int, alone: np.ndarray, library: Library) -> nn.Module:
    """Return the module of one model, which is changed, with these energies of lone atoms (eV)."""
    energies = model.atomic_energies_fn.atomic_energies
    own = torch.as_tensor(alone).to(energies).expand_as(energies)
    model.atomic_energies_fn.atomic_energies = own.clone()
    model.requires_grad_(True)
    irreps = [library.irreps(str(product.linear.irreps_out)) for product in model.products]
    starts = np.cumsum([0, *(part.dim for part in irreps)])[:-1].tolist()
    scalars = [
        start + k for start, part in zip(starts, irreps, strict=True) for k in _scalars(part)
    ]
    maps = [_final_map(model, readout, head) for readout in model.readouts]
    model.requires_grad_(False)
    with warnings.catch_warnings():  # of annotations inside e3nn's constructors
        warnings.filterwarnings("ignore", "The TorchScript type system", UserWarning)
        compiled = library.compile(model)
    shape = (compiled, torch.tensor(scalars), len(alone), head)
    known = [found for found in maps if found is not None]
    if len(known) < len(maps):
        return MaceEnergies(*shape)
    widths = [part.dim for part in irreps]
    places = [len(irreps) - 1] if len(maps) == 1 else range(len(maps))
    outputs = [
        _output(readout, found, starts[place], widths[place])
        for readout, found, place in zip(compiled.readouts.children(), known, places, strict=True)
    ]
    return MaceReadouts(*shape, outputs)


def _output(readout: Any, found: FinalMap, start: int, width: int) -> OutputWeights:
    layers = [getattr(readout, name) for name in found.before]
    before = HiddenInput(layers) if layers else LinearInput()
    return OutputWeights(before, start, width, found.rows, found.factors)


def _scalars(irreps: Any) -> list[int]:
    """Return which components of features are even scalars."""
    return [
        k
        for part, where in zip(irreps, irreps.slices(), strict=True)
        if part.ir.l == 0 and part.ir.p == 1
        for k in range(where.start, where.stop)
    ]


class FinalMap(NamedTuple):
    """The linear map at the end of a readout, for one head.

    Attributes
    ----------
    before : tuple of str
        Layers of the readout before it.
    rows, factors : torch.Tensor
        Which input each weight multiplies (H,), and the constant by which, eV.
    """

    before: tuple[str, ...]
    rows: Tensor
    factors: Tensor


@torch.enable_grad()
def _final_map(model: Any, readout: Any, head: int) -> FinalMap | None:
    """Take a readout apart; None for one of a kind that is not known."""
    name, heads = type(readout).__name__, int(getattr(readout, "num_heads", 1))
    before: tuple[str, ...] = ()
    if name == "LinearReadoutBlock":
        last = readout.linear
    elif name == "NonLinearReadoutBlock":
        before, last = ("linear_1", "non_linearity"), readout.linear_2
    elif name == "NonLinearBiasReadoutBlock" and heads == 1:
        before = ("linear_1", "non_linearity", "linear_mid", "non_linearity")
        last = readout.linear_2
    else:
        return None
    weight = last.weight
    ones = torch.eye(last.irreps_in.dim, dtype=weight.dtype)
    out = last(ones)[:, head]
    slopes = torch.stack([torch.autograd.grad(v, weight, retain_graph=True)[0] for v in out])
    if before and heads > 1:  # the hidden layer is cut into equal parts, one for each head
        part = torch.arange(len(ones)) // (len(ones) // heads)
        slopes = slopes * (part == head).to(slopes.dtype).unsqueeze(1)
    rows, weights = slopes.nonzero().unbind(dim=1)
    scale = 1.0
    if hasattr(model, "scale_shift"):
        scale = torch.atleast_1d(model.scale_shift.scale.detach())[head]
    return FinalMap(before, rows, slopes[rows, weights] * scale)
