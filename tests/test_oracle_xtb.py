"""xTB labels: tblite's own ASE calculator, central differences, and what cannot be labelled."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.build import molecule
from tblite.ase import TBLite

from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError, DependencyError
from uncv.oracles import XTBOracle, base, labelled_part
from uncv.oracles.xtb import METHODS


def ammonia_ice() -> Dataset:
    """One molecule in a narrow triclinic cell, displaced, an atom outside of the cell."""
    atoms = molecule("NH3")
    cell = np.array([[4.1, 0.0, 0.0], [0.4, 4.6, 0.0], [-0.3, 0.5, 4.9]])
    noise = 0.05 * np.random.default_rng(3).normal(size=(4, 3))
    return Dataset(atoms.numbers, [atoms.positions + noise + [0.1, -0.5, 0.2]], cell=cell)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("periodic", [False, True])
def test_labels_are_those_of_tblites_own_calculator(method, periodic):
    frame = ammonia_ice() if periodic else tiny.frames("CH3OH")
    found = XTBOracle(method).label(frame)
    cell = frame.cell[0] if periodic else None
    atoms = Atoms(frame.numbers[0], frame.positions[0], cell=cell, pbc=periodic)
    atoms.calc = TBLite(method=method, verbosity=0)
    # ASE has the hartree and bohr of CODATA 2014: parts in 1e8 apart.
    assert found.energy[0] == pytest.approx(atoms.get_potential_energy(), rel=2e-8)
    np.testing.assert_allclose(found.forces[0], atoms.get_forces(), atol=2e-6)
    if periodic:
        np.testing.assert_allclose(found.stress[0], atoms.get_stress(voigt=False), atol=1e-7)
    else:
        assert found.stress is None


@pytest.mark.parametrize("method", METHODS)
def test_forces_and_stress_are_central_differences(method):
    frame, oracle = ammonia_ice(), XTBOracle(method, accuracy=0.01)
    found = oracle.label(frame)
    x, cell, width = frame.positions[0], frame.cell[0], 2.5e-4

    def slope(change):
        """∂E/∂λ as positions and cell change by λ times the change."""
        moved = [change(sign * width) for sign in (1, -1)]
        plus, minus = (oracle.label(Dataset(frame.numbers, [p], cell=c)).energy for p, c in moved)
        return (plus[0] - minus[0]) / (2 * width)

    random = np.random.default_rng(5)
    shift = random.normal(size=x.shape)
    assert slope(lambda s: (x + s * shift, cell)) == pytest.approx(
        -(found.forces[0] * shift).sum(), abs=2e-4
    )
    strain = random.normal(size=(3, 3))
    strain = 0.5 * (strain + strain.T)
    volume = abs(np.linalg.det(cell))
    by_strain = slope(lambda s: (x @ (np.eye(3) + s * strain), cell @ (np.eye(3) + s * strain)))
    assert by_strain / volume == pytest.approx((found.stress[0] * strain).sum(), abs=1e-5)
    assert np.abs(found.stress[0]).max() > 1e-3


def test_a_label_depends_on_its_frame_alone():
    frames = concatenate([tiny.frames("CH3OH", 2), tiny.frames("NH3")])
    oracle = XTBOracle()
    together, turned = oracle.label(frames), oracle.label(frames[[2, 1, 0]])
    np.testing.assert_array_equal(together.energy, turned.energy[::-1])
    np.testing.assert_array_equal(together.forces, turned.forces[::-1])
    assert not together.forces[2, 4:].any()  # padding


def test_level_of_theory_and_software_go_with_every_frame():
    found = XTBOracle("GFN1-xTB", charge=-1).label(Dataset([8, 1], [[[0, 0, 0], [0, 0, 0.97]]]))
    assert found.info["level_of_theory"][0].startswith("GFN1-xTB, charge -1, multiplicity 1")
    assert found.info["software"][0].startswith("tblite 0.")
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]])
    atoms.calc = TBLite(method="GFN1-xTB", charge=-1, verbosity=0)
    assert found.energy[0] == pytest.approx(atoms.get_potential_energy(), rel=2e-8)


def test_frames_that_fail_say_why_and_lose_no_other(capfd):
    water = tiny.frames("H2O").positions[0]
    numbers = [[8, 1, 1], [8, 1, 1], [100, 1, 1], [8, 1, 0], [8, 1, 1]]
    positions = np.repeat(water[None], 5, axis=0)
    positions[1, 2] = positions[1, 1]
    pbc = np.zeros((5, 3), dtype=bool)
    pbc[4, :2] = True
    frames = Dataset(numbers, positions, np.tile(9.0 * np.eye(3), (5, 1, 1)), pbc)
    found = XTBOracle().label(frames)
    reasons = found.info["label_error"].tolist()
    assert np.isfinite(found.energy).tolist() == [True, False, False, False, False]
    assert reasons[0] == ""
    assert "Too close interatomic distances" in reasons[1]
    assert "No support for elements with Z >86" in reasons[2]
    assert "9 electrons cannot have multiplicity 1; correct charge or multiplicity" in reasons[3]
    assert "periodic in 2 of 3 directions" in reasons[4]
    assert len(labelled_part(found)) == 1
    unconverged = XTBOracle(max_iterations=2).label(frames[0])
    assert "SCF not converged in 2 cycles" in unconverged.info["label_error"][0]
    assert capfd.readouterr() == ("", "")


def test_open_shells_have_a_multiplicity():
    radical = Dataset([8, 1], [[[0, 0, 0], [0, 0, 0.97]]])
    found = XTBOracle(multiplicity=2).label(radical)
    atoms = Atoms("OH", radical.positions[0])
    atoms.calc = TBLite(multiplicity=2, verbosity=0)
    assert found.energy[0] == pytest.approx(atoms.get_potential_energy(), rel=2e-8)


def test_it_can_be_sent_to_another_process():
    frames, oracle = tiny.frames("H2O", 2), XTBOracle(max_force=40.0)
    found = oracle.label(frames)
    copy = pickle.loads(pickle.dumps(oracle))
    np.testing.assert_array_equal(copy.label(frames).forces, found.forces)
    assert copy.identity == oracle.identity


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "GFN0-xTB"}, "method is 'GFN0-xTB'; expected one of GFN2-xTB, GFN1-xTB"),
        ({"accuracy": 0.0}, "accuracy is 0.0; give a positive number"),
        ({"multiplicity": 0}, "multiplicity is 0; give a positive number"),
        ({"threads": -1}, "threads is -1; give a positive number"),
        ({"max_force": -1.0}, "max_force is -1.0; give a positive number in eV/Å"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        XTBOracle(**settings)


def test_what_is_not_installed_is_named_with_its_remedy():
    with pytest.raises(DependencyError, match=r'run: pip install "uncv\[xtb\]"'):
        base.installed("no-such-program", "xtb", "no_such_program")


@pytest.mark.parametrize("method", METHODS)
def test_copper_iodide(data_dir, method):
    """γ-CuI: a crystal of heavy elements, by symmetry without forces and shear."""
    from uncv.io import read

    crystal = read(data_dir / "crystals" / "CuI_zincblende.xyz")
    found = XTBOracle(method).label(crystal)
    np.testing.assert_allclose(found.forces[0], 0.0, atol=1e-3)
    stress = found.stress[0]
    np.testing.assert_allclose(stress, np.eye(3) * stress[0, 0], atol=1e-5)
