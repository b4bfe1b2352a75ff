"""Stop rules in a cell: nearest images, bonds through the boundary, small and moving cells."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list

from uncv.errors import ConfigError
from uncv.stopping import BOND_FACTOR, StopRules
from uncv.stopping.images import image_pairs

BONDS = StopRules(max_bond_factor=1.3)
CLOSE = StopRules(min_distance_factor=0.7, min_contact_factor=1.1)


def check(checker, atoms, cell=None):
    """The reason for one structure, '' where it may go on."""
    nothing = np.zeros((1, len(atoms), 3))
    cell = atoms.cell.array if cell is None else cell
    return checker.check(atoms.positions[None], [0.0], [0.0], None, nothing, cell=cell)[0]


def prepare(rules, atoms):
    return rules.prepare(atoms.numbers, atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc)


def strained(atoms, stretch):
    changed = atoms.copy()
    changed.set_cell(atoms.cell.array @ np.asarray(stretch), scale_atoms=True)
    return changed


def random_crystal(seed, size=1.0, atoms=6):
    """Elements of several sizes in a triclinic cell, some atoms outside of it."""
    random = np.random.default_rng(seed)
    cell = size * (4.0 * np.eye(3) + random.uniform(-1.2, 1.2, (3, 3)))
    scaled = random.uniform(-0.7, 1.7, (atoms, 3))
    return Atoms(random.choice([1, 6, 8, 13], atoms), scaled @ cell, cell=cell, pbc=True)


@pytest.mark.parametrize("size", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("pbc", [True, (True, False, True), (False, False, True)])
def test_pairs_are_those_of_ase(size, pbc):
    for seed in range(3):
        atoms = random_crystal(seed, size)
        atoms.pbc = pbc
        found = image_pairs(atoms.positions, atoms.cell.array, atoms.pbc, 2.7)
        i, j, d = neighbor_list("ijd", atoms, 2.7)
        kept = i <= j
        order = np.lexsort((d[kept], j[kept], i[kept]))
        np.testing.assert_array_equal(found.first, i[kept][order])
        np.testing.assert_array_equal(found.second, j[kept][order])
        np.testing.assert_allclose(found.distance, d[kept][order], atol=1e-12)
        pairs = np.stack([found.first, found.second], axis=1)
        for first, second in np.unique(pairs, axis=0):
            rank = found.rank[(pairs == [first, second]).all(axis=1)]
            np.testing.assert_array_equal(rank, np.arange(len(rank)))


def test_bonds_go_through_the_boundary():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    i, j = neighbor_list("ij", atoms, BOND_FACTOR * covalent_radii[atoms.numbers])
    expected = sorted((a, b) for a, b in zip(i.tolist(), j.tolist(), strict=True) if a < b)
    checker = prepare(BONDS, atoms)
    assert sorted(map(tuple, checker.bonds.tolist())) == expected
    assert len(expected) == 24
    without = BONDS.prepare(atoms.numbers, atoms.positions)
    assert len(without.bonds) == 12


@pytest.mark.parametrize(
    "rules", [BONDS, CLOSE, StopRules(max_bond_factor=1.3, min_distance_factor=0.7)]
)
def test_structures_that_are_the_same_crystal_go_on(rules):
    """Wrapped, shifted, turned, in another cell of the same lattice, strained a little."""
    atoms = random_crystal(3, 1.3)
    if rules is CLOSE:
        atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    checker = prepare(rules, atoms)
    assert check(checker, atoms) == ""
    wrapped = atoms.copy()
    wrapped.translate([1.3, -7.0, 2.0])
    wrapped.wrap()
    turned = atoms.copy()
    turned.rotate(50, [1, 2, 3], rotate_cell=True)
    other = atoms.copy()
    other.cell[0] += atoms.cell[1]
    for same in (wrapped, turned, other, strained(atoms, np.eye(3) + 0.02)):
        assert check(checker, same) == ""


def test_a_stretched_bond_through_the_boundary():
    atoms = Atoms("OH", [[0.1, 2, 2], [5.2, 2, 2]], cell=[6.0, 6.0, 6.0], pbc=True)
    checker = prepare(BONDS, atoms)
    assert checker.bonds.tolist() == [[0, 1]]
    moved = atoms.copy()
    moved.positions[1, 0] = 4.95
    assert check(checker, moved) == ""
    moved.positions[1, 0] = 4.9
    said = "atoms 0 and 1 were bonded and are 1.200 Å apart, the limit is 1.170 Å"
    assert check(checker, moved) == said
    moved.positions[1, 0] = 3.0
    assert check(checker, moved) == (
        "atoms 0 and 1 were bonded and are more than 1.462 Å apart, the limit is 1.170 Å"
    )


def test_a_cell_that_grows_stretches_bonds():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    checker = prepare(BONDS, atoms)
    assert check(checker, strained(atoms, 1.29 * np.eye(3))) == ""
    assert "were bonded and are 3.694 Å apart" in check(checker, strained(atoms, 1.31 * np.eye(3)))
    grown = strained(atoms, np.diag([1.0, 1.0, 1.31]))
    assert "were bonded and are 3.694 Å apart, the limit is 3.666 Å" in check(checker, grown)
    # The atoms stay and the cell grows: the bonds through its boundary are stretched.
    assert check(checker, atoms, atoms.cell.array @ np.diag([1.0, 1.0, 1.1])) == ""
    assert "were bonded" in check(checker, atoms, atoms.cell.array @ np.diag([1.0, 1.0, 1.2]))


@pytest.mark.parametrize(("name", "a", "count"), [("Cu", 3.61, 6), ("Al", 4.05, 6)])
def test_cells_smaller_than_a_bond_know_each_image(name, a, count):
    """The primitive cell of fcc: twelve neighbours, all images of the one atom."""
    atoms = bulk(name, "fcc", a=a)
    checker = prepare(BONDS, atoms)
    assert checker.bonds.tolist() == [[0, 0]] * count
    assert check(checker, atoms) == ""
    assert check(checker, strained(atoms, 1.29 * np.eye(3))) == ""
    length = 1.31 * a / np.sqrt(2)
    expected = f"atom 0 and an image of it were bonded and are {length:.3f} Å apart"
    assert check(checker, strained(atoms, 1.31 * np.eye(3))).startswith(expected)
    assert "bonded" in check(checker, strained(atoms, np.diag([1.0, 1.0, 1.6])))


def test_several_images_of_a_pair_may_be_bonded():
    """Rock salt's primitive cell: six bonds of the same two atoms."""
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    checker = prepare(BONDS, atoms)
    assert checker.bonds.tolist() == [[0, 1]] * 6
    atoms.positions[1] += [0.0, 0.0, 0.8]
    assert check(checker, atoms) == ""
    atoms.positions[1] += [0.0, 0.0, 0.1]
    assert "atoms 0 and 1 were bonded and are 3.720 Å apart" in check(checker, atoms)


def test_contacts_are_those_of_the_nearest_images():
    """Na–Cl: bonded, 0.7 · 2.68 Å; Na–Na: not, 1.1 · 3.32 Å."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    checker = prepare(CLOSE, atoms)
    assert check(checker, atoms) == ""
    radii = covalent_radii[[11, 17]]
    limit = 0.7 * radii.sum()
    near = atoms.copy()
    chlorine = int(np.flatnonzero(atoms.numbers == 17)[-1])
    i, j, vector = neighbor_list("ijD", atoms, 3.0)
    sodium = int(j[i == chlorine][0])
    towards = vector[(i == chlorine) & (j == sodium)][0]
    near.positions[chlorine] += (1 - 0.99 * limit / 2.82) * towards
    assert f"are {0.99 * limit:.3f} Å apart, the limit is {limit:.3f} Å" in check(checker, near)
    squeezed = strained(atoms, np.diag([1.0, 1.0, 0.8]))
    assert check(checker, squeezed).startswith("atoms 0 and 2 are ")
    distance = find_mic(squeezed.positions[2] - squeezed.positions[0], squeezed.cell)[1]
    assert f"{distance:.3f} Å apart, the limit is {1.1 * 2 * radii[0]:.3f} Å" in check(
        checker, squeezed
    )


def test_an_image_may_come_too_close():
    atoms = Atoms("Ar", cell=[4.0, 4.0, 4.0], pbc=True)
    checker = prepare(CLOSE, atoms)
    assert checker.bonds.tolist() == []
    thin = strained(atoms, np.diag([1.0, 0.5, 1.0]))
    said = f"atom 0 and an image of it are 2.000 Å apart, the limit is {2.2 * 1.06:.3f} Å"
    assert check(checker, thin) == said
    atoms.pbc = (True, False, True)
    assert check(prepare(CLOSE, atoms), thin) == ""


def test_walkers_have_their_own_cells():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    checker = prepare(BONDS, atoms)
    walkers = [atoms, strained(atoms, 1.4 * np.eye(3)), strained(atoms, 0.9 * np.eye(3))]
    positions = np.array([w.positions for w in walkers])
    cells = np.array([w.cell.array for w in walkers])
    given = [0.0] * 3, [0.0] * 3, None, np.zeros(positions.shape)
    reasons = checker.check(positions, *given, cell=cells)
    assert [bool(reason) for reason in reasons] == [False, True, False]
    assert reasons == [check(checker, w) for w in walkers]
    alone = checker.check(positions[:1], *(g[:1] if g else g for g in given[:3]), given[3][:1])
    assert alone == [""]  # the cell of the start


@pytest.mark.parametrize("spoil", ["nan", "flat"])
def test_what_has_no_distances_stops(spoil):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    checker = prepare(BONDS, atoms)
    if spoil == "nan":
        atoms.positions[0] = np.nan
        assert check(checker, atoms) == "a position is not finite"
    else:
        assert check(checker, atoms, np.diag([5.0, 5.0, 0.0])) == "the cell has no volume"
        assert check(checker, atoms, np.full((3, 3), np.nan)) == "the cell has no volume"


def test_many_atoms_take_no_matrix_of_pairs():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat((14, 14, 14))
    checker = prepare(BONDS, atoms)
    assert len(atoms) == 21952  # 21952² squared distances would be 3.9 GB
    assert len(checker.bonds) == 3 * len(atoms)
    atoms.positions[5] += [0.9, 0.0, 0.0]
    assert "atoms 5 and" in check(checker, atoms) or "and 5 were" in check(checker, atoms)


def test_a_cell_without_volume_is_refused():
    with pytest.raises(ConfigError, match=r"periodic \(pbc=\[True, True, True\]\) but its cell"):
        BONDS.prepare([1], [[0.0, 0, 0]], cell=np.zeros((3, 3)), pbc=[True] * 3)
