"""Files: what is written is read back, others' conventions are understood, damage is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read as ase_read
from ase.io import write as ase_write

import uncv
from uncv.data import Dataset
from uncv.errors import DataError, FileFormatError
from uncv.units import ANGSTROM_IN_NM

WATER = "O 0.0 0.0 0.0 {}\nH 0.96 0.0 0.0 {}\nH -0.24 0.93 0.0 {}\n"


@pytest.fixture
def labelled(rng) -> Dataset:
    """A padded, partly labelled dataset with columns of every kind."""
    numbers = np.array([[8, 1, 1, 0], [6, 8, 8, 1], [7, 1, 1, 1]])
    forces = rng.normal(size=(3, 4, 3))
    forces[0, 3] = 0.0
    forces[2] = np.nan
    cell = np.zeros((3, 3, 3))
    cell[1] = 9.0 * np.eye(3) + 0.1 * rng.normal(size=(3, 3))
    stress = np.full((3, 3, 3), np.nan)
    stress[1] = rng.normal(size=(3, 3))
    per_atom = rng.normal(size=(3, 4)) * (numbers > 0)
    info = {
        "walker": [0, 1, 2],
        "step": np.array([5, 6, 10**12]),
        "uncertainty": [0.1, np.nan, 1.0],
        "energy": [1.5, 2.5, 3.5],
        "accepted": [True, False, True],
        "stop_reason": ["", 'a "quoted" = {thing}\\, 5', "atomic uncertainty 2.1"],
        "fingerprint": ["12345678", "1e5", "T"],
        "pairs": rng.normal(size=(3, 1)),
        "tensor": rng.normal(size=(3, 3, 3)),
        "nine": rng.normal(size=(3, 9)),
        "atomic_uncertainty": per_atom,
        "info_x": ["nan", "F T", "two\nlines ångström"],
    }
    return Dataset(
        numbers=numbers,
        positions=rng.normal(size=(3, 4, 3)) * (numbers > 0)[:, :, None] / 3,
        cell=cell,
        pbc=[[False] * 3, [True, True, False], [False] * 3],
        energy=[-13484.123456789012, np.nan, 1.0],
        forces=forces,
        stress=stress,
        info=info,
    )


def assert_same(found: Dataset, wanted: Dataset) -> None:
    for name in ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
    assert found.info.keys() == wanted.info.keys()
    for key, column in wanted.info.items():
        np.testing.assert_array_equal(found.info[key], column, err_msg=key)
        assert found.info[key].dtype.kind == column.dtype.kind, key


@pytest.mark.parametrize("name", ["data.extxyz", "data.xyz", "data.npz"])
def test_round_trip_is_exact(tmp_path, labelled, name):
    uncv.write(tmp_path / name, labelled)
    assert_same(uncv.read(tmp_path / name), labelled)


def test_index_takes_what_a_dataset_takes(tmp_path, labelled):
    uncv.write(tmp_path / "d.npz", labelled)
    for index in (1, slice(1, None), [2, 0], np.array([True, False, True])):
        assert_same(uncv.read(tmp_path / "d.npz", index), labelled[index])


def test_ase_reads_our_file(tmp_path, labelled):
    uncv.write(tmp_path / "d.extxyz", labelled)
    first, second, third = ase_read(tmp_path / "d.extxyz", ":")
    assert first.get_chemical_symbols() == ["O", "H", "H"]
    assert first.get_potential_energy() == labelled.energy[0]
    np.testing.assert_array_equal(first.get_forces(), labelled.forces[0, :3])
    np.testing.assert_array_equal(second.cell.array, labelled.cell[1])
    assert second.pbc.tolist() == [True, True, False]
    assert second.info["stop_reason"] == labelled.info["stop_reason"][1]
    np.testing.assert_array_equal(
        third.arrays["atomic_uncertainty"], labelled.info["atomic_uncertainty"][2]
    )


def test_we_read_what_ase_writes(tmp_path, rng):
    atoms = Atoms("CO2", positions=rng.normal(size=(3, 3)), cell=[7, 8, 9], pbc=True)
    stress = np.arange(1.0, 7.0)
    forces = np.round(rng.normal(size=(3, 3)), 6)
    atoms.calc = SinglePointCalculator(atoms, energy=-3.25, forces=forces, stress=stress)
    atoms.info["temperature"] = 300.0
    ase_write(tmp_path / "ase.extxyz", [atoms, atoms])
    data = uncv.read(tmp_path / "ase.extxyz")
    np.testing.assert_array_equal(data.energy, [-3.25, -3.25])
    np.testing.assert_array_equal(data.forces, [forces, forces])
    np.testing.assert_array_equal(data.stress[0], atoms.get_stress(voigt=False))
    np.testing.assert_array_equal(data.cell[1], np.diag([7.0, 8.0, 9.0]))
    assert data.info["temperature"].tolist() == [300.0, 300.0]


def test_keys_of_mace_come_before_those_of_ase(tmp_path):
    comment = (
        'Lattice="4 0 0 0 5 0 0 0 6" Properties=species:S:1:pos:R:3:forces:R:3:REF_forces:R:3 '
        'energy=1.0 REF_energy=2.0 free_energy=3.0 REF_virials="1 2 3 2 5 6 3 6 9"'
    )
    rows = WATER.format(*["0 0 0 1 2 3"] * 3)
    (tmp_path / "mace.xyz").write_text(f"3\n{comment}\n{rows}")
    data = uncv.read(tmp_path / "mace.xyz")
    assert data.energy.tolist() == [2.0]
    assert data.forces[0].tolist() == [[1.0, 2.0, 3.0]] * 3
    np.testing.assert_allclose(
        data.stress[0], -np.array([[1, 2, 3], [2, 5, 6], [3, 6, 9]]) / 120.0, rtol=1e-15
    )
    assert data.info["energy"].tolist() == [1.0]
    assert data.pbc.all()


@pytest.mark.parametrize("key", ["stress", "REF_stress"])
def test_stress_in_voigt_order(tmp_path, key):
    comment = f'Lattice="4 0 0 0 5 0 0 0 6" Properties=species:S:1:pos:R:3 {key}="1 2 3 4 5 6"'
    (tmp_path / "v.xyz").write_text(f"3\n{comment}\n{WATER.format('', '', '')}")
    assert uncv.read(tmp_path / "v.xyz").stress[0].tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]


def test_columns_that_do_not_stack_become_text(tmp_path):
    frames = [
        f'3\nProperties=species:S:1:pos:R:3 scan="{v}"\n{WATER.format("", "", "")}'
        for v in ("1 2", "1 2 3")
    ]
    (tmp_path / "r.xyz").write_text("".join(frames))
    data = uncv.read(tmp_path / "r.xyz")
    assert [json.loads(text) for text in data.info["scan"]] == [[1, 2], [1, 2, 3]]


@pytest.mark.parametrize("suffix", [".xtc", ".dcd", ".pdb"])
def test_trajectories_come_in_angstrom(tmp_path, alanine, suffix):
    import mdtraj

    topology = mdtraj.Topology.from_openmm(alanine.topology)
    frames = np.concatenate([alanine.start.positions, alanine.start.positions + 1.0])
    path = tmp_path / f"run{suffix}"
    mdtraj.Trajectory(
        frames * ANGSTROM_IN_NM, topology, unitcell_lengths=[[3, 4, 5]] * 2,
        unitcell_angles=[[90, 90, 90]] * 2,
    ).save(str(path))  # fmt: skip
    data = uncv.read(path, topology=alanine.topology)
    np.testing.assert_array_equal(data.numbers[0], alanine.start.numbers[0])
    np.testing.assert_allclose(data.positions, frames, atol=0.006)  # XTC keeps 0.001 nm
    np.testing.assert_allclose(data.cell[1], np.diag([30.0, 40.0, 50.0]), atol=1e-3)
    assert len(uncv.read(path, slice(1), topology=alanine.topology)) == 1


def test_topology_may_be_a_file(tmp_path, alanine):
    import mdtraj

    topology = mdtraj.Topology.from_openmm(alanine.topology)
    run = mdtraj.Trajectory(alanine.start.positions * ANGSTROM_IN_NM, topology)
    run.save(str(tmp_path / "top.pdb"))
    run.save(str(tmp_path / "run.dcd"))
    data = uncv.read(tmp_path / "run.dcd", topology=tmp_path / "top.pdb")
    np.testing.assert_allclose(data.positions, alanine.start.positions, atol=1e-5)
    assert not data.pbc.any()


GOOD = f"3\nProperties=species:S:1:pos:R:3 energy=1.0\n{WATER.format('', '', '')}"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", FileFormatError, "is empty"),
        ("\n", FileFormatError, "holds no frame"),
        (GOOD + GOOD[:-20], FileFormatError, r"truncated: frame 1 ends before its 3 atoms|frame 1"),
        (GOOD + "3\n", FileFormatError, "truncated: frame 1"),
        (GOOD + "\n" + GOOD, FileFormatError, "blank line stands between frames"),
        (GOOD.replace("0.93 0.0", "0.93"), FileFormatError, "frame 0 cannot be read"),
        (GOOD.replace("O 0.0", "Xy 0.0"), FileFormatError, "frame 0 cannot be read"),
        ("hello\n", FileFormatError, "expected the number of atoms of frame 0, found 'hello'"),
        (GOOD + GOOD.replace("0.96", "nan"), DataError, "frame 1: positions .* NaN or infinite"),
        (GOOD.replace("=1.0", '="1.0 2.0"'), DataError, "expected one number in eV"),
        (GOOD.replace("energy=1.0", 'stress="1 2 3"'), DataError, "stress has 3 values"),
        (GOOD.replace("energy=1.0", 'virial="1 2 3 4 5 6"'), DataError, "virial without a cell"),
    ],
)
def test_damaged_text_is_named(tmp_path, text, error, message):
    (tmp_path / "bad.xyz").write_text(text)
    with pytest.raises(error, match=message) as caught:
        uncv.read(tmp_path / "bad.xyz")
    assert type(caught.value) is error
    assert "bad.xyz" in str(caught.value)


def test_forces_of_the_wrong_width(tmp_path):
    text = f"3\nProperties=species:S:1:pos:R:3:forces:R:2\n{WATER.format('1 2', '1 2', '1 2')}"
    (tmp_path / "bad.xyz").write_text(text)
    with pytest.raises(DataError, match=r"forces has shape \(1, 3, 2\); expected \(1, 3, 3\)"):
        uncv.read(tmp_path / "bad.xyz")


def test_missing_and_unknown_files(tmp_path, labelled):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        uncv.read(tmp_path / "absent.xyz")
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(FileFormatError, match=r"expected a suffix among .*found \.docx"):
        uncv.read(tmp_path / "a.docx")
    with pytest.raises(FileFormatError, match=r"cannot write a\.docx"):
        uncv.write(tmp_path / "a.docx", labelled)


def test_trajectory_errors(tmp_path, alanine):
    import mdtraj

    run = mdtraj.Trajectory(
        alanine.start.positions * ANGSTROM_IN_NM, mdtraj.Topology.from_openmm(alanine.topology)
    )
    run.save(str(tmp_path / "run.dcd"))
    run.atom_slice(range(5)).save(str(tmp_path / "five.pdb"))
    with pytest.raises(DataError, match="give topology="):
        uncv.read(tmp_path / "run.dcd")
    with pytest.raises(DataError, match="topology does not fit"):
        uncv.read(tmp_path / "run.dcd", topology=tmp_path / "five.pdb")
    with pytest.raises(FileNotFoundError, match="no topology file"):
        uncv.read(tmp_path / "run.dcd", topology=tmp_path / "absent.pdb")
    (tmp_path / "bad.xtc").write_bytes(b"not a trajectory")
    with pytest.raises(FileFormatError, match="damaged"):
        uncv.read(tmp_path / "bad.xtc", topology=alanine.topology)


def test_archives_of_others(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(FileFormatError, match="not a readable"):
        uncv.read(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", coords=np.zeros((1, 3, 3)))
    with pytest.raises(FileFormatError, match=r"not written by uncv.*\['coords'\]"):
        uncv.read(tmp_path / "other.npz")
    np.savez(tmp_path / "pickle.npz", numbers=np.array([{}], dtype=object))
    with pytest.raises(FileFormatError, match="allow_pickle"):
        uncv.read(tmp_path / "pickle.npz")


def test_archive_of_a_later_format(tmp_path, labelled):
    uncv.write(tmp_path / "d.npz", labelled)
    with np.load(tmp_path / "d.npz") as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "d.npz", **{**arrays, "uncv_dataset": np.array(99)})
    with pytest.raises(FileFormatError, match="format 99"):
        uncv.read(tmp_path / "d.npz")


def test_columns_that_cannot_be_stored(tmp_path, labelled):
    with pytest.raises(DataError, match="holds Python objects"):
        uncv.write(tmp_path / "d.npz", labelled.with_info(x=np.array([{}, {}, {}])))
    with pytest.raises(DataError, match="'a b' cannot be written"):
        uncv.write(tmp_path / "d.extxyz", labelled.with_info(**{"a b": [1, 2, 3]}))


@pytest.mark.parametrize(
    ("file", "frames", "atoms", "labels"),
    [
        ("3bpa/mixedT_600K.xyz", 167, 27, ("energy", "forces")),
        ("acac/test_dihedral.xyz", 45, 15, ("energy",)),
        ("ammonia/ammonia.xyz", 138, 4, ("energy", "forces")),
        ("mil53al/mil53al_valid.xyz", 10, 304, ("energy", "forces", "stress")),
        ("crystals/AgGaSe2_chalcopyrite.xyz", 1, 16, ()),
    ],
)
def test_published_files(data_dir, tmp_path, file, frames, atoms, labels):
    data = uncv.read(data_dir / file)
    assert data.positions.shape == (frames, atoms, 3)
    assert tuple(n for n in ("energy", "forces", "stress") if data.has(n)) == labels
    uncv.write(tmp_path / "again.extxyz", data)
    assert_same(uncv.read(tmp_path / "again.extxyz"), data)
    reference = ase_read(data_dir / file, -1)
    np.testing.assert_array_equal(data.positions[-1], reference.positions)
    if labels:
        assert data.energy[-1] == reference.get_potential_energy()
    if "stress" in labels:
        np.testing.assert_allclose(data.stress[-1], reference.get_stress(voigt=False), rtol=1e-12)
