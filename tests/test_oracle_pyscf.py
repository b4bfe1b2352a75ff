"""Labels of PySCF: direct calls, central differences, dispersion by its own library, failures."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tiny
from pyscf import dft, gto, scf

from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError
from uncv.oracles import PySCFOracle, ScfSettings

HARTREE, BOHR = 27.211386245988, 0.529177210903
HYDROGEN = Dataset([1, 1], [[[0.0, 0.0, 0.0], [0.1, 0.0, 0.8]]])


def directly(data: Dataset, basis: str, field, row: int = 0, **options) -> float:
    """The energy in eV of a frame by a mean field of PySCF."""
    atoms = [(int(z), tuple(x / BOHR)) for z, x in zip(data.numbers[row], data.positions[row],
             strict=True)]  # fmt: skip
    mean_field = field(gto.M(atom=atoms, unit="Bohr", basis=basis, verbose=0, **options))
    mean_field.conv_tol = 1e-11
    energy = mean_field.kernel()
    mean_field._chkfile.close()
    return energy * HARTREE


@pytest.mark.parametrize(
    ("oracle", "field"),
    [
        (PySCFOracle("hf", "sto-3g"), scf.RHF),
        (PySCFOracle("pbe", "sto-3g"), lambda m: dft.RKS(m, xc="pbe")),
        (PySCFOracle("b3lyp", "6-31g", settings=ScfSettings(density_fit=True)),
         lambda m: dft.RKS(m, xc="b3lyp").density_fit()),
    ],
    ids=["hf", "pbe", "density_fit"],
)  # fmt: skip
def test_energy_and_forces_are_those_of_pyscf(oracle, field):
    found = oracle.label(HYDROGEN)
    assert found.energy[0] == pytest.approx(directly(HYDROGEN, oracle.basis, field), abs=1e-6)
    step = 1e-3
    for axis in (0, 2):
        moved = np.repeat(HYDROGEN.positions, 2, axis=0)
        moved[:, 1, axis] += [step, -step]
        pair = Dataset(HYDROGEN.numbers[0], moved)
        plus, minus = (directly(pair, oracle.basis, field, row) for row in range(2))
        # The forces leave out the response of the grid.
        assert found.forces[0, 1, axis] == pytest.approx(-(plus - minus) / (2 * step), abs=1e-3)
    np.testing.assert_allclose(found.forces[0].sum(axis=0), 0.0, atol=1e-3)
    assert found.stress is None


@pytest.mark.parametrize("dispersion", ["d3bj", "d4"])
def test_dispersion_is_added_to_energy_and_forces(dispersion):
    from pyscf.dispersion import dftd3, dftd4

    far = Dataset([1, 1], [[[0.0, 0.0, 0.0], [0.0, 0.0, 2.5]]])
    plain = PySCFOracle("pbe", "sto-3g").label(far)
    found = PySCFOracle("pbe", "sto-3g", dispersion).label(far)
    molecule = gto.M(atom="H 0 0 0; H 0 0 2.5", basis="sto-3g", verbose=0)
    make = dftd3.DFTD3Dispersion if dispersion == "d3bj" else dftd4.DFTD4Dispersion
    version = {"version": "d3bj"} if dispersion == "d3bj" else {}
    expected = make(molecule, xc="pbe", **version).get_dispersion(grad=True)
    energy = expected["energy"] * HARTREE
    assert energy < -1e-4
    assert found.energy[0] - plain.energy[0] == pytest.approx(energy, abs=1e-7)
    np.testing.assert_allclose(
        found.forces[0] - plain.forces[0], -expected["gradient"] * HARTREE / BOHR, atol=1e-6
    )
    assert found.info["level_of_theory"][0] == (
        f"pbe-{dispersion}/sto-3g, charge 0, multiplicity 1, grid 3"
    )
    assert "pyscf-dispersion" in found.info["software"][0]


def test_charge_and_multiplicity():
    cation = PySCFOracle("hf", "sto-3g", charge=1, multiplicity=2).label(HYDROGEN)
    expected = directly(HYDROGEN, "sto-3g", scf.UHF, charge=1, spin=1)
    assert cation.energy[0] == pytest.approx(expected, abs=1e-6)


def test_heavy_elements_have_the_core_potential_of_their_basis():
    """Valence functions with all electrons, as PySCF does unasked, would be far off."""
    iodide = Dataset([1, 53], [[[0.0, 0.0, 0.0], [0.0, 0.0, 1.61]]])
    found = PySCFOracle("hf", "def2-svp").label(iodide)
    expected = directly(iodide, "def2-svp", scf.RHF, ecp={"I": "def2-svp"})
    assert found.energy[0] == pytest.approx(expected, abs=1e-5)
    assert found.energy[0] > -1e4  # eV: 25 + 1 electrons, not 54


def test_frames_that_fail_say_why_and_lose_no_other(capfd):
    helium = Dataset([2, 1], HYDROGEN.positions)
    uranium = Dataset([92, 92], 3.0 * HYDROGEN.positions)
    periodic = Dataset([1, 1], HYDROGEN.positions, cell=9.0 * np.eye(3))
    found = PySCFOracle("hf", "6-31g").label(concatenate([helium, HYDROGEN, uranium, periodic]))
    reasons = found.info["label_error"]
    assert np.isfinite(found.energy).tolist() == [False, True, False, False]
    assert "Electron number 3 and spin 0 are not consistent" in reasons[0]
    assert "Basis set not found for U" in reasons[2]
    assert "the frame is periodic; use xtb or ase" in reasons[3]
    assert capfd.readouterr() == ("", "")


def test_a_field_that_does_not_converge_gives_no_label():
    water = tiny.frames("H2O")
    found = PySCFOracle("hf", "sto-3g", settings=ScfSettings(max_cycles=2)).label(water)
    assert np.isnan(found.energy[0])
    assert "the field has not converged in 2 cycles" in found.info["label_error"][0]


def test_it_can_be_sent_to_another_process_and_repeats_itself():
    water, oracle = tiny.frames("H2O"), PySCFOracle("pbe", "sto-3g")
    first, again = oracle.label(water), oracle.label(water)
    copy = pickle.loads(pickle.dumps(oracle)).label(water)
    for other in (again, copy):
        np.testing.assert_array_equal(first.energy, other.energy)
        np.testing.assert_array_equal(first.forces, other.forces)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"functional": "pbee"}, "PySCF knows no functional 'pbee'; expected a name of libxc"),
        ({"functional": ""}, "PySCF knows no functional ''"),
        ({"basis": "def3-svp"}, "PySCF knows no basis 'def3-svp'; expected a name such as"),
        ({"dispersion": "d2"}, "dispersion is 'd2'; expected 'd3bj', 'd4' or None"),
        ({"multiplicity": 0}, "multiplicity is 0; give 1 or more"),
    ],
)
def test_names_are_checked_before_anything_is_labelled(given, message):
    with pytest.raises(ConfigError, match=message):
        PySCFOracle(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_cycles": 0}, "max_cycles is 0; give a positive number"),
        ({"threads": 0}, "threads is 0; give a positive number"),
        ({"grid_level": 12}, "grid_level is 12; give a level from 0 to 9"),
    ],
)
def test_settings_are_checked(given, message):
    with pytest.raises(ConfigError, match=message):
        ScfSettings(**given)


@pytest.mark.slow
def test_ethanol_agrees_with_published_labels(data_dir):
    """rMD17 has PBE/def2-SVP by another program with tight settings."""
    from uncv.io import read

    frame = read(data_dir / "rmd17" / "rmd17_ethanol_test_01.xyz", slice(0, 1))
    settings = ScfSettings(density_fit=True)
    found = PySCFOracle("pbe", "def2-svp", settings=settings).label(frame)
    assert found.energy[0] == pytest.approx(frame.energy[0], abs=0.02)
    np.testing.assert_allclose(found.forces, frame.forces, atol=5e-3)
