"""Labels of a potential: its member mean, and copies in other processes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tiny

from uncv.data import concatenate
from uncv.errors import FingerprintError
from uncv.oracles import PotentialOracle


def test_labels_are_the_mean_of_the_members():
    teacher, frames = tiny.potential(members=3), tiny.mixed()
    found = PotentialOracle(teacher).label(frames)
    expected = teacher.evaluate(frames, member_forces=True)
    np.testing.assert_allclose(found.energy, expected.energies.mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(found.forces, expected.member_forces.mean(axis=0), atol=1e-10)
    assert found.stress is None
    assert found.info["level_of_theory"][0] == f"potential {teacher.fingerprint[:16]}, 3 members"
    assert found.info["software"][0].startswith("uncv ")


def test_forces_and_stress_are_central_differences():
    oracle, crystal = PotentialOracle(tiny.potential()), tiny.crystal()
    found = oracle.label(crystal)
    x, cell = crystal.positions[0], crystal.cell[0]

    def energy(positions, vectors):
        return oracle.label(type(crystal)(crystal.numbers, [positions], cell=vectors)).energy[0]

    slopes = tiny.central_differences(lambda shift: energy(x + shift, cell), np.zeros_like(x))
    np.testing.assert_allclose(found.forces[0], -slopes, atol=1e-6)
    identity = np.eye(3)
    slopes = tiny.central_differences(
        lambda strain: energy(x @ (identity + strain), cell @ (identity + strain)),
        np.zeros((3, 3)),
    )
    np.testing.assert_allclose(found.stress[0], slopes / np.linalg.det(cell), atol=1e-6)


def test_molecules_and_crystals_in_one_batch():
    frames = concatenate([tiny.frames("CH3OH"), tiny.crystal()])
    oracle = PotentialOracle(tiny.potential())
    found = oracle.label(frames)
    assert np.isnan(found.stress[0]).all()
    np.testing.assert_array_equal(found.stress[1], oracle.label(tiny.crystal()).stress[0])


def test_unknown_elements_cost_one_label():
    found = PotentialOracle(tiny.potential()).label(
        concatenate([tiny.frames("SiH4"), tiny.frames("NH3")])
    )
    assert np.isfinite(found.energy).tolist() == [False, True]
    assert found.info["label_error"][0].startswith("ElementError")


def test_a_copy_reads_the_file_again(tmp_path):
    path, frames = tmp_path / "teacher.uncv", tiny.frames("CH3OH", 2)
    tiny.potential(seed=1).save(path)
    oracle = PotentialOracle(path)
    found = oracle.label(frames)
    sent = pickle.dumps(oracle)
    assert len(sent) < 2000  # the path, not the weights
    np.testing.assert_array_equal(pickle.loads(sent).label(frames).energy, found.energy)
    tiny.potential(seed=2).save(path)
    changed = pickle.loads(sent)
    with pytest.raises(FingerprintError, match="restore the file or make the oracle again"):
        changed.potential  # noqa: B018
    assert "FingerprintError" in changed.label(frames).info["label_error"][0]


def test_an_object_travels_along():
    teacher, frames = tiny.potential(), tiny.frames("NH3")
    oracle = PotentialOracle(teacher, max_force=1e3)
    copy = pickle.loads(pickle.dumps(oracle))
    np.testing.assert_array_equal(copy.label(frames).forces, oracle.label(frames).forces)
    assert copy.identity == oracle.identity


def test_a_potential_in_shared_memory_still_labels():
    """Executors put the tensors that they send there, also those of the sender."""
    teacher, frames = tiny.potential(), tiny.frames("NH3")
    oracle = PotentialOracle(teacher)
    before = oracle.label(frames)
    places = [value.data_ptr() for value in teacher.buffers()]
    teacher.share_memory()
    assert [value.data_ptr() for value in teacher.buffers()] != places
    filler = [np.ones(size) for size in range(1, 4000)]  # takes the memory they have left
    np.testing.assert_array_equal(oracle.label(frames).energy, before.energy)
    assert len(filler) == 3999


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="neither a known potential nor a file"):
        PotentialOracle("no_such.uncv")
