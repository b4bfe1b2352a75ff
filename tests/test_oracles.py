"""Oracles and reference dynamics: values, units, failures that cost one label only."""

from __future__ import annotations

import pickle

import numpy as np
import openmm
import pytest
from openmm import app, unit

from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError, OracleError
from uncv.oracles import FrameOracle, OpenMMForceField
from uncv.oracles.base import Labels
from uncv.reference import ReferenceSettings, reference_md

AMBER = "amber14/protein.ff14SB.xml"


@pytest.fixture
def oracle(alanine) -> OpenMMForceField:
    return OpenMMForceField(alanine.topology, AMBER)


@pytest.fixture
def rattled(alanine, rng) -> Dataset:
    noise = 0.05 * rng.normal(size=(3, *alanine.start.positions.shape[1:]))
    return Dataset(alanine.start.numbers[0], alanine.start.positions + noise)


class Springs(FrameOracle):
    """E = Σ|x|²/2, failing as the first coordinate of the frame says."""

    def compute(self, frame):
        x = frame.positions[0]
        if x[0, 0] == 7.0:
            raise ValueError("no convergence in 50 cycles")
        return Labels(np.nan if x[0, 0] == 8.0 else 0.5 * (x**2).sum(), -x)


def test_energy_equals_openmm_asked_directly(alanine, oracle, rattled):
    system = app.ForceField(AMBER).createSystem(alanine.topology)
    context = openmm.Context(
        system, openmm.VerletIntegrator(1e-3), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(rattled.positions[1] * unit.angstrom)
    state = context.getState(getEnergy=True, getForces=True)
    joule = state.getPotentialEnergy().value_in_unit(unit.joule / unit.mole)
    newton = state.getForces(asNumpy=True).value_in_unit(unit.joule / unit.mole / unit.meter)
    # 1 eV is 1.602176634e-19 J, and a mole 6.02214076e23.
    electronvolt = 1.602176634e-19 * 6.02214076e23
    labelled = oracle.label(rattled)
    assert labelled.energy[1] == pytest.approx(joule / electronvolt, rel=1e-9)
    np.testing.assert_allclose(labelled.forces[1], newton * 1e-10 / electronvolt, rtol=1e-7)


def test_forces_are_central_differences_of_the_energy(oracle, rattled):
    step, frame = 1e-4, rattled[0]
    forces = oracle.label(frame).forces[0]
    for atom, axis in [(1, 0), (8, 1), (16, 2)]:
        moved = np.repeat(frame.positions, 2, axis=0)
        moved[:, atom, axis] += [step, -step]
        plus, minus = oracle.label(Dataset(frame.numbers[0], moved)).energy
        assert forces[atom, axis] == pytest.approx(-(plus - minus) / (2 * step), abs=1e-6)


def test_a_batch_is_its_frames_and_input_is_unchanged(oracle, rattled):
    before = rattled.positions.copy()
    together = oracle.label(rattled)
    alone = concatenate([oracle.label(rattled[i]) for i in range(3)])
    np.testing.assert_array_equal(together.energy, alone.energy)
    np.testing.assert_array_equal(together.forces, alone.forces)
    np.testing.assert_array_equal(rattled.positions, before)
    assert rattled.energy is None


def test_level_of_theory_is_recorded(oracle, rattled):
    labelled = oracle.label(rattled)
    assert labelled.info["level_of_theory"].tolist() == ["OpenMM protein.ff14SB.xml"] * 3
    assert labelled.info["label_error"].tolist() == [""] * 3


def test_a_failing_frame_loses_no_other():
    positions = np.zeros((5, 2, 3))
    positions[:, 0, 0] = [1.0, 7.0, 2.0, 8.0, 40.0]
    labelled = Springs("springs", max_force=30.0).label(Dataset([1, 1], positions))
    np.testing.assert_allclose(labelled.energy, [0.5, np.nan, 2.0, np.nan, np.nan])
    assert np.isnan(labelled.forces[[1, 3, 4]]).all()
    np.testing.assert_allclose(labelled.forces[[0, 2], 0, 0], [-1.0, -2.0])
    errors = labelled.info["label_error"]
    assert errors[[0, 2]].tolist() == ["", ""]
    assert errors[1] == "ValueError: no convergence in 50 cycles"
    assert "NaN or infinite" in errors[3]
    assert "largest force is 40 eV/Å, the limit is 30 eV/Å" in errors[4]


def test_padding_carries_zero_force():
    labelled = Springs("springs").label(Dataset([[1, 1, 0]], np.ones((1, 3, 3))))
    np.testing.assert_array_equal(labelled.forces[0], [[-1.0] * 3, [-1.0] * 3, [0.0] * 3])


def test_atoms_on_top_of_each_other_are_a_failure(oracle, rattled):
    positions = rattled.positions.copy()
    positions[1, 21] = positions[1, 0]
    labelled = oracle.label(Dataset(rattled.numbers, positions))
    assert np.isfinite(labelled.energy).tolist() == [True, False, True]
    assert labelled.info["label_error"][1] != ""


def test_another_molecule_is_refused(oracle):
    water = Dataset([8, 1, 1], np.eye(3)[None])
    with pytest.raises(OracleError, match="3 atoms that are not, or not in the order of, the 22"):
        oracle.compute(water)
    assert "OracleError" in oracle.label(water).info["label_error"][0]


def test_force_fields_that_do_not_fit(alanine):
    with pytest.raises(ConfigError, match=r"tip3p.xml cannot describe this structure: .*ACE"):
        OpenMMForceField(alanine.topology, "amber14/tip3p.xml")
    with pytest.raises(ConfigError, match=r"nothing\.xml"):
        OpenMMForceField(alanine.topology, "nothing.xml")


@pytest.mark.parametrize("limit", [0.0, -3.0, np.nan])
def test_max_force_is_positive(limit):
    with pytest.raises(ConfigError, match="give a positive number in eV/Å"):
        Springs("springs", max_force=limit)


def test_an_oracle_can_be_sent_to_another_process(oracle, rattled):
    copy = pickle.loads(pickle.dumps(oracle))
    np.testing.assert_array_equal(copy.label(rattled).energy, oracle.label(rattled).energy)


def test_a_periodic_topology_uses_the_cell_of_the_frame():
    from openmm.app import Element, Topology

    topology = Topology()
    chain = topology.addChain()
    residue = topology.addResidue("HOH", chain)
    names = [("O", "O"), ("H1", "H"), ("H2", "H")]
    atoms = [topology.addAtom(n, Element.getBySymbol(s), residue) for n, s in names]
    topology.addBond(atoms[0], atoms[1])
    topology.addBond(atoms[0], atoms[2])
    topology.setPeriodicBoxVectors(np.eye(3) * 2.0)
    positions = np.array([[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]])
    oracle = OpenMMForceField(topology, "amber14/tip3p.xml")
    cells = [np.eye(3) * 20.0, np.eye(3) * 25.0]
    small, large = (oracle.label(Dataset([8, 1, 1], positions, cell=c)) for c in cells)
    assert np.isfinite(small.energy[0])
    assert small.energy[0] != large.energy[0]
    wrapped = positions + np.array([[20.0, 0, 0], [0, 0, 0], [0, 0, 0]])
    moved = Dataset([8, 1, 1], wrapped, cell=cells[0])
    assert oracle.label(moved).energy[0] == pytest.approx(small.energy[0], abs=1e-4)
    assert "no cell" in oracle.label(Dataset([8, 1, 1], positions)).info["label_error"][0]


def test_reference_dynamics_are_hot_labelled_and_repeatable(alanine):
    settings = ReferenceSettings(frames=40, stride=25, equilibration=500)
    run = reference_md(alanine.topology, (AMBER,), alanine.start, settings, seed=1)
    again = reference_md(alanine.topology, (AMBER,), alanine.start, settings, seed=1)
    other = reference_md(alanine.topology, (AMBER,), alanine.start, settings, seed=2)
    np.testing.assert_array_equal(run.positions, again.positions)
    assert not np.allclose(run.positions, other.positions)
    run.require("energy", "forces")
    assert run.info["step"].tolist() == list(range(525, 1501, 25))
    np.testing.assert_allclose(run.positions.mean(axis=1), 0.0, atol=1e-9)
    # Equipartition: 60 internal coordinates hold about 60 · kT/2 = 3.1 eV above the minimum.
    start = OpenMMForceField(alanine.topology, AMBER).label(alanine.start).energy[0]
    assert 1.5 < run.energy.mean() - start < 5.0


def test_heavier_hydrogen_keeps_the_mass_of_the_molecule(oracle):
    def masses(system):
        return np.array([system.getParticleMass(i)._value for i in range(22)])

    plain, heavy = masses(oracle.make_system()), masses(oracle.make_system(hydrogen_mass=4.0))
    assert heavy[0] == pytest.approx(4.0)
    assert heavy.sum() == pytest.approx(plain.sum())


def test_reference_settings_are_checked():
    with pytest.raises(ConfigError, match="stride is 0; give a positive number"):
        ReferenceSettings(stride=0)
