"""What turns about which bonds, and that bond lengths stay."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import molecule

import uncv
from uncv.adversarial import AttackSettings, Torsions
from uncv.adversarial.ascent import moved
from uncv.adversarial.bonds import rotors
from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError, DataError
from uncv.stopping import StopRules


def frame(name: str) -> Dataset:
    atoms = molecule(name)
    return Dataset(atoms.numbers, atoms.positions[None])


@pytest.mark.parametrize(
    ("name", "bonds"),
    [
        ("CH3OH", 1),
        ("CH3CH2OH", 2),
        ("trans-butane", 3),
        ("C2H4", 1),  # a double bond: the geometry does not say so
        ("CH3CHO", 1),
        ("H2O2", 1),
        ("cyclobutane", 0),
        ("C6H6", 0),
        ("NH3", 0),
        ("CH3CN", 0),  # nothing turns about the axis of C≡N
    ],
)
def test_rotatable_bonds(name, bonds):
    if bonds == 0:
        with pytest.raises(DataError, match="no bond about which a part of it turns"):
            rotors(frame(name))
    else:
        assert len(rotors(frame(name))) == bonds


def test_the_smaller_side_turns():
    (only,) = rotors(frame("CH3OH"))  # C O H H H H: the hydroxyl is 2 of 6 atoms
    assert (only.fixed, only.turning, only.atoms.tolist()) == (0, 1, [3])
    data = frame("CH3CH2OH")
    sizes = [len(rotor.atoms) for rotor in rotors(data)]
    assert max(sizes) <= len(data.numbers[0]) / 2 - 1


def test_torsions_change_by_their_angles_and_nothing_else():
    data = frame("trans-butane")
    found = rotors(data)
    motion = Torsions().bound(data)
    angles = np.array([0.7, -0.4, 1.9])
    batch = moved(data.to_batch(), [motion], [torch.from_numpy(angles[None])])
    start, end = (
        Atoms(data.numbers[0], data.positions[0]),
        Atoms(data.numbers[0], batch.positions[0].numpy()),
    )
    bonds = StopRules().prepare(data.numbers[0], data.positions[0]).bonds
    for i, j in bonds:
        assert end.get_distance(i, j) == pytest.approx(start.get_distance(i, j), abs=1e-10)
    neighbours = {i: {int(b) for a, b in [*bonds, *bonds[:, ::-1]] if a == i} for i in range(14)}
    checked = 0
    for rotor, angle in zip(found, angles, strict=True):
        for one in neighbours[rotor.fixed] - {rotor.turning}:
            for two in neighbours[rotor.turning] - {rotor.fixed}:
                atoms = (one, rotor.fixed, rotor.turning, two)
                turn = np.radians(end.get_dihedral(*atoms) - start.get_dihedral(*atoms))
                # About the axis from the fixed atom to the turning one.
                assert np.cos(turn - angle) == pytest.approx(1.0, abs=1e-9)
                checked += 1
    assert checked == 27
    for i in range(14):
        for one in neighbours[i]:
            for two in neighbours[i] - {one}:
                assert end.get_angle(one, i, two) == pytest.approx(
                    start.get_angle(one, i, two), abs=1e-6
                )


def test_the_limit():
    data = frame("CH3CH2OH")
    motion = Torsions(limit=0.2).bound(data)
    given = torch.tensor([[0.5, -0.1], [-0.3, 0.2]], dtype=torch.float64)
    np.testing.assert_allclose(motion.projected(given), [[0.2, -0.1], [-0.2, 0.2]])
    free = Torsions().bound(data).projected(given + 2.0 * np.pi)
    np.testing.assert_allclose(free, given, atol=1e-12)


def test_an_attack_keeps_bond_lengths():
    data = tiny.frames("CH3CH2OH", spread=0.1)
    settings = AttackSettings((Torsions(),), attacks=3, steps=15, temperature=np.inf)
    found = uncv.attack(tiny.cv(), data, settings)
    i, j = StopRules().prepare(data.numbers[0], data.positions[0]).bonds.T
    before = np.linalg.norm(data.positions[0, i] - data.positions[0, j], axis=1)
    after = np.linalg.norm(found.frames.positions[:, i] - found.frames.positions[:, j], axis=2)
    np.testing.assert_allclose(after, np.broadcast_to(before, after.shape), atol=1e-9)
    assert found.frames.info["displacement"].max() > 0.1
    assert (found.frames.info["uncertainty"] > found.frames.info["start_uncertainty"]).all()


def test_chosen_bonds():
    data = frame("CH3CH2OH")
    (only,) = rotors(data, ((1, 0),))
    assert {only.fixed, only.turning} == {0, 1}


@pytest.mark.parametrize(
    ("name", "bond", "match"),
    [
        ("CH3CH2OH", (0, 3), "atoms 0 and 3 are not bonded"),
        ("CH3OH", (1, 3), "turns nothing: on one side all atoms lie on its axis"),
        ("cyclobutane", (0, 2), "is part of a ring"),
    ],
)
def test_bonds_that_do_not_turn(name, bond, match):
    with pytest.raises(ConfigError, match=match):
        rotors(frame(name), (bond,))


def test_frames_that_do_not_suit():
    with pytest.raises(DataError, match="torsions are those of molecules"):
        rotors(tiny.crystal())
    with pytest.raises(DataError, match="frames of one molecule, found several"):
        rotors(concatenate([frame("CH3OH"), frame("H2O2")]))
    torn = frame("CH3OH")
    torn.positions[0, 3] += 3.0
    with pytest.raises(DataError, match="frame 1 has other bonds than frame 0"):
        rotors(concatenate([frame("CH3OH"), torn]))
