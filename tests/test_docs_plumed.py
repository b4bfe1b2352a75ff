"""The pages on PLUMED and on biasing are true: inputs run, scripts run, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("plumed")

from uncv.plumed import PlumedSettings, PlumedWalkers
from uncv.plumed.script import read_script
from uncv.structures import alanine_dipeptide

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = ("plumed.md", "biasing.md")
STEPS = 4


class Block(NamedTuple):
    page: str
    line: int
    walkers: int
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        for match in re.finditer(rf"```{language}(.*)\n((?:.*\n)*?)```", text):
            line = text.count("\n", 0, match.start()) + 1
            walkers = re.search(r"walkers=(\d+)", match[1])
            found.append(Block(page, line, int(walkers[1]) if walkers else 1, match[2]))
    return found


INPUTS = blocks("plumed")
SCRIPTS = [block for block in blocks("python") if block.text.startswith("import")]


def printed(text: str) -> list[str]:
    """Columns that the PRINT line of an input asks for."""
    (line,) = [line for line in read_script(text) if line.action == "PRINT"]
    return line.value("ARG").split(",")


@pytest.mark.parametrize("block", INPUTS, ids=lambda block: block.place)
def test_inputs_run_and_print_what_they_name(tmp_path, block):
    topology, start = alanine_dipeptide()
    masses = [atom.element.mass._value for atom in topology.atoms()]
    text = re.sub(r"(STRIDE|PACE)=\d+", r"\1=1", block.text)
    settings = PlumedSettings(
        text, masses, vectors={"atomic_uncertainty": len(masses)}, directory=tmp_path
    )
    walkers = range(block.walkers)
    plumed = PlumedWalkers(settings, block.walkers)
    x = np.tile(start.positions[0] * 0.1, (block.walkers, 1))
    for step in range(STEPS):
        plumed.begin(step, x * (1 + 1e-3 * step), None, walkers)
        told = {"uncertainty": 9.5 + step, "energy": -1.0, "atomic_uncertainty": np.full(22, 310.0)}
        answers = plumed.finish(dict.fromkeys(walkers, told))
    plumed.flush(STEPS)
    plumed.close()
    assert all(answers[walker].bias != 0.0 for walker in walkers)
    for walker in walkers:
        lines = (tmp_path / (f"COLVAR.{walker}" if block.walkers > 1 else "COLVAR")).read_text()
        assert lines.splitlines()[0].split()[3:] == printed(text)
        assert len([line for line in lines.splitlines() if line[:2] != "#!"]) == STEPS


def test_there_are_inputs_and_scripts():
    assert {block.page for block in INPUTS} == set(PAGES)
    assert len(INPUTS) >= 8
    assert len(SCRIPTS) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the activation of this potential has a jump")
@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: block.place)
def test_scripts_run_shortened(tmp_path, monkeypatch, capsys, block):
    monkeypatch.chdir(tmp_path)
    steps = 100 if "lag" in block.text else 20  # some for its correlations
    text, count = re.subn(r"^STEPS = \d+", f"STEPS = {steps}", block.text, flags=re.MULTILINE)
    assert count == 1
    names: dict = {}
    exec(compile(text, block.place, "exec"), names)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(rows) == names["ROWS"]
    for row in rows:
        numbers = [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", row)]
        assert len(numbers) >= 3
        assert np.isfinite(numbers).all()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert (DOCS / target).exists(), f"{page} links to {target}"
