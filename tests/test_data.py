"""Dataset: shapes, subsets, joining, splitting, and what it and `check` refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import uncv
from uncv.data import Dataset, concatenate
from uncv.errors import DataError, ElementError
from uncv.validation import check, duplicates


@pytest.fixture
def water(rng) -> Dataset:
    """Ten distorted waters with labels."""
    start = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    return Dataset(
        numbers=[8, 1, 1],
        positions=start + 0.05 * rng.normal(size=(10, 3, 3)),
        energy=-2041.0 + 0.1 * rng.normal(size=10),
        forces=rng.normal(size=(10, 3, 3)),
        info={"round": np.arange(10), "note": [f"n{i}" for i in range(10)]},
    )


@pytest.fixture
def hydrogen(rng) -> Dataset:
    return Dataset(numbers=[1, 1], positions=rng.normal(size=(2, 2, 3)), energy=[-31.0, -31.1])


def test_one_composition_is_repeated(water):
    assert water.numbers.tolist() == [[8, 1, 1]] * 10
    assert water.elements == (1, 8)
    assert not water.pbc.any()
    assert water.cell.shape == (10, 3, 3)


def test_periodic_where_the_cell_is_not_zero():
    data = Dataset(numbers=[1], positions=np.zeros((1, 1, 3)), cell=np.diag([5.0, 6.0, 7.0]))
    assert data.pbc.tolist() == [[True, True, True]]


@pytest.mark.parametrize("index", [slice(2, 7, 2), [3, 1], np.arange(10) > 6, 4, -1, []])
def test_subsets_keep_everything_together(water, index):
    part = water[index]
    every = np.arange(10)
    chosen = np.atleast_1d(every[np.array(index, dtype=int) if isinstance(index, list) else index])
    assert len(part) == len(chosen)
    np.testing.assert_array_equal(part.info["round"], chosen)
    np.testing.assert_array_equal(part.positions, water.positions[chosen])
    np.testing.assert_array_equal(part.energy, water.energy[chosen])
    np.testing.assert_array_equal(part.forces, water.forces[chosen])


def test_index_out_of_range(water):
    with pytest.raises(IndexError):
        water[10]


def test_split_by_seed(water):
    first = water.split(3, 2, seed=7)
    again = water.split(3, 2, seed=7)
    other = water.split(3, 2, seed=8)
    assert [len(p) for p in first] == [3, 2, 5]
    rounds = [p.info["round"].tolist() for p in first]
    assert sorted(itertools.chain(*rounds)) == list(range(10))
    assert rounds == [p.info["round"].tolist() for p in again]
    assert rounds != [p.info["round"].tolist() for p in other]
    with pytest.raises(DataError, match="cannot take"):
        water.split(8, 3, seed=0)


def test_concatenate_pads_and_marks_what_is_missing(water, hydrogen):
    both = concatenate([water, hydrogen])
    assert both.frame_atoms.tolist() == [3] * 10 + [2] * 2
    assert both.numbers[11].tolist() == [1, 1, 0]
    assert np.isnan(both.forces[10:]).all()
    assert np.isfinite(both.forces[:10]).all()
    assert not both.has("forces")
    assert both.has("energy")
    assert both.info["round"][9:].tolist() == [9, -1, -1]
    assert both.info["note"][10] == ""
    np.testing.assert_array_equal(both[:10].positions, water.positions)
    with pytest.raises(DataError, match="nothing to concatenate"):
        concatenate([])


def test_inputs_are_copied(rng):
    positions = rng.normal(size=(1, 2, 3))
    data = Dataset(numbers=[1, 1], positions=positions)
    positions[:] = 0.0
    assert np.abs(data.positions).min() > 0.0


def test_batch_has_the_wanted_type(water):
    batch = water.to_batch(torch.float32)
    assert batch.positions.dtype == torch.float32
    assert batch.numbers.dtype == torch.int64
    assert batch.cell.shape == (10, 3, 3)


def test_require_names_the_frames(water, hydrogen):
    assert water.require("energy", "forces") is water
    with pytest.raises(DataError, match="has no stress; label it"):
        water.require("stress")
    with pytest.raises(DataError, match="forces of frames 10, 11 is missing"):
        concatenate([water, hydrogen]).require("forces")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.zeros((3, 3))}, r"expected \(frames, atoms, 3\)"),
        ({"numbers": [8, 1]}, r"numbers have shape \(1, 2\)"),
        ({"numbers": [8, 1, 1.5]}, "whole numbers"),
        ({"numbers": [8, 1, 200]}, "between 0"),
        ({"numbers": [8, 0, 1]}, "padding .* must come after"),
        ({"positions": np.full((1, 3, 3), np.nan)}, "positions of frames 0 are NaN"),
        ({"cell": np.full((3, 3), np.inf), "pbc": [False] * 3}, "cell of frames 0 are NaN"),
        ({"cell": np.ones((3, 3))}, "no volume"),
        ({"energy": [1.0, 2.0]}, r"energy has shape \(2,\); expected \(1,\)"),
        ({"forces": np.zeros((1, 2, 3))}, "forces has shape"),
        ({"stress": np.zeros((1, 6))}, "stress has shape"),
        ({"info": {"walker": [1, 2]}}, "column 'walker' has 2 entries for 1 frames"),
    ],
)
def test_wrong_shapes_are_named(change, message):
    start = {"numbers": [8, 1, 1], "positions": np.eye(3)[None]}
    with pytest.raises(DataError, match=message):
        Dataset(**{**start, **change})


def test_unknown_element_names_what_is_known(water):
    with pytest.raises(ElementError, match=r"frame 0 contains O, .* it knows H, C"):
        check(water, elements=(6, 1))
    assert check(water, elements=(1, 6, 7, 8)).findings == ()


@pytest.mark.parametrize("factor", [1 / 27.211386, 23.06, 96.485])
def test_energy_in_another_unit(water, factor):
    energy = water.energy.copy()
    energy[4] *= factor
    wrong = Dataset(numbers=water.numbers, positions=water.positions, energy=energy)
    with pytest.raises(DataError, match=r"energies of frames 4 are off .*check the unit"):
        check(wrong)


def test_compositions_may_differ_in_energy(rng):
    """Element energies of −13 and −2040 eV are no reason to complain; one mistake among them is."""
    numbers = np.array([[8, 1, 1, 0], [1, 1, 0, 0], [8, 8, 1, 1], [8, 8, 0, 0]] * 5)
    energy = (numbers == 8).sum(1) * -2040.0 + (numbers == 1).sum(1) * -13.6
    energy += 0.3 * rng.normal(size=20)
    positions = rng.normal(size=(20, 4, 3))
    check(Dataset(numbers=numbers, positions=positions, energy=energy))
    energy[3] /= 27.2
    with pytest.raises(DataError, match="frames 3 are off"):
        check(Dataset(numbers=numbers, positions=positions, energy=energy))


def test_duplicates_up_to_rigid_motion_and_order(water):
    turned = Rotation.from_rotvec([0.3, 1.0, -2.0]).apply(water.positions[2])
    moved = turned + np.array([5.0, 0.0, 1.0])
    swapped = water.positions[5][[0, 2, 1]]
    copies = Dataset(numbers=[8, 1, 1], positions=[moved, swapped])
    data = concatenate([water.without_labels(), copies])
    assert duplicates(data) == ((2, 10), (5, 11))
    assert "2 pairs of frames have the same geometry: 2=10, 5=11" in check(data).findings


def test_isomers_with_equal_distances_are_not_duplicates():
    """HCN and HNC in the same places: the same distances between other elements."""
    line = [[0, 0, 0], [1.1, 0, 0], [2.2, 0, 0]]
    data = Dataset(numbers=[[1, 6, 7], [1, 7, 6]], positions=[line, line])
    assert duplicates(data) == ()


def test_partly_labelled_data_are_reported(water, hydrogen):
    report = check(concatenate([water, hydrogen]))
    assert report.unlabelled == {"energy": (), "forces": (10, 11)}
    assert report.findings == ("2 of 12 frames have no forces: 10, 11",)


def aligned_rmsd(first: np.ndarray, second: np.ndarray) -> float:
    """Smallest root mean square distance of two ammonias (N first) over all rigid copies."""
    copies = itertools.product(itertools.permutations((1, 2, 3)), (1.0, -1.0))
    return min(
        Rotation.align_vectors(
            first - first.mean(0), sign * (second - second.mean(0))[[0, *order]]
        )[1]
        / 2.0
        for order, sign in copies
    )


def test_published_duplicates(data_dir):
    """Each pair found in the ammonia set can be laid on each other by a rigid motion."""
    data = uncv.read(data_dir / "ammonia" / "ammonia.xyz")
    pairs = check(data).duplicates
    assert len(pairs) >= 20
    nitrogen_first = np.argsort(-data.numbers, axis=1, kind="stable")
    frames = np.take_along_axis(data.positions, nitrogen_first[:, :, None], axis=1)
    assert max(aligned_rmsd(frames[i], frames[j]) for i, j in pairs) < 2e-3
    assert aligned_rmsd(frames[0], frames[100]) > 2e-3
    assert (0, 100) not in pairs


def test_empty_dataset(water, tmp_path):
    """Nothing selected is a dataset of no frames, not an error."""
    empty = water[[]]
    assert len(concatenate([empty, water])) == 10
    assert check(empty).findings == ()
    uncv.write(tmp_path / "none.npz", empty)
    assert len(uncv.read(tmp_path / "none.npz")) == 0
