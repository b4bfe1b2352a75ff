"""Stop rules: each rule with its reason, walkers apart from each other, and the kind of u."""

from __future__ import annotations

import numpy as np
import pytest
from ase.data import covalent_radii

from uncv.errors import ConfigError
from uncv.stopping import StopRules


class Walkers:
    """Four undisturbed walkers, to be spoilt one at a time."""

    def __init__(self, molecule, rules, kind="energy"):
        start = molecule.start
        self.checker = rules.prepare(start.numbers[0], start.positions[0], kind)
        atoms = start.positions.shape[1]
        self.positions = np.repeat(start.positions, 4, axis=0)
        self.energies = np.zeros(4)
        self.uncertainty = np.full(4, 0.1)
        self.atomic = np.full((4, atoms), 0.1)
        self.forces = np.zeros((4, atoms, 3))

    def check(self):
        return self.checker.check(
            self.positions, self.energies, self.uncertainty, self.atomic, self.forces
        )


ALL = StopRules(
    max_uncertainty=1.0,
    max_atomic_uncertainty=2.0,
    min_distance_factor=0.6,
    max_bond_factor=1.5,
    max_force=20.0,
)


def test_bonds_are_those_of_the_topology(alanine):
    expected = {tuple(sorted((a.index, b.index))) for a, b in alanine.topology.bonds()}
    assert {tuple(pair) for pair in Walkers(alanine, ALL).checker.bonds.tolist()} == expected


def test_an_undisturbed_walker_goes_on(alanine):
    assert Walkers(alanine, ALL).check() == ["", "", "", ""]


def test_uncertainty(alanine):
    walkers = Walkers(alanine, ALL)
    walkers.uncertainty[2] = 1.01
    assert walkers.check() == ["", "", "uncertainty 1.01 eV, the limit is 1", ""]


def test_atomic_uncertainty(alanine):
    walkers = Walkers(alanine, ALL, kind="force")
    walkers.atomic[1, 7] = 2.5
    assert walkers.check() == ["", "uncertainty 2.5 eV/Å of atom 7, the limit is 2", "", ""]


def test_force(alanine):
    walkers = Walkers(alanine, ALL)
    walkers.forces[0, 3] = [12.0, 0.0, 16.0]
    assert walkers.check()[0] == "force 20 eV/Å, the limit is 20 eV/Å"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["energies", "forces", "uncertainty"])
def test_values_that_are_not_finite_always_stop(alanine, what, bad):
    walkers = Walkers(alanine, StopRules())
    getattr(walkers, what)[3] = bad
    reasons = walkers.check()
    assert reasons[:3] == ["", "", ""]
    assert reasons[3] == "energy, force or uncertainty is not finite"


def test_a_position_that_is_not_finite(alanine):
    walkers = Walkers(alanine, ALL)
    walkers.positions[0, 0] = np.nan
    assert walkers.check()[0] == "a position is not finite"


def test_short_contact_is_measured_against_covalent_radii(alanine):
    """Atoms 0 (H) and 21 (H) are far apart; the limit of H–H is 0.6 · 2 · 0.31 Å = 0.372 Å."""
    assert covalent_radii[1] == pytest.approx(0.31)
    walkers = Walkers(alanine, ALL)
    walkers.positions[1, 21] = walkers.positions[1, 0] + [0.36, 0.0, 0.0]
    assert "atoms 0 and 21 are 0.360 Å apart, the limit is 0.372 Å" in walkers.check()[1]
    walkers.positions[1, 21] = walkers.positions[1, 0] + [0.38, 0.0, 0.0]
    assert "atoms 0 and 21" not in walkers.check()[1]


def test_contacts_of_atoms_that_are_not_bonded_have_their_own_limit(alanine):
    """H–H: 1.3 · 0.62 Å = 0.806 Å for strangers; the bond of atoms 0 and 1 keeps 0.6 · 1.07 Å."""
    rules = StopRules(min_distance_factor=0.6, min_contact_factor=1.3)
    walkers = Walkers(alanine, rules)
    assert walkers.check() == ["", "", "", ""]
    walkers.positions[1, 21] = walkers.positions[1, 0] + [0.0, 0.8, 0.0]
    assert "atoms 0 and 21 are 0.800 Å apart, the limit is 0.806 Å" in walkers.check()[1]
    bond = walkers.positions[2, 0] - walkers.positions[2, 1]
    walkers.positions[2, 0] = walkers.positions[2, 1] + 0.65 * bond / np.linalg.norm(bond)
    assert "atoms 0 and 1 " not in walkers.check()[2]
    walkers.positions[2, 0] = walkers.positions[2, 1] + 0.63 * bond / np.linalg.norm(bond)
    assert "atoms 0 and 1 are 0.630 Å apart" in walkers.check()[2]


def test_stretched_bond_is_measured_against_its_start(alanine):
    walkers = Walkers(alanine, StopRules(max_bond_factor=1.5))
    bond = walkers.positions[0, 0] - walkers.positions[0, 1]
    length = np.linalg.norm(bond)
    walkers.positions[0, 0] = walkers.positions[0, 1] + 1.49 * bond
    assert walkers.check()[0] == ""
    walkers.positions[0, 0] = walkers.positions[0, 1] + 1.51 * bond
    expected = f"atoms 0 and 1 were bonded and are {1.51 * length:.3f} Å apart"
    assert walkers.check()[0].startswith(expected)


def test_the_rules_do_not_depend_on_where_the_walker_is(alanine, rng):
    walkers = Walkers(alanine, ALL)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    walkers.positions = walkers.positions @ rotation + [3.0, -2.0, 5.0]
    assert walkers.check() == ["", "", "", ""]


def test_thresholds_of_another_kind_are_an_error(alanine):
    rules = StopRules(max_uncertainty=1.5, kind="force")
    with pytest.raises(ConfigError, match="of kind 'force' but this one is of kind 'energy'"):
        Walkers(alanine, rules, kind="energy")


def test_atomic_limit_without_atomic_values(alanine):
    walkers = Walkers(alanine, StopRules(max_atomic_uncertainty=1.0))
    walkers.atomic = None
    with pytest.raises(ConfigError, match="no atomic values; use max_uncertainty"):
        walkers.check()


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_limits_are_positive(value):
    with pytest.raises(ConfigError, match=r"max_force is .*; give a positive number"):
        StopRules(max_force=value)


@pytest.mark.parametrize("cell", [None, np.eye(3) * 9.0])
def test_no_walkers_have_no_reasons(cell):
    rules = StopRules(min_distance_factor=0.6)
    checker = rules.prepare([1, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]], cell=cell)
    nothing = np.zeros((0, 2, 3))
    assert checker.check(nothing, [], [], None, nothing, cell=cell) == []
