"""ALmoMD's acceptance at the published points, and its uncertainty quantities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny
import tiny_morse

from uncv.acceptance import (
    Acceptance,
    BoltzmannFactor,
    EnergyFactor,
    UncertaintyFactor,
    make_acceptance,
)
from uncv.acceptance_spread import (
    committee_spread,
    energy_spread,
    max_force_spread,
    mean_force_spread,
)
from uncv.anharmonicity import HarmonicModel, anharmonicity
from uncv.config.selection import AcceptanceConfig
from uncv.data import Dataset
from uncv.errors import DataError

KB = 8.617333262e-5  # eV/K


@pytest.fixture
def acceptance(rng) -> Acceptance:
    """Ū = 3, σ_U = 0.5; Ē = −100, σ_E = 2."""
    u, e = rng.normal(size=(2, 40))
    standard = [(x - x.mean()) / x.std(ddof=1) for x in (u, e)]
    return Acceptance.from_reference(3.0 + 0.5 * standard[0], -100.0 + 2.0 * standard[1])


@pytest.mark.parametrize(
    ("sigmas", "expected"), [(1.0, 0.001), (1.5, 0.057), (2.0, 0.5), (2.5, 0.943), (3.0, 0.999)]
)
def test_uncertainty_at_the_published_points(acceptance, sigmas, expected):
    """At low energy, where the other factor is 1."""
    assert acceptance.probability(3.0 + 0.5 * sigmas, -110.0) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("sigmas", "expected"), [(-3.0, 1.0), (0.0, 1.0), (1.0, 1.0), (1.8, 0.2), (2.6, 0.04)]
)
def test_energy_at_the_published_points(acceptance, sigmas, expected):
    """At high uncertainty, where the other factor is 1."""
    assert acceptance.probability(10.0, -100.0 + 2.0 * sigmas) == pytest.approx(expected, rel=1e-6)


def test_uncertainty_is_an_error_function(rng):
    mean, std, s, g = 0.3, 0.2, 1.4, 0.7
    for u in rng.uniform(-1.0, 2.0, 20):
        argument = (u - mean - s * std) / (g * std * math.sqrt(0.2))
        expected = 0.5 * (1.0 + math.erf(argument))
        assert UncertaintyFactor(mean, std, s, g)(u) == pytest.approx(expected, abs=1e-14)


def test_one_rises_and_the_other_falls(acceptance):
    steps = np.linspace(-4.0, 6.0, 200)
    rising = acceptance.uncertainty(3.0 + 0.5 * steps)
    falling = acceptance.energy(-100.0 + 2.0 * steps)
    assert (np.diff(rising) >= 0).all()
    assert (np.diff(falling) <= 0).all()
    strictly = (steps[1:] > 1.0) & (steps[1:] < 4.0)
    assert (np.diff(rising)[strictly] > 0).all()
    assert (np.diff(falling)[steps[1:] > 1.1] < 0).all()


def test_probability_is_the_product(acceptance, rng):
    u, e = rng.normal(3.0, 1.0, 50), rng.normal(-98.0, 3.0, 50)
    expected = acceptance.uncertainty(u) * acceptance.energy(e)
    np.testing.assert_array_equal(acceptance.probability(u, e), expected)


def test_boltzmann_factor_by_its_formula():
    for energy in (-1.2, -1.0, -0.95, -0.5):
        expected = min(1.0, math.exp(-(energy + 1.0) / (KB * 500.0)))
        assert BoltzmannFactor(-1.0, 500.0)(energy) == pytest.approx(expected, rel=1e-9)
    made = Acceptance.from_reference([0.0, 1.0], [-3.0, -1.0], temperature=500.0)
    assert made.energy == BoltzmannFactor(-2.0, 500.0)
    assert BoltzmannFactor(0.0, 300.0)(-1e6) == 1.0


def test_accepted_share_is_the_probability(acceptance):
    u, e = np.full(20_000, 3.0 + 0.5 * 2.1), np.full(20_000, -100.0 + 2.0 * 1.3)
    chance = float(acceptance.probability(u, e)[0])
    accepted = acceptance.accept(u, e, seed=4)
    error = np.sqrt(chance * (1 - chance) / len(u))
    assert accepted.mean() == pytest.approx(chance, abs=4 * error)
    np.testing.assert_array_equal(accepted, acceptance.accept(u, e, seed=4))
    assert (accepted != acceptance.accept(u, e, seed=5)).any()


def test_sure_and_hopeless_frames(acceptance):
    u, e = [20.0, 0.0, 20.0], [-100.0, -100.0, np.inf]
    assert acceptance.accept(u, e, seed=0).tolist() == [True, False, False]


def test_energy_spread_is_a_standard_deviation(rng):
    energies = rng.normal(size=(4, 6))
    expected = np.sqrt(np.sum((energies - energies.mean(axis=0)) ** 2, axis=0) / 3)
    np.testing.assert_allclose(energy_spread(energies), expected)


def test_force_spreads_by_loops(rng):
    forces = rng.normal(size=(3, 2, 4, 3))
    mask = np.array([[True] * 4, [True, True, True, False]])
    for frame, atoms in enumerate((4, 3)):
        own = []
        for atom in range(atoms):
            apart = forces[:, frame, atom] - forces[:, frame, atom].mean(axis=0)
            own.append(np.sqrt(np.sum(apart**2) / (3 * 2)))
        assert mean_force_spread(forces, mask)[frame] == pytest.approx(np.mean(own))
        assert max_force_spread(forces, mask)[frame] == pytest.approx(np.max(own))
    np.testing.assert_allclose(max_force_spread(forces)[0], max_force_spread(forces, mask)[0])


def test_committee_of_a_potential():
    potential, data = tiny.potential(), tiny.mixed()
    said = potential.evaluate(data, member_forces=True)
    found = committee_spread(potential, data, "energy")
    np.testing.assert_allclose(found, said.energies.std(axis=0, ddof=1))
    largest = committee_spread(potential, data, "max_force")
    means = committee_spread(potential, data, "mean_force")
    spread = said.member_forces.std(axis=0, ddof=1)
    expected = np.sqrt((spread**2).mean(axis=2))
    np.testing.assert_allclose(largest, expected.max(axis=1))
    np.testing.assert_allclose(means, expected.sum(axis=1) / data.frame_atoms)


def test_committee_of_a_crystal(rng):
    potential = tiny_morse.cv().potential
    atoms = tiny_morse.crystal(0.0)
    springs = np.kron(np.eye(4) - 0.25, 2.0 * np.eye(3)).reshape(4, 3, 4, 3).transpose(0, 2, 1, 3)
    model = HarmonicModel(atoms.positions, atoms.cell.array, springs)
    moved = atoms.positions + 0.1 * rng.normal(size=(3, 4, 3))
    frames = Dataset(atoms.numbers, moved, cell=atoms.cell.array)
    members = potential.evaluate(frames, member_forces=True).member_forces
    values = [anharmonicity(f, model.forces(frames)).frames for f in members]
    found = committee_spread(potential, frames, "anharmonicity", model)
    np.testing.assert_allclose(found, np.std(values, axis=0, ddof=1))
    assert (found > 0).all()
    with pytest.raises(DataError, match="pass a HarmonicModel"):
        committee_spread(potential, frames, "anharmonicity")


def test_wrong_references_are_named():
    with pytest.raises(DataError, match=r"uncertainty of the reference set has shape \(1,\)"):
        Acceptance.from_reference([1.0], [1.0])
    with pytest.raises(DataError, match="energy of the reference set holds NaN"):
        Acceptance.from_reference([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(DataError, match="uncertainty of all 2 reference frames is the same"):
        Acceptance.from_reference([1.0, 1.0], [1.0, 2.0])


def test_wrong_values_are_named(acceptance):
    with pytest.raises(DataError, match="one of each for every frame"):
        acceptance.probability([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="an uncertainty or energy is NaN"):
        acceptance.accept([np.nan], [1.0], seed=0)
    with pytest.raises(ValueError, match="std is 0"):
        EnergyFactor(0.0, 0.0)
    with pytest.raises(ValueError, match=r"g is -1\.0; expected a positive number"):
        UncertaintyFactor(0.0, 1.0, g=-1.0)
    with pytest.raises(ValueError, match="temperature is 0"):
        BoltzmannFactor(0.0, 0.0)


def test_wrong_members_are_named():
    with pytest.raises(ValueError, match="unknown quantity 'stress'; choose one of energy"):
        committee_spread(tiny.potential(), tiny.frames(), "stress")
    with pytest.raises(DataError, match="with at least 2 members"):
        committee_spread(tiny.potential(members=1), tiny.frames(), "energy")
    with pytest.raises(DataError, match=r"the mask has shape \(1, 2\); expected \(1, 3\)"):
        max_force_spread(np.zeros((2, 1, 3, 3)), [[True, True]])


def test_acceptance_of_a_configuration():
    u, e = [0.0, 1.0], [-3.0, -1.0]
    assert make_acceptance(AcceptanceConfig(), u, e, 300.0) is None
    given = AcceptanceConfig(kind="almomd", s=1.5, g=2.0)
    assert make_acceptance(given, u, e, 300.0) == Acceptance.from_reference(u, e, s=1.5, g=2.0)
    given = AcceptanceConfig(kind="boltzmann")
    assert make_acceptance(given, u, e, 300.0).energy == BoltzmannFactor(-2.0, 300.0)
    given = AcceptanceConfig(kind="boltzmann", temperature_k=700.0)
    assert make_acceptance(given, u, e, 300.0).energy == BoltzmannFactor(-2.0, 700.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "almomd", "temperature_k": 300.0}, "temperature_k is for kind boltzmann"),
        ({"kind": "almomd", "force_constants": "x.yaml"}, "for the quantity anharmonicity"),
        ({"kind": "metropolis"}, "'none', 'almomd' or 'boltzmann'"),
    ],
)
def test_wrong_configurations_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        AcceptanceConfig.model_validate(given)
