"""docs/acquisition.md: its examples run, its numbers are right, its configuration is valid."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_morse
import yaml
from ase.build import bulk

import uncv
from uncv.config.selection import ConvergenceConfig, SelectionConfig

PAGE = (Path(__file__).parents[1] / "docs" / "acquisition.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def run(code: str, **names):
    exec(compile(code, "docs/acquisition.md", "exec"), names)
    return names


def test_selection_and_acceptance():
    selection, features, acceptance, committee, *_ = blocks("python")
    data = tiny.frames(count=60, spread=0.1)
    cv = tiny.cv()
    names = run(features, cv=cv, pool=data[:50], train=data[50:])
    u = np.linspace(0.0, 0.5, 50)
    names = run(selection, uncv=uncv, u=u, **{k: names[k] for k in names if "_features" in k})
    assert len(set(names["chosen"].tolist())) == 16
    assert ((u[names["chosen"]] >= 0.05) & (u[names["chosen"]] <= 0.4)).all()
    names = run(committee, cv=cv, frames=data)
    energy = cv.predict(data).energy
    names = run(
        acceptance, test_u=names["u"], test_energy=energy, u=names["u"], energy=energy,
        round_number=3,
    )  # fmt: skip
    assert names["worth"].shape == (60,)


def test_anharmonicity():
    pytest.importorskip("phonopy")
    code = blocks("python")[4]
    atoms = bulk("Cu", "fcc", a=3.75).repeat(2)
    crystal = uncv.Dataset(atoms.numbers, atoms.positions[None], cell=atoms.cell.array)
    moved = atoms.positions + 0.05 * np.random.default_rng(0).normal(size=(2, 8, 3))
    cv = tiny_morse.cv()
    frames = uncv.Dataset(atoms.numbers, moved, cell=atoms.cell.array)
    forces = cv.potential.evaluate(frames).forces
    frames = uncv.Dataset(atoms.numbers, moved, cell=atoms.cell.array, forces=forces)
    committee = blocks("python")[3]
    spread = run(committee, cv=cv, frames=frames)["committee_spread"]
    names = run(code, cv=cv, crystal=crystal, frames=frames, committee_spread=spread)
    assert 0.0 < names["found"].trajectory < 1.0
    assert (names["u"] > 0).all()


def test_a_function_of_ones_own():
    density = run(blocks("python")[-1])["density"]
    silicon = bulk("Si", "diamond", a=5.431, cubic=True)
    frames = uncv.Dataset(silicon.numbers, silicon.positions[None], cell=silicon.cell.array)
    assert density(frames) == pytest.approx(2.33, abs=0.005)  # g/cm³, as measured


def test_the_configuration_is_valid():
    (text,) = blocks("yaml")
    given = yaml.safe_load(text)
    selection = SelectionConfig.model_validate(given["selection"])
    assert (selection.method, selection.acceptance.quantity) == ("lcmd", "anharmonicity")
    convergence = ConvergenceConfig.model_validate(given["convergence"])
    assert convergence.torsions.tolerance == 0.15


def test_the_numbers_of_the_text():
    assert np.exp(-np.sqrt((3 * 22 - 6) / 2)) == pytest.approx(0.004, abs=5e-4)
    assert np.sqrt(23 / (4 * 400 * np.log(2))) == pytest.approx(0.14, abs=5e-3)
