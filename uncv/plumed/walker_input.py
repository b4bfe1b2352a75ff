"""What one walker's PLUMED is told: the input adapted to the walker, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from uncv.errors import PlumedError
from uncv.plumed.script import ScriptLine

SHARING = {"METAD", "PBMETAD"}
"""Actions whose walkers can share through files."""


class Asked(NamedTuple):
    """What an input asks the engine for.

    Attributes
    ----------
    scalars : frozenset of str
        By EXTRACV.
    vectors : frozenset of str
        By PUT.
    """

    scalars: frozenset[str]
    vectors: frozenset[str]


def for_walker(lines: Iterable[ScriptLine], walker: int, walkers: int) -> tuple[ScriptLine, ...]:
    """Return the input of one walker among several.

    ``KEYWORD=@replicas:a,b,...`` becomes the value of this walker, as PLUMED does it for replicas
    under MPI, and METAD with WALKERS_N gets its WALKERS_ID.

    Parameters
    ----------
    lines : iterable of ScriptLine
        The input for all.
    walker, walkers : int
        Number of this walker, from 0, and how many there are.

    Raises
    ------
    PlumedError
        On too few values after @replicas, on WALKERS_MPI, and on one WALKERS_ID for several
        walkers, with the line.
    """
    return tuple(_shared(_own_values(line, walker), walker, walkers) for line in lines)


def with_energy(lines: Iterable[ScriptLine], unit: Callable[[], float]) -> tuple[ScriptLine, ...]:
    """Return the input with each ENERGY read from the engine as a value with a force of its own.

    PLUMED biases its own ENERGY by rescaling the forces it is handed, which an engine that hands it
    none cannot use.

    Parameters
    ----------
    lines : iterable of ScriptLine
        The input.
    unit : callable
        Gives PLUMED's internal unit of energy in kJ/mol; called if ENERGY stands in the input.

    Raises
    ------
    PlumedError
        If ENERGY has no label.
    """
    return tuple(made for line in lines for made in _energy(line, unit))


def check_input(
    lines: Iterable[ScriptLine],
    provides: Sequence[str],
    vectors: Mapping[str, int],
    folder: Path | None = None,
) -> Asked:
    """Refuse actions that would be silently wrong, and return what the rest asks for.

    Parameters
    ----------
    lines : iterable of ScriptLine
        The input, as PLUMED is to get it.
    provides : sequence of str
        Names that EXTRACV may ask for.
    vectors : mapping of str to int
        Labels that PUT may have, with the number of elements.
    folder : Path, optional
        Where PLUMED's relative paths begin; the current directory by default.

    Raises
    ------
    PlumedError
        On an EXTRACV or a PUT with another name, a PUT of another shape, and on a file in a folder
        that does not exist (PLUMED would end the process), with the line.
    """
    scalars: set[str] = set()
    put: set[str] = set()
    for line in lines:
        _check_files(line, folder or Path())
        if line.action == "EXTRACV":
            scalars.add(_extra_variable(line, provides))
        if line.action == "PUT":
            put.add(_vector(line, provides, vectors))
    return Asked(frozenset(scalars), frozenset(put))


def _extra_variable(line: ScriptLine, provides: Sequence[str]) -> str:
    name = line.value("NAME")
    if name not in provides:
        raise PlumedError(
            f"{line.place}: EXTRACV asks for '{name}', which is not provided; "
            f"{_offered(provides, {})}"
        )
    return name


def _vector(line: ScriptLine, provides: Sequence[str], vectors: Mapping[str, int]) -> str:
    if line.label not in vectors:
        raise PlumedError(
            f"{line.place}: PUT has the label '{line.label}', and nothing of this name is "
            f"provided; {_offered(provides, vectors)}"
        )
    if line.value("SHAPE") != str(vectors[line.label]):
        raise PlumedError(
            f"{line.place}: {line.label} has {vectors[line.label]} elements, one for each atom "
            f"of the model, and SHAPE={line.value('SHAPE')}; write SHAPE={vectors[line.label]}"
        )
    if line.value("UNIT") != "number":
        raise PlumedError(
            f"{line.place}: {line.label} is given as it is, whatever UNITS says; write UNIT=number"
        )
    return line.label


def _offered(provides: Sequence[str], vectors: Mapping[str, int]) -> str:
    ways = [f"EXTRACV NAME={name}" for name in provides]
    ways += [f"{name}: PUT SHAPE={n} UNIT=number PERIODIC=NO" for name, n in vectors.items()]
    if ways:
        return f"use {' or '.join(ways)}"
    return (
        "this engine gives PLUMED no value of a model; use the action UNCERTAINTY of uncv plugin, "
        "or plumed= of create_system with backend='python'"
    )


def _check_files(line: ScriptLine, folder: Path) -> None:
    for word in line.words:
        keyword, _, names = word.partition("=")
        if keyword == "WALKERS_DIR":
            names = f"{names}/HILLS"
        elif not keyword.endswith("FILE"):
            continue
        for name in names.strip("{}").split(","):
            if not (folder / name).parent.is_dir():
                raise PlumedError(
                    f"{line.place}: {word} lies in a folder that does not exist; "
                    f"make {(folder / name).parent} first"
                )


def _own_values(line: ScriptLine, walker: int) -> ScriptLine:
    for word in line.words:
        keyword, _, value = word.partition("=")
        bare = value[1:-1] if value.startswith("{@replicas:") else value
        if not bare.startswith("@replicas:"):
            continue
        each = _each_value(bare.removeprefix("@replicas:"))
        if walker >= len(each):
            raise PlumedError(
                f"{line.place}: {keyword} names {len(each)} values after @replicas: and there is "
                f"a walker {walker}; give one value for each walker"
            )
        line = line.with_value(keyword, each[walker])
    return line


def _each_value(text: str) -> list[str]:
    """Split at commas and spaces outside braces; one pair of them may stand around all."""
    each, depth = [""], 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth == 0 and character in ", ":
            each.append("")
        else:
            each[-1] += character
    found = [value for value in each if value]
    if len(found) == 1 and found[0].startswith("{") and found[0].endswith("}"):
        return _each_value(found[0][1:-1])
    return found


def _shared(line: ScriptLine, walker: int, walkers: int) -> ScriptLine:
    if line.has("WALKERS_MPI"):
        instead = (
            f"share the hills through files by WALKERS_N={walkers}"
            if line.action in SHARING
            else "leave it out, and each walker has a bias of its own"
        )
        raise PlumedError(
            f"{line.place}: WALKERS_MPI needs MPI between the walkers, which are in one process "
            f"here; {instead}"
        )
    if walkers == 1 or line.action not in SHARING or not line.has("WALKERS_N"):
        return line
    identity, shared = line.value("WALKERS_ID"), line.value("WALKERS_N")
    if identity == "" and shared == str(walkers):
        return line.with_value("WALKERS_ID", str(walker))
    if identity == "" or (identity == "0" and walker > 0):
        raise PlumedError(
            f"{line.place}: {walkers} walkers of this run take part among WALKERS_N={shared}; "
            "name them by WALKERS_ID=@replicas:" + ",".join(map(str, range(walkers)))
        )
    return line


def _energy(line: ScriptLine, unit: Callable[[], float]) -> Iterator[ScriptLine]:
    if line.action != "ENERGY":
        yield line
        return
    if not line.label:
        raise PlumedError(f"{line.place}: ENERGY has no label; write e: ENERGY")
    factor = unit()
    if factor == 1.0:
        yield line.replaced(f"{line.label}: EXTRACV NAME=energy")
        return
    inner = f"{line.label}_in_kj_mol"
    yield line.replaced(f"{inner}: EXTRACV NAME=energy")
    scaled = f"{line.label}: CUSTOM ARG={inner} FUNC=x/{factor!r} PERIODIC=NO"
    yield line.replaced(scaled)
