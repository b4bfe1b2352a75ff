"""Every notebook runs, shortened, in a kernel of its own, and draws and prints what it promises."""

from __future__ import annotations

import ast
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ipykernel")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PICTURES = {
    "choosing_an_uncertainty": 3,
    "coverage_of_a_campaign": 2,
    "metadynamics_and_reweighting": 3,
}
SAID = {
    "choosing_an_uncertainty": [
        r"ensemble +600 K: force RMSE \d\.\d{3} eV/Å",
        r"posterior, last layer( +-?\d\.\d\d){6}",
        r"\d+\.\d ms  without bias",
    ],
    "coverage_of_a_campaign": [
        r"round 1: 12 labels, \d+ stops, coverage so far 0\.\d{3}",
        r"biased +\d+ frames: coverage 0\.\d{3}, 95 % interval 0\.\d{3} to 0\.\d{3}",
        r"cos φ +τ = ",
        r"unbiased +\d+ transitions",
    ],
    "metadynamics_and_reweighting": [
        r"free: u = \d\.\d\d ± \d\.\d\d kJ/mol",
        r"96 frames are worth \d+ of equal weight",
        r"mean u reweighted \d+\.\d\d kJ/mol",
        r"F\(low ψ\) − F\(high ψ\) =",
    ],
}


def code(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


@pytest.fixture
def kernel(monkeypatch) -> Iterator:
    """A kernel that needs no network: it listens on sockets of a folder."""
    from jupyter_client.manager import AsyncKernelManager

    monkeypatch.setenv("UNCV_QUICK", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's name has 107 characters
        monkeypatch.setenv("IPYTHONDIR", folder)
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield AsyncKernelManager(transport="ipc", ip=f"{folder}/kernel")


def test_all_notebooks_are_tested():
    assert [path.stem for path in NOTEBOOKS] == sorted(PICTURES) == sorted(SAID)
    index = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in index


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_plain_and_public(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert max(map(len, cell.source.splitlines())) <= 100
    for node in ast.walk(ast.parse(code(notebook))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("uncv"):
            assert node.module in ("uncv.analysis", "uncv.units")
        elif isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, kernel, tmp_path):
    if "plumed" in code(nbformat.read(path, as_version=4)).lower():
        pytest.importorskip("plumed")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        km=kernel,
        timeout=300,
        startup_timeout=120,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute(cleanup_kc=True)

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    errors = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stderr")
    assert errors == ""
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == PICTURES[path.stem]
    said = "".join(o.text for o in outputs if o.output_type == "stream")
    for pattern in SAID[path.stem]:
        assert re.search(pattern, said), f"{pattern!r} is not in:\n{said}"
    assert list(tmp_path.iterdir()) == []  # what is written goes to a folder that the text names
    assert not running(kernel)


def running(kernel) -> bool:
    """Whether the process of a kernel is still there."""
    process = getattr(kernel.provisioner, "process", None) if kernel.provisioner else None
    return process is not None and process.poll() is None


def test_the_kernel_is_this_python(kernel):
    """Notebooks name the kernel python3, which is the interpreter that runs the tests."""
    command = kernel.kernel_spec.argv[0]
    assert os.path.basename(command).startswith("python") or command == sys.executable
