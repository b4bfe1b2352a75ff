"""Dihedrals, coverage and free-energy maps against formulas and counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from uncv.analysis import (
    accessible_coverage,
    coverage,
    coverage_series,
    dihedrals,
    expected_coverage,
    ramachandran,
)
from uncv.data import Dataset
from uncv.errors import DataError
from uncv.units import ANGSTROM_IN_NM


def torsion(a, b, c, d) -> float:
    """The textbook formula: atan2(|b2| b1·(b2×b3), (b1×b2)·(b2×b3))."""
    b1, b2, b3 = b - a, c - b, d - c
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    return float(np.arctan2(np.linalg.norm(b2) * b1 @ n2, n1 @ n2))


def test_dihedrals_follow_the_formula(rng):
    positions = rng.normal(size=(20, 6, 3)) + 1000.0  # far away: rounding must not matter
    atoms = [(0, 1, 2, 3), (5, 3, 1, 0)]
    data = Dataset(numbers=[6] * 6, positions=positions)
    expected = [[torsion(*frame[list(q)]) for q in atoms] for frame in positions]
    np.testing.assert_allclose(dihedrals(data, atoms), expected, atol=2e-5)
    assert dihedrals(data, atoms[0]).shape == (20, 1)
    assert dihedrals(data[[]], atoms).shape == (0, 2)


def test_shipped_molecule_is_the_l_form_in_c7eq(alanine):
    """The published minimum of AMBER in vacuum is C7eq, (−79°, 54°)."""
    phi, psi = np.degrees(dihedrals(alanine.start))[0]
    assert phi == pytest.approx(-79.0, abs=10.0)
    assert psi == pytest.approx(54.0, abs=10.0)
    nitrogen, carbon, beta = alanine.start.positions[0][[6, 14, 10]] - alanine.start.positions[0, 8]
    assert np.dot(np.cross(nitrogen, carbon), beta) > 0.0  # CORN rule: L


def test_shipped_molecule_is_a_minimum_of_amber(alanine):
    import openmm
    from openmm import app, unit

    system = app.ForceField("amber14-all.xml").createSystem(alanine.topology)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(alanine.start.positions[0] * ANGSTROM_IN_NM)
    forces = context.getState(getForces=True).getForces(asNumpy=True)
    largest = np.abs(forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)).max()
    assert largest < 600.0  # positions rounded to 0.0005 Å against bonds of 3e5 kJ/mol/nm²
    assert [a.element.symbol for a in alanine.topology.atoms()][:8] == list("HCHHCONH")
    assert alanine.topology.getPeriodicBoxVectors() is None


def test_dihedrals_of_a_trajectory(alanine):
    import mdtraj

    run = mdtraj.Trajectory(
        alanine.start.positions * ANGSTROM_IN_NM, mdtraj.Topology.from_openmm(alanine.topology)
    )
    np.testing.assert_allclose(dihedrals(run), dihedrals(alanine.start), atol=1e-5)
    np.testing.assert_allclose(mdtraj.compute_phi(run)[1], dihedrals(run)[:, :1], atol=1e-6)
    np.testing.assert_allclose(mdtraj.compute_psi(run)[1], dihedrals(run)[:, 1:], atol=1e-6)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [([(0, 1, 2, 22)], "atom 22 is asked for, but a frame has 22 atoms"), ([0, 1], "expected")],
)
def test_dihedrals_of_wrong_atoms(alanine, atoms, message):
    with pytest.raises(DataError, match=message):
        dihedrals(alanine.start, atoms)


def test_coverage_of_one_point_and_of_every_cell():
    assert coverage([[0.1, 0.2]]) == pytest.approx(np.mean([4.0**-h for h in range(1, 6)]))
    centres = (np.arange(32) + 0.5) / 32 * 2 * np.pi - np.pi
    grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    assert coverage(grid) == 1.0
    half = grid[grid[:, 0] < 0]
    assert coverage(half) == pytest.approx(0.5)
    assert coverage(np.zeros((0, 2))) == 0.0


def test_coverage_counted_by_hand():
    """Three points on a line of [0, 1): cells 1 of 2 and 2 of 4; base 3: 1 of 3 and 2 of 9."""
    points = [0.05, 0.06, 0.30]
    assert coverage(points, 2, bounds=(0.0, 1.0)) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert coverage(points, 2, base=3, bounds=(0.0, 1.0)) == pytest.approx((1 / 3 + 2 / 9) / 2)
    assert coverage([*points, 1.5, -0.2], 2, bounds=(0.0, 1.0)) == pytest.approx(0.5)


def test_coverage_of_uniform_points_matches_the_published_scale(rng):
    """Zaverkin's measure on 1, 10, 100, 1000 and 10⁴ random points."""
    table = [0.07, 0.32, 0.64, 0.92, 1.00]
    numbers = [1, 10, 100, 1000, 10_000]
    np.testing.assert_allclose(expected_coverage(numbers, 2), table, atol=0.005)
    for number, expected in zip(numbers, expected_coverage(numbers, 2), strict=True):
        found = np.mean([coverage(rng.uniform(-np.pi, np.pi, (number, 2))) for _ in range(20)])
        assert found == pytest.approx(expected, abs=0.02)


def test_angles_are_periodic(rng):
    angles = rng.uniform(-np.pi, np.pi, (50, 2))
    assert coverage(angles + 2 * np.pi) == pytest.approx(coverage(angles))
    assert coverage([[np.pi, -np.pi], [-np.pi, 3 * np.pi]], 1) == 0.25
    assert coverage([[np.nextafter(-np.pi, -4.0), 0.0]], 1) == 0.25  # lost by a careless modulo
    assert ramachandran([[np.pi, -np.pi]], bins=2).counts.tolist() == [[1, 0], [0, 0]]


def test_series_is_the_coverage_of_each_beginning(rng):
    angles = rng.normal(size=(60, 2))
    frames = [0, 1, 7, 59, 60]
    expected = [coverage(angles[:n]) for n in frames]
    np.testing.assert_allclose(coverage_series(angles, frames), expected)
    inside = {"bounds": (0.0, 1.0), "levels": 3, "base": 3}
    np.testing.assert_allclose(
        coverage_series(angles, frames, **inside), [coverage(angles[:n], **inside) for n in frames]
    )


def test_accessible_coverage():
    reference = [[-3.0, -3.0], [0.1, 0.1], [2.0, 2.0], [2.01, 2.01]]
    assert accessible_coverage([[0.1, 0.1], [1.0, -1.0]], reference) == pytest.approx(1 / 3)
    assert accessible_coverage(reference, reference) == 1.0
    with pytest.raises(DataError, match="reference visits no cell"):
        accessible_coverage(reference, [[5.0, 5.0]], bounds=(0.0, 1.0))


@pytest.mark.parametrize(
    ("cvs", "message"), [([np.nan], "NaN"), (np.zeros((2, 2, 2)), r"expected \(frames")]
)
def test_coverage_of_nonsense(cvs, message):
    with pytest.raises(DataError, match=message):
        coverage(cvs)


def test_map_recovers_a_known_free_energy(rng):
    """von Mises samples: F(φ) = kT κ (1 − cos φ) up to the noise of the counts."""
    kappa, temperature, kt = 1.0, 300.0, 8.617333262e-5 * 300.0
    angles = rng.vonmises(0.0, kappa, size=(400_000, 2))
    result = ramachandran(angles, temperature, bins=12)
    centres = (result.edges[1:] + result.edges[:-1]) / 2
    phi, psi = np.meshgrid(centres, centres, indexing="ij")
    expected = kt * kappa * (2.0 - np.cos(phi) - np.cos(psi))
    expected -= expected.min()
    np.testing.assert_allclose(result.free_energy, expected, atol=0.15 * kt)
    assert result.counts.sum() == 400_000


def test_map_of_weighted_frames():
    """Three to one is a difference of kT ln 3; cells never visited are infinite; φ comes first."""
    angles = [[-1.0, 1.0], [-1.0, 1.0], [1.0, 2.0]]
    result = ramachandran(angles, 300.0, bins=8, weights=[1.0, 2.0, 1.0])
    kt = 8.617333262e-5 * 300.0
    finite = result.free_energy[np.isfinite(result.free_energy)]
    assert sorted(finite) == pytest.approx([0.0, kt * np.log(3.0)])
    assert result.counts[2, 5] == 2


def test_map_of_frames(alanine):
    assert ramachandran(alanine.start).counts.sum() == 1
    with pytest.raises(DataError, match="φ and ψ"):
        ramachandran(np.zeros((0, 2)))
