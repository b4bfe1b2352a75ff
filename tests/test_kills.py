"""A campaign killed at random moments comes to the same end: the benchmark, shortened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "kills.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks and waits by Linux's own calls")
def test_ten_kills_change_nothing():
    command = [sys.executable, str(SCRIPT), "--kills", "10", "--seed", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["kills"] == sum(found["stages"].values()) == 10
    assert found["lives"] >= 1
    assert len(found["stages"]) >= 2
    assert found["threads_of_the_parent"] == 1
