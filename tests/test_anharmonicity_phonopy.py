"""Force constants by phonopy: finite displacements of crystals, and its files."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tiny_morse
from ase.build import bulk

from uncv.anharmonicity import (
    HarmonicModel,
    anharmonicity,
    finite_displacements,
    harmonic_of_phonopy,
    read_harmonic,
    relaxed,
)
from uncv.data import Dataset
from uncv.errors import DataError, DependencyError, FileFormatError
from uncv.oracles import BKSSilica
from uncv.perturb import NormalModes
from uncv.perturb.modes import hessian
from uncv.structures import alpha_quartz

phonopy = pytest.importorskip("phonopy")


def copper(repeat: int = 2) -> Dataset:
    atoms = bulk("Cu", "fcc", a=3.75).repeat(repeat)
    return Dataset(atoms.numbers, atoms.positions[None], cell=atoms.cell.array)


def morse_forces(frames: Dataset) -> np.ndarray:
    return tiny_morse.cv().potential.evaluate(frames).forces


@pytest.fixture(scope="module")
def model() -> HarmonicModel:
    return finite_displacements(copper(), morse_forces)


@pytest.fixture(scope="module")
def crystal():
    return copper_of_phonopy()


def copper_of_phonopy():
    """Phonopy's own object of copper: 8 atoms with their force constants."""
    from phonopy.structure.atoms import PhonopyAtoms

    atoms = bulk("Cu", "fcc", a=3.75)
    cell = PhonopyAtoms(symbols=["Cu"], positions=atoms.positions, cell=atoms.cell.array)
    made = phonopy.Phonopy(cell, supercell_matrix=2 * np.eye(3, dtype=int), primitive_matrix="P")
    made.generate_displacements(distance=0.01, is_plusminus=True)
    moved = made.supercells_with_displacements
    frames = Dataset([29] * 8, [c.positions for c in moved], cell=made.supercell.cell)
    made.forces = morse_forces(frames)
    made.produce_force_constants()
    made.symmetrize_force_constants()
    return made


def as_matrix(model: HarmonicModel) -> np.ndarray:
    size = 3 * len(model.positions)
    return model.force_constants.transpose(0, 2, 1, 3).reshape(size, size)


def test_force_constants_of_a_potential_as_by_moving_every_atom(model):
    expected = hessian(copper(), morse_forces)
    np.testing.assert_allclose(as_matrix(model), expected, atol=2e-3 * np.abs(expected).max())
    assert np.abs(model.force_constants.sum(axis=1)).max() < 1e-12


def test_symmetry_saves_displacements():
    counts = []

    def counted(frames):
        counts.append(len(frames))
        return morse_forces(frames)

    finite_displacements(copper(), counted)
    assert counts == [3]  # the reference, and one atom forth and back, of 48


def test_quartz_is_the_less_harmonic_the_hotter():
    oracle = BKSSilica()

    def forces(frames):
        return oracle.label(frames).require("forces").forces

    reference = relaxed(alpha_quartz(), forces)
    assert np.abs(forces(reference)).max() <= 1e-3
    assert 0.01 < np.abs(reference.positions - alpha_quartz().positions).max() < 0.2
    model = finite_displacements(reference, forces)
    random = np.random.default_rng(3)
    modes = NormalModes.of(reference, forces, 300.0).modes
    moved = np.tensordot(random.normal(size=(8, len(modes))), modes, axes=1)
    found = []
    for temperature in (30.0, 300.0, 1000.0):
        positions = reference.positions + np.sqrt(temperature / 300.0) * moved
        frames = Dataset(reference.numbers[0], positions, cell=reference.cell[0])
        found.append(anharmonicity(forces(frames), model.forces(frames)).trajectory)
    assert 0.0 < found[0] < found[1] < found[2] < 0.5
    # Springs miss forces of second order in the displacements, which go as √T, relative to first.
    assert found[1] / found[0] == pytest.approx(np.sqrt(10.0), rel=0.05)


def test_a_reference_must_be_one_relaxed_crystal():
    rattled = tiny_morse.crystal(0.1)
    frame = Dataset(rattled.numbers, rattled.positions[None], cell=rattled.cell.array)
    with pytest.raises(DataError, match="relax the atoms with the same forces first"):
        finite_displacements(frame, morse_forces)
    with pytest.raises(DataError, match="the reference has 2 frames"):
        finite_displacements(copper()[[0, 0]], morse_forces)
    with pytest.raises(DataError, match="not finite; expected finite ones"):
        finite_displacements(copper(), lambda frames: np.nan * frames.positions)


def test_relaxation_that_does_not_end():
    rattled = tiny_morse.crystal(0.1)
    frame = Dataset(rattled.numbers, rattled.positions[None], cell=rattled.cell.array)
    before, after = (
        np.linalg.norm(morse_forces(f), axis=2).max()
        for f in (frame, relaxed(frame, morse_forces, max_force=0.01))
    )
    assert after <= 0.01 < before
    with pytest.raises(DataError, match=r"after 1 steps the force on an atom is still"):
        relaxed(frame, morse_forces, steps=1)
    with pytest.raises(DataError, match="the reference has 2 frames"):
        relaxed(frame[[0, 0]], morse_forces)


def test_phonopy_object_and_its_files(crystal, tmp_path):
    model = harmonic_of_phonopy(crystal)
    rng = np.random.default_rng(1)
    positions = model.positions + 0.05 * rng.normal(size=(2, 8, 3))
    expected = -np.einsum(
        "ijab,fjb->fia", crystal.force_constants, positions - crystal.supercell.positions
    )
    np.testing.assert_allclose(model.forces(positions), expected, atol=1e-12)
    crystal.save(tmp_path / "phonopy_params.yaml", settings={"force_constants": True})
    read = read_harmonic(tmp_path / "phonopy_params.yaml")
    np.testing.assert_allclose(read.forces(positions), expected, atol=1e-9)


def test_the_primitive_part_of_the_constants_is_enough(crystal):
    compact = copper_of_phonopy()
    compact.force_constants = crystal.force_constants[:1]
    found = harmonic_of_phonopy(compact).force_constants
    np.testing.assert_allclose(found, crystal.force_constants, atol=1e-12)


def test_a_file_in_another_order_of_the_atoms(crystal, tmp_path):
    crystal.save(tmp_path / "made.yaml", settings={"force_constants": True})
    plain = read_harmonic(tmp_path / "made.yaml")
    order = np.random.default_rng(0).permutation(8)
    reference = Dataset([29] * 8, plain.positions[None, order] - 0.01, cell=plain.cell)
    found = read_harmonic(tmp_path / "made.yaml", reference)
    expected = plain.force_constants[np.ix_(order, order)]
    np.testing.assert_allclose(found.force_constants, expected)


def test_force_constants_alone_need_the_structure(crystal, tmp_path):
    from phonopy.file_IO import write_FORCE_CONSTANTS

    path = tmp_path / "FORCE_CONSTANTS"
    write_FORCE_CONSTANTS(crystal.force_constants, filename=path)
    cell = crystal.supercell
    reference = Dataset([29] * 8, [cell.positions], cell=cell.cell)
    found = read_harmonic(path, reference).force_constants
    np.testing.assert_allclose(found, crystal.force_constants, atol=1e-9)
    with pytest.raises(DataError, match="give the supercell as reference"):
        read_harmonic(path)


def test_files_that_do_not_do(crystal, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_harmonic(tmp_path / "none.yaml")
    (tmp_path / "other.yaml").write_text("a: 1\n")
    with pytest.raises(FileFormatError, match="phonopy cannot read"):
        read_harmonic(tmp_path / "other.yaml")
    (tmp_path / "FORCE_CONSTANTS").write_text("none\n")
    with pytest.raises(FileFormatError, match="is no FORCE_CONSTANTS file"):
        read_harmonic(tmp_path / "FORCE_CONSTANTS", copper())


def test_an_object_without_constants_or_in_other_units(crystal):
    from phonopy.structure.atoms import PhonopyAtoms

    atoms = bulk("Cu", "fcc", a=3.75)
    cell = PhonopyAtoms(symbols=["Cu"], positions=atoms.positions, cell=atoms.cell.array)
    bare = phonopy.Phonopy(cell, primitive_matrix="P")
    with pytest.raises(DataError, match=r"call its produce_force_constants\(\) first"):
        harmonic_of_phonopy(bare)
    with pytest.raises(DataError, match="in the units of qe; expected eV and Å"):
        harmonic_of_phonopy(phonopy.Phonopy(cell, primitive_matrix="P", calculator="qe"))


def test_without_phonopy_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(DependencyError, match=r'pip install "uncv\[crystals\]"'):
        finite_displacements(copper(), morse_forces)
