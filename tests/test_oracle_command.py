"""A program that labels: what it gets and gives, and how it can fail."""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from ase.calculators.lj import LennardJones

from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError
from uncv.oracles import AseOracle, CommandOracle

# E = Σ|x|²/2 without any library, so that it starts quickly; HOW says how it trips over xenon.
PROGRAM = """
import os, subprocess, sys, time

how, log = os.environ["HOW"], open(os.environ["LOG"], "a")
lines, frames = open(sys.argv[1]).read().splitlines(), []
while lines:
    count = int(lines[0])
    rows = [line.split() for line in lines[2 : 2 + count]]
    frames.append((lines[1], [[r[0], *map(float, r[1:])] for r in rows]))
    lines = lines[2 + count :]
log.write(f"{len(frames)}\\n")
bad = [any(row[0] == "Xe" for row in rows) for _, rows in frames]
if any(bad):
    if how == "exit":
        print("this goes to the output")
        sys.exit("xenon does not converge")
    if how == "silent":
        sys.exit(3)
    if how == "nothing":
        sys.exit(0)
    if how == "sleep":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        log.write(f"child {child.pid}\\n")
        log.close()
        time.sleep(60)
    if how == "short":
        frames, bad = frames[1:], bad[1:]
out = []
for (comment, rows), trip in zip(frames, bad):
    energy = sum(0.5 * x * x for row in rows for x in row[1:])
    keys = f'{comment}:forces:R:3 energy={energy!r} stress="1 2 3 2 5 6 3 6 9"'
    rows = [[*row, *(-x for x in row[1:])] for row in rows]
    if trip and how == "nan":
        rows[0][4] = float("nan")
    if trip and how == "bare":
        keys, rows = comment, [row[:4] for row in rows]
    if trip and how == "turn":
        rows = [[r[0], -r[2], r[1], r[3], -r[5], r[4], r[6]] for r in rows]
    if trip and how == "swap":
        rows[1], rows[2] = rows[2], rows[1]
    if trip and how == "sort":
        rows[0], rows[1] = rows[1], rows[0]
    if how == "image":
        rows[0][1] += 3.1
    out += [str(len(rows)), keys, *(" ".join(map(str, row)) for row in rows)]
open(sys.argv[2], "w").write("done!" if how == "text" and any(bad) else "\\n".join(out))
"""

WITH_ASE = """
import sys
from ase.calculators.lj import LennardJones
from ase.io import read, write

frames = read(sys.argv[1], ":")
for atoms in frames:
    atoms.calc = LennardJones(sigma=1.0)
    atoms.get_potential_energy()
write(sys.argv[2], frames, format="extxyz")
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return an oracle that runs the program, and the frames of each of its runs so far."""
    path, log = tmp_path / "label.py", tmp_path / "log"
    path.write_text(PROGRAM)
    monkeypatch.setenv("LOG", str(log))

    def make(how="", **options):
        monkeypatch.setenv("HOW", how)
        command = [sys.executable, str(path), "{input}", "{output}"]
        return CommandOracle(command, "toy", **options)

    def runs():
        return [int(line) for line in log.read_text().split("\n") if line.isdigit()]

    return make, runs


def xenon(frames: Dataset) -> Dataset:
    """The same frames with an atom that the program may trip over."""
    numbers = frames.numbers.copy()
    numbers[:, 0] = 54
    return Dataset(numbers, frames.positions)


def test_the_program_gets_the_frames_and_its_labels_come_back(program):
    make, runs = program
    oracle, frames = make(frames_at_once=8, software="springs 1.2"), tiny.mixed()
    found = oracle.label(frames.with_info(walker=np.arange(4)))
    squares = (np.where(frames.mask[:, :, None], frames.positions, 0.0) ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose(found.energy, 0.5 * squares, rtol=1e-14)
    np.testing.assert_array_equal(found.forces[frames.mask], -frames.positions[frames.mask])
    assert not found.forces[~frames.mask].any()
    assert runs() == [4]
    assert found.info["walker"].tolist() == [0, 1, 2, 3]
    assert found.info["level_of_theory"].tolist() == ["toy"] * 4
    assert found.info["software"].tolist() == ["springs 1.2"] * 4


def test_an_atom_may_come_back_as_its_image(program):
    make, _ = program
    found = make("image").label(tiny.crystal())  # whose first cell vector is 3.1 Å long
    assert found.info["label_error"][0] == ""
    np.testing.assert_array_equal(found.stress[0], [[1, 2, 3], [2, 5, 6], [3, 6, 9]])
    molecule = make("image").label(tiny.frames("H2O"))
    assert "wrote an atom 3.1 Å from where it was" in molecule.info["label_error"][0]


def test_a_program_written_with_ase(tmp_path):
    path, crystal = tmp_path / "label.py", tiny.crystal()
    path.write_text(WITH_ASE)
    oracle = CommandOracle([sys.executable, str(path), "{input}", "{output}"], "Lennard-Jones")
    found = oracle.label(crystal)
    expected = AseOracle(LennardJones(sigma=1.0)).label(crystal)
    assert found.info["label_error"][0] == ""
    assert found.energy[0] == pytest.approx(expected.energy[0], rel=1e-7)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.stress, expected.stress, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("exit", "the program ended with exit code 1; its stderr ends with: xenon does not conv"),
        ("silent", "the program ended with exit code 3 and said nothing"),
        ("nothing", "the program wrote no labelled.extxyz"),
        ("nan", "a force is NaN or infinite"),
        ("bare", "a force is NaN or infinite"),
        ("turn", "Å from where it was; it must keep order and orientation"),
        ("swap", "Å from where it was; it must keep order"),
        ("sort", "3 atoms that are not, or not in the order of, the 3 atoms of the frame"),
        ("text", "expected the number of atoms of frame 0, found 'done!'"),
    ],
)
def test_a_bad_frame_costs_one_label(program, how, message):
    make, runs = program
    good = tiny.frames("H2O", 2)
    frames = concatenate([good[0], xenon(good[0]), good[1]])
    found = make(how, frames_at_once=3).label(frames)
    assert np.isfinite(found.energy).tolist() == [True, False, True]
    assert message in found.info["label_error"][1]
    assert "\n" not in found.info["label_error"][1]
    assert runs() == ([3] if how in ("nan", "bare") else [3, 1, 1, 1])


def test_too_few_frames_are_not_given_to_the_wrong_ones(program):
    make, runs = program
    frames = concatenate([xenon(tiny.frames("H2O")), tiny.frames("H2O", 2)])
    found = make("short", frames_at_once=2).label(frames)
    assert np.isfinite(found.energy).tolist() == [False, True, True]
    assert runs() == [2, 1, 1, 1]
    assert found.info["label_error"][0] == (  # the same in each run
        "OracleError: labelled.extxyz is empty; expected at least one frame"
    )


def test_a_frame_without_labels_says_so(program):
    make, _ = program
    found = make("bare").label(xenon(tiny.frames("H2O")))
    assert "the program wrote no energy, or no forces" in found.info["label_error"][0]


def test_a_program_that_takes_too_long_is_ended_with_its_children(program, tmp_path):
    make, _ = program
    start = time.monotonic()
    found = make("sleep", timeout=1.5).label(xenon(tiny.frames("H2O")))
    assert time.monotonic() - start < 10
    assert "the program had not finished after 1.5 s" in found.info["label_error"][0]
    child = next(w for w in (tmp_path / "log").read_text().split("\n") if "child" in w).split()[1]
    for _ in range(50):
        if not alive(int(child)):
            break
        time.sleep(0.1)
    assert not alive(int(child))


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended but that nobody has asked for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_relative_paths_hold_where_the_program_runs(program, tmp_path, monkeypatch):
    make, _ = program
    make()
    monkeypatch.chdir(tmp_path)
    oracle = CommandOracle([sys.executable, "label.py", "{input}", "{output}"], "toy")
    assert oracle.command[1] == str(tmp_path / "label.py")
    monkeypatch.chdir(os.sep)
    assert np.isfinite(pickle.loads(pickle.dumps(oracle)).label(tiny.frames("H2O")).energy[0])


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (["no-such-program", "{input}", "{output}"], {}, "there is no program 'no-such-program'"),
        (["ls", "{input}"], {}, r"no argument of \['ls', '{input}'\] holds {output}; add it"),
        ("ls {input} {output}", {}, "give a list of program and arguments"),
        ([], {}, "command is .*give a list"),
        (["ls", "{input}", "{output}"], {"timeout": 0.0}, "timeout is 0.0; give a positive"),
        (["ls", "{input}", "{output}"], {"frames_at_once": 0}, "frames_at_once is 0; give a pos"),
    ],
)
def test_commands_are_checked(command, options, message):
    with pytest.raises(ConfigError, match=message):
        CommandOracle(command, "toy", **options)
