"""The house stands: imports go down only, and each foreign library has its one door."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import uncv

ROOT = Path(uncv.__file__).parent

# From the roof to the cellar. A room is a file, a folder, or a file with its NAME_*.py.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("demo", "dry_run"),
    ("report",),
    ("learning", "doctor"),
    ("sampling", "adversarial"),
    ("openmm", "ase"),
    ("driver", "evaluation"),
    ("step", "export", "plugin"),
    ("cv", "plumed"),
    ("uncertainty",),
    ("training", "reference", "features", "labelling", "status", "exporting"),
    ("oracles", "acceptance"),
    (
        "models", "executors", "calibration", "bias", "stopping", "selection", "io",
        "validation", "analysis", "plots", "journal", "gradient", "mixture", "perturb",
        "anharmonicity", "convergence",
    ),
    ("structures",),
    ("data", "protocols", "config"),
    ("groups", "fitted", "heads", "scripting", "schedule", "importing", "thread_limit"),
    ("units", "errors", "metrics", "dependencies", "_version"),
)  # fmt: skip
# The two exceptions: protocols speak of Dataset, and dependencies raise an error of ours.
NEIGHBOURS = {("protocols", "data"), ("dependencies", "errors")}
# Folders of alternatives: each file knows base.py and the floors below, none knows a sibling; only
# choice.py, which turns a section of a configuration into one of them, knows all.
ALTERNATIVES = ("uncertainty", "oracles", "io")

FLOOR_OF = {room: -floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")
NAMES = [str(p.relative_to(ROOT)) for p in FILES]


def room_of(module: str) -> str:
    """The room of a module below uncv: its folder, its own name, or the name before ``_``."""
    top = module.split(".")[0]
    return top if top in FLOOR_OF else top.split("_")[0]


def imports(path: Path, *, at_load: bool = False) -> list[str]:
    """Every module that a file imports, at its top or, unless at_load, inside its functions."""
    tree = ast.parse(path.read_text())
    found = []
    for node in tree.body if at_load else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: write imports in full"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def names_used(path: Path) -> set[str]:
    """Dotted names that a file uses, as 'torch.jit.script', and what it imports."""
    dotted = {ast.unparse(n) for n in ast.walk(ast.parse(path.read_text())) if is_dotted(n)}
    return dotted | set(imports(path))


def is_dotted(node: ast.AST) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def own(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_go_down(path):
    room = room_of(own(path))
    assert room in FLOOR_OF, f"{path.name} has no floor yet: give it one in FLOORS"
    for module in imports(path):
        if not module.startswith("uncv."):
            continue
        target = room_of(module.removeprefix("uncv."))
        if target == room or (room, target) in NEIGHBOURS:
            continue
        assert target in FLOOR_OF, f"{path.name} imports {module}, which has no floor"
        assert FLOOR_OF[target] < FLOOR_OF[room], f"{path.name} may not import {module}"


@pytest.mark.parametrize("folder", ALTERNATIVES)
def test_siblings_know_only_their_base(folder):
    for path in (ROOT / folder).glob("*.py"):
        if path.name in ("__init__.py", "choice.py"):
            continue
        for module in imports(path):
            if module.startswith(f"uncv.{folder}."):
                sibling = module.split(".")[2]
                assert sibling == "base", f"{folder}/{path.name} imports its sibling {sibling}"


def test_files_do_not_import_in_circles():
    """Within one room too: follow what each file imports when loaded, and never come back."""
    modules = {f"uncv.{own(p)}".removesuffix(".__init__"): p for p in FILES}
    edges = {}
    for name, path in modules.items():
        wanted = imports(path, at_load=True)
        targets = {m for m in modules if any(i == m or i.startswith(m + ".") for i in wanted)}
        edges[name] = targets - {name, name.rpartition(".")[0]}
    for start in edges:
        seen: set[str] = set()
        todo = list(edges[start])
        while todo:
            module = todo.pop()
            assert module != start, f"{start} imports itself through others"
            if module not in seen:
                seen.add(module)
                todo += edges[module]


@pytest.mark.parametrize(
    ("prefix", "rooms"),
    [
        ("torch.jit", {"scripting"}),
        ("plumed", {"dependencies"}),
        ("openmmtorch", {"dependencies"}),
        ("tblite", {"oracles"}),
        ("pyscf", {"oracles"}),
        ("phonopy", {"anharmonicity"}),
        ("parsl", {"executors"}),
        ("sklearn", {"mixture", "selection", "calibration"}),
        ("matplotlib", {"plots"}),
        ("plotly", {"report"}),
        ("typer", {"cli"}),
        ("mace", {"models"}),
        ("e3nn", {"models"}),
    ],
)
def test_one_door_for_each_library(prefix, rooms):
    found = {
        room_of(own(path))
        for path in FILES
        for name in (names_used(path) if "." in prefix else imports(path))
        if name == prefix or name.startswith(prefix + ".")
    }
    assert found <= rooms, f"{prefix} is used in {sorted(found - rooms)}, expected in {rooms} only"


def test_openmm_forces_are_made_in_one_room():
    """Oracles build force fields; every other force is made in uncv.openmm."""
    for path in FILES:
        made = [n for n in names_used(path) if n.startswith("openmm.") and n.endswith("Force")]
        if made:
            assert room_of(own(path)) in ("openmm", "oracles"), f"{path.name} makes {made}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_library_neither_prints_nor_asserts(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), f"{path.name}:{node.lineno} asserts"
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        assert not (called and node.func.id == "print"), f"{path.name}:{node.lineno} prints"


def test_import_starts_no_engine():
    """Neither `import uncv` nor the names of the core load an engine."""
    code = (
        "import sys, uncv; uncv.Dataset; uncv.read; uncv.structures;"
        "print({'openmm', 'mdtraj', 'plumed', 'ase', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_public_names_are_declared_once():
    """The names for type checkers, the lazy table and __all__ agree."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    typed = {alias.name: node.module for node in block.body for alias in node.names}
    lazy = {**uncv._HOME, **dict.fromkeys(uncv._SUBMODULES, "uncv")}
    assert typed == lazy
    assert set(uncv.__all__) == {*lazy, "__version__"}


@pytest.mark.parametrize("name", uncv.__all__)
def test_every_public_name_is_there(name):
    assert getattr(uncv, name) is not None


def test_no_public_function_has_the_name_of_a_file():
    """Importing `uncv.NAME` would put the module in the place of the function."""
    files = {path.stem for path in ROOT.iterdir() if path.suffix in ("", ".py")}
    assert not files & (set(uncv.__all__) - set(uncv._SUBMODULES))


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'uncv' has no attribute 'reed'"):
        uncv.reed  # noqa: B018
