"""The sampling benchmark, tiny: benchmarks/alanine_dipeptide.py from first labels to its page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import uncv

ROOT = Path(uncv.__file__).parent.parent


@pytest.mark.slow
def test_campaigns_of_all_kinds_and_their_page(tmp_path):
    wanted = ["unbiased-1200", "udd", "metadynamics-gmm", "adaptive-posterior", "attack"]

    def run(*options: str) -> str:
        command = [sys.executable, ROOT / "benchmarks" / "alanine_dipeptide.py"]
        command += ["--out", tmp_path / "run", "--methods", *wanted, *options]
        environment = {**os.environ, "UNCV_QUICK": "1"}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    rows = json.loads(run("--json"))
    assert [(r["method"], r["labels"]) for r in rows] == [(m, n) for m in wanted for n in (10, 12)]
    folder = tmp_path / "run"
    for method in wanted:
        assert len(uncv.read(folder / f"{method}_seed_0" / "labelled.extxyz")) == 12
    dynamics = [r for r in rows if r["method"] != "attack"]
    assert {(r["labels"], r["walker_steps"]) for r in dynamics} == {(10, 40), (12, 80)}
    hills = folder / "metadynamics-gmm_seed_0" / "plumed_round_01"
    assert any(path.name.startswith("COLVAR") for path in hills.iterdir())
    attacked = uncv.read(folder / "attack_seed_0" / "frames_round_01.npz")
    assert (attacked.info["step"] >= 0).all()
    before = (folder / "udd_seed_0" / "journal.jsonl").read_bytes()
    trained = [json.loads(line) for line in before.splitlines()]
    assert [e["anew"] for e in trained if e["event"] == "trained"] == [False, True, True]
    assert "udd, seed 0, 12 labels: coverage" in run("--report", str(tmp_path))
    assert (folder / "udd_seed_0" / "journal.jsonl").read_bytes() == before  # not run again
    page = (tmp_path / "alanine_dipeptide.md").read_text()
    assert page.count("| metadynamics-gmm |") == 4
    assert (tmp_path / "alanine_dipeptide.png").stat().st_size > 10_000
    assert len(json.loads((tmp_path / "alanine_dipeptide.json").read_text())["rows"]) == 10
