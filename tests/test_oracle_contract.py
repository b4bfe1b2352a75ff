"""What holds for every oracle: batches, repeats, copies in a fresh process, columns."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import pytest
import tiny

from uncv.data import Dataset, concatenate
from uncv.oracles import (
    AseOracle,
    BKSSilica,
    CachedOracle,
    CommandOracle,
    OpenMMForceField,
    PotentialOracle,
    PySCFOracle,
    XTBOracle,
    ase_calculator,
)
from uncv.structures import alanine_dipeptide
from uncv.structures.quartz import alpha_quartz

# E = Σ|x|²/2, with no library to load.
SPRINGS = """
import sys
lines, out = open(sys.argv[1]).read().splitlines(), []
while lines:
    count = int(lines[0])
    rows = [line.split() for line in lines[2 : 2 + count]]
    energy = sum(0.5 * float(x) ** 2 for row in rows for x in row[1:])
    out += [lines[0], f"{lines[1]}:forces:R:3 energy={energy!r}"]
    out += [" ".join([*row, *(repr(-float(x)) for x in row[1:])]) for row in rows]
    lines = lines[2 + count :]
open(sys.argv[2], "w").write("\\n".join(out))
"""


def _shaken(frame: Dataset, count: int = 2) -> Dataset:
    noise = np.random.default_rng(7).normal(scale=0.03, size=(count, *frame.positions.shape[1:]))
    return Dataset(frame.numbers[0], frame.positions + noise, cell=frame.cell[0])


def _every_oracle(folder) -> dict:
    """Each oracle with two frames that it can label."""
    from ase.calculators.lj import LennardJones

    (folder / "label.py").write_text(SPRINGS)
    command = [sys.executable, str(folder / "label.py"), "{input}", "{output}"]
    topology, start = alanine_dipeptide()
    molecules = concatenate([tiny.frames("H2O"), tiny.frames("NH3")])
    peptide = OpenMMForceField(topology, "amber14/protein.ff14SB.xml")
    sites = "ase.calculators.lj.LennardJones"
    return {
        "openmm": (peptide, _shaken(start)),
        "bks": (BKSSilica(), _shaken(alpha_quartz())),
        "xtb": (XTBOracle(), molecules),
        "pyscf": (PySCFOracle("hf", "sto-3g"), molecules),
        "ase": (AseOracle(LennardJones()), molecules),
        "ase by name": (ase_calculator(sites, {"sigma": 1.2}), molecules),
        "potential": (PotentialOracle(tiny.potential()), molecules),
        "command": (CommandOracle(command, "toy", frames_at_once=2), molecules),
        "cached": (CachedOracle(XTBOracle("GFN1-xTB"), folder / "labels.jsonl"), molecules),
    }


@pytest.fixture(scope="module")
def oracles(tmp_path_factory):
    return _every_oracle(tmp_path_factory.mktemp("oracles"))


KINDS = ("openmm", "bks", "xtb", "pyscf", "ase", "ase by name", "potential", "command", "cached")


@pytest.mark.parametrize("kind", KINDS)
def test_batches_repeats_and_columns(oracles, kind):
    oracle, frames = oracles[kind]
    before = frames.positions.copy()
    given = frames.with_info(walker=[3, 5])
    found, again = oracle.label(given), oracle.label(given)
    alone = concatenate([oracle.label(frames[i]) for i in range(2)])
    for name in ("energy", "forces"):
        np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
    np.testing.assert_array_equal(frames.positions, before)
    assert found.has("energy")
    assert found.has("forces")
    assert not found.forces[~frames.mask].any()
    assert found.info["walker"].tolist() == [3, 5]
    assert found.info["label_error"].tolist() == ["", ""]
    assert found.info["level_of_theory"].tolist() == [oracle.level_of_theory] * 2
    assert all(found.info["software"])


@pytest.mark.parametrize("kind", ["openmm", "bks", "xtb", "pyscf", "potential", "cached"])
def test_what_it_cannot_label_costs_no_other(oracles, kind):
    oracle, frames = oracles[kind]
    numbers = frames.numbers[:1].copy()
    numbers[0, 0] = 118  # oganesson
    unknown = Dataset(numbers, frames.positions[:1], cell=frames.cell[0])
    found = oracle.label(concatenate([frames, unknown]))
    assert np.isfinite(found.energy).tolist() == [True, True, False]
    assert found.info["label_error"][2]
    assert np.isnan(found.forces[2]).all()


def _forces(oracle, frames):
    return oracle.label(frames).forces


def test_copies_in_a_fresh_process_say_the_same(oracles):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for kind in KINDS:
            oracle, frames = oracles[kind]
            found = pool.apply(_forces, (oracle, frames))
            np.testing.assert_array_equal(found, oracle.label(frames).forces, err_msg=kind)
