"""The BKS potential of silica: against OpenMM's own Ewald sum, tables and central differences."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import openmm
import pytest
from scipy.optimize import minimize
from scipy.special import erfc

from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError, OracleError
from uncv.oracles import BKSSilica
from uncv.oracles.bks import COULOMB, reciprocal_space
from uncv.structures.quartz import alpha_quartz

TRICLINIC = np.array([[5.1, 0.3, -0.2], [-1.9, 4.6, 0.4], [0.5, -0.7, 5.6]])


@pytest.fixture
def oracle() -> BKSSilica:
    return BKSSilica(cutoff=6.0)


@pytest.fixture
def rattled(rng) -> Dataset:
    """Nine atoms in a cell without symmetry, some of them outside it."""
    quartz = alpha_quartz()
    fractions = quartz.positions[0] @ np.linalg.inv(quartz.cell[0])
    positions = fractions @ TRICLINIC + 0.05 * rng.normal(size=(9, 3))
    positions[4] += 2 * TRICLINIC[0] - TRICLINIC[2]
    return Dataset(quartz.numbers, positions[None], cell=TRICLINIC)


def repeated(frame: Dataset, repeat: tuple[int, int, int]) -> Dataset:
    """Copies of a frame; copy c of atom a at c · A + a."""
    shifts = np.array(list(itertools.product(*map(range, repeat)))) @ frame.cell[0]
    positions = (shifts[:, None] + frame.positions[0]).reshape(1, -1, 3)
    cell = frame.cell[0] * np.array(repeat)[:, None]
    return Dataset(np.tile(frame.numbers[0], len(shifts)), positions, cell=cell)


def short_range(r: float, oxygens: bool) -> float:
    """Buckingham and 30-6 terms as published, eV and Å."""
    a, b, c, epsilon, sigma = (
        (1388.7730, 2.76000, 175.0000, 0.00105105048, 1.779239)
        if oxygens
        else (18003.7572, 4.87318, 133.5381, 0.003097948, 1.313635)
    )
    x = sigma / r
    return a * np.exp(-b * r) - c / r**6 + 4 * epsilon * (x**30 - x**6)


def switched(r: float, cutoff: float) -> float:
    """A step of fifth order from 1 at 0.775 of the cutoff to 0 at the cutoff."""
    t = np.clip((r - 0.775 * cutoff) / (0.225 * cutoff), 0.0, 1.0)
    return 1 - 10 * t**3 + 15 * t**4 - 6 * t**5


@pytest.mark.parametrize("r", [0.9, 1.25, 1.6, 2.5, 2.8, 3.2])
def test_a_lone_molecule_is_the_published_formula(r):
    """O-Si-O has a quadrupole only; where x⁴ + y⁴ + z⁴ = 3/5, cubic images do not feel it."""
    cutoff = 6.0
    arrow = r * np.sqrt([0.5 + np.sqrt(0.05), 0.5 - np.sqrt(0.05), 0.0])
    positions = np.array([[0.0 * arrow, arrow, -arrow]])
    wide = Dataset([14, 8, 8], positions, cell=np.eye(3) * 36.0)
    found = BKSSilica(cutoff).label(wide).energy[0]
    coulomb = 14.399645 * (-2 * 2.4 * 1.2 / r + 1.2**2 / (2 * r))
    short = 2 * short_range(r, False) * switched(r, cutoff)
    short += short_range(2 * r, True) * switched(2 * r, cutoff)
    assert found == pytest.approx(coulomb + short, abs=3e-5)


@pytest.mark.parametrize("oxygens", [False, True])
def test_no_pair_falls_into_the_hole_of_the_buckingham_term(oxygens):
    r = np.linspace(0.5, 1.3, 200)
    energy = np.array([short_range(x, oxygens) for x in r])
    energy += 14.3996 * (1.44 if oxygens else -2.88) / r
    assert (np.diff(energy) < 0).all()


def test_copies_of_the_cell_change_nothing(oracle, rattled):
    one, many = oracle.label(rattled), oracle.label(repeated(rattled, (3, 1, 2)))
    assert many.energy[0] / 6 == pytest.approx(one.energy[0], rel=1e-12)
    np.testing.assert_allclose(many.forces[0], np.tile(one.forces[0], (6, 1)), atol=1e-9)
    np.testing.assert_allclose(many.stress, one.stress, atol=1e-12)


def test_equal_to_openmm_with_particle_mesh_ewald(rng):
    """In 576 atoms the cutoff is less than half the cell, and OpenMM needs no images."""
    crystal = alpha_quartz((2, 2, 2))
    moved = crystal.positions + 0.1 * rng.normal(size=crystal.positions.shape)
    small = Dataset(crystal.numbers, moved, cell=crystal.cell)
    large, oracle = repeated(small, (2, 2, 2)), BKSSilica()
    system = oracle.make_system(large)
    system.getForce(0).setPMEParameters(5.0, 64, 64, 64)
    context = openmm.Context(
        system, openmm.VerletIntegrator(1e-3), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(large.positions[0] / 10)
    state = context.getState(getEnergy=True, getForces=True)
    electronvolt = 96.48533212331  # kJ/mol
    energy = state.getPotentialEnergy()._value / electronvolt
    forces = np.asarray(state.getForces(asNumpy=True)._value) / electronvolt / 10
    labelled = oracle.label(small)
    assert 8 * labelled.energy[0] == pytest.approx(energy, rel=1e-6)
    np.testing.assert_allclose(np.tile(labelled.forces[0], (8, 1)), forces, atol=1e-3)


@pytest.mark.parametrize("alpha", [1.5, 3.0])
def test_charges_give_the_madelung_constant_of_rock_salt(alpha):
    """1.747564594633 with the distance of neighbours, 1 Å here, whatever α is."""
    corners = np.array(list(itertools.product((0, 1), repeat=3)))
    charges = 1.0 - 2.0 * (corners.sum(axis=1) % 2)
    smooth = reciprocal_space(charges, corners.astype(float), 2.0 * np.eye(3), alpha)
    pairs = 0.0
    for shift in itertools.product((-4, -2, 0, 2, 4), repeat=3):
        r = np.linalg.norm(corners[:, None] - corners - shift, axis=-1)
        r[r == 0] = np.inf
        pairs += 0.5 * (np.outer(charges, charges) * erfc(alpha * r) / r).sum()
    own = -alpha / np.sqrt(np.pi) * (charges**2).sum()
    assert (smooth.energy / COULOMB + pairs + own) / 4 == pytest.approx(-1.747564594633, abs=1e-8)
    np.testing.assert_allclose(smooth.forces, 0.0, atol=1e-9)


def test_forces_are_central_differences_of_the_energy(oracle, rattled):
    step, forces = 1e-4, oracle.label(rattled).forces[0]
    for atom, axis in [(0, 0), (4, 1), (8, 2)]:
        moved = np.repeat(rattled.positions, 2, axis=0)
        moved[:, atom, axis] += [step, -step]
        plus, minus = oracle.label(Dataset(rattled.numbers[0], moved, TRICLINIC)).energy
        assert forces[atom, axis] == pytest.approx(-(plus - minus) / (2 * step), abs=1e-6)


def test_stress_is_central_differences_by_strain(oracle, rattled):
    step, volume = 1e-4, abs(np.linalg.det(TRICLINIC))
    stress = oracle.label(rattled).stress[0]
    np.testing.assert_allclose(stress, stress.T, atol=1e-12)
    for i, j in [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]:
        strain = np.zeros((3, 3))
        strain[i, j] += step / 2
        strain[j, i] += step / 2
        energies = [
            oracle.label(
                Dataset(rattled.numbers, rattled.positions @ m, cell=rattled.cell @ m)
            ).energy[0]
            for m in (np.eye(3) + strain, np.eye(3) - strain)
        ]
        slope = (energies[0] - energies[1]) / (2 * step)
        assert stress[i, j] == pytest.approx(slope / volume, abs=1e-7)


def test_invariances(oracle, rattled, rng):
    """Rotation with reflection, translation, another choice of cell vectors, other order."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn[:, 0] *= -np.sign(np.linalg.det(turn))
    choice = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]])
    order = np.array([0, 2, 1, 8, 7, 6, 3, 4, 5])
    positions = (rattled.positions[:, order] + [1.0, 2.0, 3.0]) @ turn
    other = Dataset(rattled.numbers[:, order], positions, cell=choice @ TRICLINIC @ turn)
    one, same = oracle.label(rattled), oracle.label(other)
    assert same.energy[0] == pytest.approx(one.energy[0], rel=1e-11)
    np.testing.assert_allclose(same.forces[0], one.forces[0][order] @ turn, atol=1e-8)
    np.testing.assert_allclose(same.stress[0], turn.T @ one.stress[0] @ turn, atol=1e-10)


def test_quartz_relaxes_to_the_published_cell():
    """van Beest, Kramer and van Santen print a = 4.941 Å, c = 5.449 Å; measured 4.916, 5.405."""
    quartz, oracle = alpha_quartz(), BKSSilica()
    shape = quartz.cell[0] / np.array([4.916, 4.916, 5.4054])[:, None]
    fractions = quartz.positions[0] @ np.linalg.inv(quartz.cell[0])

    def energy(values):
        cell = shape * np.array([values[0], values[0], values[1]])[:, None]
        inside = values[2:].reshape(9, 3)
        labels = oracle.compute(Dataset(quartz.numbers, [inside @ cell], cell=cell))
        pull = labels.stress * np.linalg.det(cell)
        sides = [(pull[0, 0] + pull[1, 1]) / values[0], pull[2, 2] / values[1]]
        return labels.energy, np.concatenate([sides, (-labels.forces @ cell.T).ravel()])

    start = np.concatenate([[4.916, 5.4054], fractions.ravel()])
    found = minimize(energy, start, jac=True, method="BFGS", options={"gtol": 1e-4})
    assert found.success
    np.testing.assert_allclose(found.x[:2], [4.941, 5.449], rtol=0.003)


def test_quartz_is_quartz():
    """2.65 g/cm³, four oxygen atoms around each silicon, at 1.605 and 1.614 Å."""
    crystal = alpha_quartz((2, 2, 2))
    volume = np.linalg.det(crystal.cell[0])
    assert 24 * 60.084 / 0.602214 / volume == pytest.approx(2.65, abs=0.01)
    arrows = crystal.positions[0, :24, None] - crystal.positions[0, 24:]
    fractions = arrows @ np.linalg.inv(crystal.cell[0])
    r = np.sort(np.linalg.norm((fractions - np.round(fractions)) @ crystal.cell[0], axis=-1))
    np.testing.assert_allclose(r[:, :4], [[1.605, 1.605, 1.614, 1.614]] * 24, atol=1e-3)
    assert (r[:, 4] > 3.0).all()
    with pytest.raises(ConfigError, match=r"repeat is \(2, 0, 2\)"):
        alpha_quartz((2, 0, 2))


def test_a_batch_is_its_frames_and_a_failed_one_has_no_stress(oracle, rattled):
    poor = Dataset(rattled.numbers, rattled.positions)
    water = Dataset([8, 1, 1], np.eye(3)[None], cell=np.eye(3) * 9)
    larger = repeated(rattled, (2, 1, 1))
    before = rattled.positions.copy()
    labelled = oracle.label(concatenate([rattled, poor, water, larger]))
    np.testing.assert_array_equal(labelled.stress[0], oracle.label(rattled).stress[0])
    np.testing.assert_array_equal(labelled.forces[0, :9], oracle.label(rattled).forces[0])
    np.testing.assert_array_equal(labelled.forces[0, 9:], 0.0)
    np.testing.assert_array_equal(rattled.positions, before)
    assert np.isnan(labelled.stress[1:3]).all()
    assert np.isfinite(labelled.stress[3]).all()
    assert "periodic in all directions" in labelled.info["label_error"][1]
    assert set(labelled.info["level_of_theory"]) == {"BKS silica with 30-6 term, 6 Å"}


def test_an_oracle_can_be_sent_to_another_process(oracle, rattled):
    labelled = oracle.label(rattled)
    copy = pickle.loads(pickle.dumps(oracle)).label(rattled)
    np.testing.assert_array_equal(copy.stress, labelled.stress)


def test_what_is_not_silica_is_refused(oracle, rattled):
    with pytest.raises(OracleError, match="for SiO2, the frame has 3 Si, 5 O and 1 other atoms"):
        oracle.compute(Dataset([14] * 3 + [8] * 5 + [1], rattled.positions, cell=TRICLINIC))
    with pytest.raises(OracleError, match="has 4 Si, 5 O and 0 other"):
        oracle.compute(Dataset([14] * 4 + [8] * 5, rattled.positions, cell=TRICLINIC))
    with pytest.raises(OracleError, match="OpenMM refuses the cell; rotate and reduce it"):
        oracle.make_system(rattled)
    with pytest.raises(ConfigError, match="cutoff is -1; give a positive distance in Å"):
        BKSSilica(cutoff=-1)
