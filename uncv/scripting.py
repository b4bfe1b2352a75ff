"""TorchScript: the one file that compiles, writes and reads it.

A TorchScript archive is a program. Reading one runs no pickle of Python objects, but calling it
runs what its author wrote: load those of people you trust.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor, nn

from uncv.errors import FileFormatError

ScriptModule = torch.jit.ScriptModule
exported = torch.jit.export
"""Marks a method that a compiled module keeps beside ``forward``."""
is_scripting = torch.jit.is_scripting
"""True in a compiled module; what it guards is not compiled."""


def is_compiled(module: nn.Module) -> bool:
    """Return whether a module is TorchScript already."""
    return isinstance(module, torch.jit.ScriptModule)


def compile_module(module: nn.Module) -> ScriptModule:
    """Compile a module; one that is compiled comes back as it is."""
    return module if isinstance(module, torch.jit.ScriptModule) else torch.jit.script(module)


def plain_execution() -> AbstractContextManager[None]:
    """Run compiled modules operation by operation, as written, within this context.

    Otherwise TorchScript profiles the first calls and compiles derivatives of its own, which takes
    seconds and rounds differently before and after.
    """
    return torch.jit.optimized_execution(False)


def save_module(module: ScriptModule, path: str | Path, extra: Mapping[str, str]) -> None:
    """Write a compiled module and texts that go with it; the file appears whole or not at all."""
    path = Path(path)
    scratch = path.with_name(path.name + ".part")
    module.save(str(scratch), _extra_files=dict(extra))
    scratch.replace(path)


def load_module(path: str | Path, names: tuple[str, ...] = ()) -> tuple[ScriptModule, list[str]]:
    """Read a compiled module and the texts of these names, '' for one that is not there.

    Raises
    ------
    FileNotFoundError
    FileFormatError
        If it is not a TorchScript file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a TorchScript file")
    extra = dict.fromkeys(names, "")
    try:
        module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    except (RuntimeError, ValueError) as error:
        raise FileFormatError(f"{path} is not a TorchScript file: {error}") from error
    texts = [v if isinstance(v, str) else v.decode() for v in extra.values()]
    return module, texts


def to_bytes(module: ScriptModule) -> Tensor:
    """Return the archive of a compiled module as a tensor of uint8, for a file of ours."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def from_bytes(archive: Tensor) -> ScriptModule:
    """Read a compiled module from what `to_bytes` gave.

    Raises
    ------
    FileFormatError
        If it is not a TorchScript archive.
    """
    try:
        return torch.jit.load(io.BytesIO(archive.numpy().tobytes()), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise FileFormatError(f"the archive of a TorchScript module is damaged: {error}") from error
