"""Exported labels, each format read by the program that it is for."""

from __future__ import annotations

import json
import warnings

import ase.db
import ase.io
import dpdata
import h5py
import numpy as np
import pytest
import tiny
from ase.build import bulk
from ase.calculators.emt import EMT

import uncv
from uncv.data import Dataset, concatenate
from uncv.errors import CampaignError, ConfigError, DataError
from uncv.exporting import LabelKeys, export_data
from uncv.exporting.source import gather
from uncv.models.mace import import_mace

HARTREE = 27.211386245988  # CODATA 2018
SPLITS = ("train", "valid", "calibration", "train")


def with_provenance(frames: Dataset) -> Dataset:
    """Columns as a campaign writes them."""
    count = len(frames)
    return frames.with_info(
        round=np.arange(count),
        walker=np.arange(count) % 2,
        step=25 * np.arange(count),
        uncertainty=np.where(np.arange(count) > 0, 0.25, np.nan),
        stop_reason=np.array(["", "force 31 eV/Å, the limit is 30"] * count)[:count],
        fingerprint=np.full(count, "12345e67"),  # could be read as a number
        energy=np.full(count, -3.5),
        split=np.resize(SPLITS, count),
        level_of_theory=np.full(count, "ωB97X/6-31G*"),
        software=np.full(count, "code 1.2"),
    )


@pytest.fixture(scope="module")
def molecule() -> Dataset:
    """Four frames of methanol with labels, as a campaign of a molecule keeps them."""
    frames = tiny.frames("CH3OH", 4)
    random = np.random.default_rng(1)
    forces = random.normal(size=frames.positions.shape)
    labelled = Dataset(frames.numbers, frames.positions, energy=random.normal(size=4),
                       forces=forces)  # fmt: skip
    return with_provenance(labelled)


@pytest.fixture(scope="module")
def copper() -> Dataset:
    """Sheared, compressed copper with labels by EMT: a real stress, tension positive."""
    images = []
    for number in range(4):
        atoms = bulk("Cu", "fcc", a=3.45, cubic=True)
        shear = np.array([[0, 0.1 * number, 0], [0, 0, 0.05], [0, 0, 0]])
        atoms.set_cell(atoms.cell.array + shear, True)
        atoms.rattle(0.05, seed=number)
        atoms.calc = EMT()
        images.append(atoms)
    return with_provenance(
        Dataset(
            images[0].numbers,
            np.array([a.positions for a in images]),
            cell=np.array([a.cell.array for a in images]),
            energy=np.array([a.get_potential_energy() for a in images]),
            forces=np.array([a.get_forces() for a in images]),
            stress=np.array([a.get_stress(voigt=False) for a in images]),
        )
    )


@pytest.fixture(scope="module")
def mixed(molecule) -> Dataset:
    """Methanol and water, padded."""
    water = tiny.frames("H2O", 2, seed=3)
    labelled = Dataset(water.numbers, water.positions, energy=[1.0, 2.0],
                       forces=np.ones(water.positions.shape))  # fmt: skip
    return concatenate([molecule, with_provenance(labelled)])


def exported(frames, folder, kind, name="out", **options):
    uncv.write(folder / "labelled.extxyz", frames)
    return export_data(folder / "labelled.extxyz", folder / name, kind, **options)


def test_extxyz_in_files_of_its_splits_as_ase_reads_it(copper, tmp_path):
    found = exported(copper, tmp_path, "extxyz")
    assert [f.name for f in found.files] == ["train.extxyz", "valid.extxyz", "test.extxyz"]
    assert found.frames == {"train": 2, "valid": 1, "test": 1}
    train = ase.io.read(tmp_path / "out" / "train.extxyz", ":")
    for atoms, row in zip(train, (0, 3), strict=True):
        assert atoms.info["REF_energy"] == copper.energy[row]
        np.testing.assert_array_equal(atoms.arrays["REF_forces"], copper.forces[row])
        stress = atoms.info["REF_stress"].reshape(3, 3)
        np.testing.assert_allclose(stress, copper.stress[row], rtol=1e-12)
        np.testing.assert_array_equal(atoms.cell.array, copper.cell[row])
        assert (atoms.info["round"], atoms.info["walker"], atoms.info["step"]) == (
            row, row % 2, 25 * row,
        )  # fmt: skip
        assert atoms.info["split"] == "train"
        assert atoms.info["level_of_theory"] == "ωB97X/6-31G*"
        assert atoms.info["software"] == "code 1.2"
        assert atoms.info["model_fingerprint"] == "12345e67"
        assert atoms.info["predicted_energy"] == -3.5
        assert atoms.info["uncv_version"] == uncv.__version__
        assert atoms.info["run_fingerprint"] == found.provenance.run_fingerprint
    assert np.isnan(train[0].info["uncertainty"])
    assert train[1].info["uncertainty"] == 0.25


def test_extxyz_as_mace_reads_it(copper, tmp_path):
    pytest.importorskip("mace")
    import_mace()
    from mace.data import AtomicData, utils
    from mace.tools import AtomicNumberTable

    exported(copper, tmp_path, "extxyz", "all.extxyz")
    keys = utils.KeySpecification.from_defaults()
    _, configurations = utils.load_from_xyz(str(tmp_path / "all.extxyz"), keys)
    assert len(configurations) == 4
    for row, one in enumerate(configurations):
        data = AtomicData.from_config(one, AtomicNumberTable([29]), cutoff=3.0)
        assert data.energy.item() == pytest.approx(copper.energy[row], rel=1e-6)
        np.testing.assert_allclose(data.forces, copper.forces[row], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(data.stress[0], copper.stress[row], rtol=1e-5)
        np.testing.assert_allclose(data.cell, copper.cell[row], rtol=1e-6, atol=1e-6)
        assert data.stress_weight == data.forces_weight == data.energy_weight == 1.0


def test_extxyz_with_the_keys_of_ase_becomes_results_of_a_calculator(copper, tmp_path):
    exported(copper, tmp_path, "extxyz", "all.extxyz", keys=LabelKeys())
    for row, atoms in enumerate(ase.io.read(tmp_path / "all.extxyz", ":")):
        assert atoms.get_potential_energy() == copper.energy[row]
        np.testing.assert_array_equal(atoms.get_forces(), copper.forces[row])
        np.testing.assert_allclose(atoms.get_stress(voigt=False), copper.stress[row], atol=1e-15)
    assert uncv.read(tmp_path / "all.extxyz").info["predicted_energy"].tolist() == [-3.5] * 4


def test_npz_has_the_arrays_of_sgdml(molecule, tmp_path):
    found = exported(molecule, tmp_path, "npz", "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["E"][:, 0], molecule.energy)
        np.testing.assert_array_equal(archive["F"], molecule.forces)
        np.testing.assert_array_equal(archive["R"], molecule.positions)
        np.testing.assert_array_equal(archive["z"], molecule.numbers[0])
        assert archive["split"].tolist() == ["train", "valid", "test", "train"]
        assert archive["round"].tolist() == [0, 1, 2, 3]
        assert str(archive["e_unit"]) == "eV"
        assert str(archive["theory"]) == "ωB97X/6-31G*"
        assert archive["run_fingerprint"].tolist() == [found.provenance.run_fingerprint] * 4
        assert "cell" not in archive.files


def test_npz_of_a_crystal_has_cells_and_stress(copper, tmp_path):
    exported(copper, tmp_path, "npz")
    with np.load(tmp_path / "out" / "valid.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["cell"], copper.cell[1:2])
        np.testing.assert_array_equal(archive["stress"], copper.stress[1:2])


def test_npz_refuses_several_molecules(mixed, tmp_path):
    with pytest.raises(DataError, match=r"one molecule, found CH4O, H2O: .* to extxyz"):
        exported(mixed, tmp_path, "npz", "all.npz")


def test_ase_db_has_rows_that_can_be_searched(copper, tmp_path):
    found = exported(copper, tmp_path, "ase-db")
    database = ase.db.connect(tmp_path / "out.db")
    assert database.metadata["run_fingerprint"] == found.provenance.run_fingerprint
    assert [row.round for row in database.select(split="train")] == [0, 3]
    for number, row in enumerate(database.select()):
        assert row.energy == copper.energy[number]
        np.testing.assert_array_equal(row.forces, copper.forces[number])
        atoms = row.toatoms()
        np.testing.assert_allclose(atoms.get_stress(voigt=False), copper.stress[number])
        assert row.model_fingerprint == '"12345e67"'
        assert row.level_of_theory == "ωB97X/6-31G*"
    assert "uncertainty" not in database.get(1)
    assert database.get(2).uncertainty == 0.25
    assert not hasattr(database.get(1), "stop_reason")


@pytest.fixture
def load_h5():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pkg_resources, and that there is no cuaev
        from torchani.data import load
    return load


def test_h5_as_torchani_reads_it(mixed, tmp_path, load_h5):
    exported(mixed, tmp_path, "h5", "all.h5")
    found = list(load_h5(str(tmp_path / "all.h5"), ("forces", "split", "round")))
    assert len(found) == 6
    assert found[0]["species"] == ["C", "O", "H", "H", "H", "H"]
    for row, one in enumerate(found):
        atoms = mixed.frame_atoms[row]
        assert one["energies"] * HARTREE == pytest.approx(mixed.energy[row], rel=1e-12)
        np.testing.assert_array_equal(one["coordinates"], mixed.positions[row, :atoms])
        np.testing.assert_allclose(one["forces"] * HARTREE, mixed.forces[row, :atoms], rtol=1e-12)
    assert [one["split"] for one in found] == ["train", "valid", "test", "train", "train", "valid"]
    with h5py.File(tmp_path / "all.h5") as file:
        assert file.attrs["level_of_theory"] == "ωB97X/6-31G*"
        assert "hartree/Å" in file.attrs["units"]
        theory = file["CH4O"]["level_of_theory"][0].decode()
    assert theory == r"\u03c9B97X/6-31G*"  # its reader decodes ASCII only


def test_h5_in_files_of_its_splits_with_cells(copper, tmp_path, load_h5):
    exported(copper, tmp_path, "h5")
    (one,) = load_h5(str(tmp_path / "out" / "test.h5"), ("cell", "stress"))
    np.testing.assert_array_equal(one["cell"], copper.cell[2])
    np.testing.assert_allclose(one["stress"] * HARTREE, copper.stress[2], rtol=1e-12)


def test_deepmd_as_dpdata_reads_it_and_as_dpdata_makes_it_of_ase(copper, tmp_path):
    """The virial of compressed copper is positive, by dpdata's own conversion from ASE too."""
    exported(copper, tmp_path, "deepmd")
    system = dpdata.LabeledSystem(str(tmp_path / "out" / "train" / "Cu4"), fmt="deepmd/npy")
    rows = [0, 3]
    np.testing.assert_array_equal(system["coords"], copper.positions[rows])
    np.testing.assert_array_equal(system["cells"], copper.cell[rows])
    np.testing.assert_array_equal(system["energies"], copper.energy[rows])
    np.testing.assert_array_equal(system["forces"], copper.forces[rows])
    volume = np.linalg.det(copper.cell[rows])[:, None, None]
    np.testing.assert_allclose(system["virials"], -volume * copper.stress[rows], rtol=1e-12)
    assert (np.trace(system["virials"], axis1=1, axis2=2) > 1.0).all()
    exported(copper[[0]], tmp_path, "extxyz", "one.extxyz", keys=LabelKeys())
    theirs = dpdata.LabeledSystem(ase.io.read(tmp_path / "one.extxyz"), fmt="ase/structure")
    np.testing.assert_allclose(system["virials"][:1], theirs["virials"], rtol=1e-9)


def test_deepmd_sorts_molecules_into_systems_with_one_type_map(mixed, tmp_path):
    found = exported(mixed, tmp_path, "deepmd")
    assert [f.name for f in found.files] == ["train", "valid", "test"]
    water = dpdata.LabeledSystem(str(tmp_path / "out" / "valid" / "H2O"), fmt="deepmd/npy")
    assert water["nopbc"]
    assert water["atom_names"] == ["H", "C", "O"]
    assert [water["atom_names"][t] for t in water["atom_types"]] == ["O", "H", "H"]
    np.testing.assert_array_equal(water["forces"][0], mixed.forces[5, :3])
    about = json.loads((tmp_path / "out" / "train" / "CH4O" / "provenance.json").read_text())
    assert about["frames"]["round"] == [0, 3]
    assert about["frames"]["uncertainty"] == [None, 0.25]
    assert about["run_fingerprint"] == found.provenance.run_fingerprint


def test_the_same_elements_in_another_order_are_another_system(tmp_path):
    one, two = Dataset([8, 1, 1], np.eye(3)[None]), Dataset([1, 8, 1], np.eye(3)[None])
    both = concatenate([one, two])
    labelled = Dataset(both.numbers, both.positions, energy=[1.0, 2.0], forces=np.zeros((2, 3, 3)))
    exported(labelled, tmp_path, "deepmd")
    assert sorted(p.name for p in (tmp_path / "out" / "frames").iterdir()) == ["H2O", "H2O_1"]


def test_a_file_without_splits_is_one_part(molecule, tmp_path):
    bare = Dataset(molecule.numbers, molecule.positions, energy=molecule.energy,
                   forces=molecule.forces)  # fmt: skip
    found = exported(bare, tmp_path, "extxyz")
    assert found.frames == {"frames": 4}
    assert found.provenance.level_of_theory == ""


def test_the_fingerprint_is_of_the_labels_and_the_configuration(molecule, tmp_path):
    for name, labels, text in (
        ("a", molecule, "seed: 0"), ("b", molecule, "seed: 0"), ("c", molecule, "seed: 1"),
        ("d", molecule[:3], "seed: 0"),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        uncv.write(tmp_path / name / "labelled.extxyz", labels)
        (tmp_path / name / "config.yaml").write_text(text)
    found = [gather(tmp_path / name).provenance.run_fingerprint for name in "abcd"]
    assert found[0] == found[1]
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("out", "kind", "error", "message"),
    [
        ("x.csv", "csv", ConfigError, "format 'csv' is not known; expected one of extxyz, npz"),
        ("labelled.extxyz", "extxyz", DataError, "is there already; remove it or give another"),
    ],
)
def test_what_cannot_be_written(molecule, tmp_path, out, kind, error, message):
    with pytest.raises(error, match=message):
        exported(molecule, tmp_path, kind, out)


def test_a_key_that_a_column_has_is_refused(molecule, tmp_path):
    with pytest.raises(DataError, match="two things would be written as 'round'; give the label"):
        exported(molecule, tmp_path, "extxyz", keys=LabelKeys(energy="round"))


def test_frames_without_labels_and_folders_without_a_campaign(molecule, tmp_path):
    uncv.write(tmp_path / "bare.extxyz", molecule.without_labels())
    with pytest.raises(DataError, match="has no energy"):
        export_data(tmp_path / "bare.extxyz", tmp_path / "x", "extxyz")
    with pytest.raises(CampaignError, match=r"holds no labelled\.extxyz; give the run directory"):
        export_data(tmp_path, tmp_path / "x", "extxyz")


def test_slabs_are_refused_where_the_format_cannot_say_it(copper, tmp_path):
    slab = Dataset(copper.numbers, copper.positions, cell=copper.cell, pbc=[True, True, False],
                   energy=copper.energy, forces=copper.forces)  # fmt: skip
    with pytest.raises(DataError, match=r"periodic in some directions only.*extxyz or ase-db"):
        exported(slab, tmp_path, "deepmd")
