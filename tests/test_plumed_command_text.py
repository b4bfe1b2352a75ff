"""Commands with a text arrive at PLUMED whole, although its Python module frees their names."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("plumed")

# The debug allocator overwrites what is freed, so that chance cannot help.
READS = """
import numpy as np
from uncv.plumed.kernel import new_instance
from uncv.plumed.command_text import CommandText
name = {name}
plumed = new_instance()
plumed.cmd("setNatoms", 2)
try:
    plumed.cmd(name("setLogFile"), "/dev/null")
    plumed.cmd("init")
    plumed.cmd(name("readInputLine"), "d: DISTANCE ATOMS=1,2")
    print("read")
except ValueError as error:
    print(repr(error.object if isinstance(error, UnicodeDecodeError) else error))
"""


def said(name: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READS.format(name=name)],
        env={**os.environ, "PYTHONMALLOC": "debug", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_kept_name_arrives():
    assert said("CommandText") == "read\n"


def test_a_whole_input_is_read_with_the_debug_allocator():
    script = (
        "from uncv.plumed import PlumedDriver, PlumedSettings\n"
        "script = 'd: DISTANCE ATOMS=1,2\\nPRINT ARG=d\\n'\n"
        "driver = PlumedDriver(PlumedSettings(script, [1.0, 1.0]))\n"
        "driver.close()\n"
        "print('read')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, "PYTHONMALLOC": "debug", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "read\n", done.stderr[-2000:]
