"""Labels of calculators of ASE."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError
from uncv.oracles import AseOracle


def copper(count=2):
    atoms = bulk("Cu", cubic=True)
    noise = np.random.default_rng(1).normal(scale=0.1, size=(count, len(atoms), 3))
    return Dataset(atoms.numbers, atoms.positions + noise, cell=np.array(atoms.cell))


def test_labels_are_what_the_calculator_says_of_each_frame():
    frames = copper()
    found = AseOracle(EMT()).label(frames)
    for i in range(2):
        atoms = Atoms(frames.numbers[i], frames.positions[i], cell=frames.cell[i], pbc=True)
        atoms.calc = EMT()
        assert found.energy[i] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(found.forces[i], atoms.get_forces(), atol=1e-12)
        np.testing.assert_allclose(found.stress[i], atoms.get_stress(voigt=False), atol=1e-12)
    assert found.info["level_of_theory"].tolist() == ["EMT", "EMT"]
    assert found.info["label_error"].tolist() == ["", ""]


def test_molecules_have_no_stress_and_padding_no_force():
    found = AseOracle(LennardJones(sigma=1.0), "toy").label(tiny.mixed())
    assert found.stress is None
    assert found.info["level_of_theory"][0] == "toy"
    mask = tiny.mixed().mask
    assert not found.forces[~mask].any()
    assert np.abs(found.forces[mask]).max() > 0


def test_stress_may_be_left_out():
    assert AseOracle(EMT(), stress=False).label(copper()).stress is None


def test_a_frame_that_fails_costs_one_label():
    unknown = copper(1)
    unknown = Dataset([92, 29, 29, 29], unknown.positions, cell=unknown.cell)
    found = AseOracle(EMT(), max_force=50.0).label(concatenate([unknown, copper()]))
    assert "NotImplementedError" in found.info["label_error"][0]
    assert np.isnan(found.energy[0])
    assert np.isfinite(found.energy[1:]).all()


class Silent(Calculator):
    implemented_properties = ("energy",)


def test_a_calculator_must_give_what_labels_are():
    with pytest.raises(ConfigError, match="Silent gives no forces; expected a calculator of ASE"):
        AseOracle(Silent())
    with pytest.raises(ConfigError, match="NoStress gives no stress; leave stress= out"):
        AseOracle(type("NoStress", (Silent,), {"implemented_properties": ("energy", "forces")})(),
                  stress=True)  # fmt: skip
