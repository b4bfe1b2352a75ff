"""The campaigns of MIL-53(Al), tiny: benchmarks/mil53al.py from first labels to its page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import uncv

ROOT = Path(uncv.__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.mark.slow
def test_campaigns_of_all_kinds_and_their_page(tmp_path, data_dir):
    environment = {**os.environ, "UNCV_QUICK": "1", "UNCV_DATA": str(data_dir)}
    command = [sys.executable, ROOT / "benchmarks" / "mil53al.py", "--out", tmp_path / "run"]
    command += ["--pressures", "-0.25", "--no-dft", "--report", tmp_path, "--json"]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found = json.loads(said.stdout)
    assert [run["method"] for run in found["runs"]] == ["unbiased", "metadynamics", "stress"]
    assert {run["labels"] for run in found["runs"]} == {7}
    assert len({run["walker_steps"] for run in found["runs"]}) == 1
    labelled = uncv.read(tmp_path / "run" / "stress_-250_MPa_seed_0" / "labelled.extxyz")
    labelled.require("energy", "forces", "stress")
    hills = list((tmp_path / "run" / "metadynamics_-250_MPa_seed_0").glob("plumed_round_01/*"))
    assert any(path.name.startswith("COLVAR") for path in hills)
    page = (tmp_path / "mil53al.md").read_text()
    assert page.count("| bias stress |") == 1
    assert (tmp_path / "mil53al.png").stat().st_size > 10_000


def test_the_share_of_the_way_between_the_phases():
    from mil53al_page import PHASES, lower_branch, share

    middle = sum(PHASES) / 2
    assert share({"volumes": [700.0, middle]}) == pytest.approx(0.5)
    assert share({"volumes": [600.0, 700.0]}) == 0.0
    assert share({"volumes": [600.0, 1700.0]}) == pytest.approx(1.0)
    rows = [{"volume": 800, "energy": -2.0}, {"volume": 900, "energy": -1.0}]
    rows += [{"volume": 900, "energy": -1.5}]
    volumes, energies = lower_branch(rows)
    np.testing.assert_allclose(volumes, [800, 900])
    np.testing.assert_allclose(energies, [0.0, 0.5])
