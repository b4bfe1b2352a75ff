"""Harmonic forces and σ^A against loops, formulas and central differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from uncv.anharmonicity import HarmonicModel, anharmonicity, anharmonicity_spread
from uncv.data import Dataset
from uncv.errors import DataError

CELL = np.array([[4.0, 0.0, 0.0], [1.5, 3.8, 0.0], [-0.6, 0.9, 5.0]])
PLACES = np.array([[0.1, 0.2, 0.1], [2.0, 1.1, 2.6], [1.2, 3.5, 4.0]])


def random_model(rng) -> HarmonicModel:
    """Force constants without symmetry but Φ_IJ = Φ_JIᵀ; a shift of all atoms costs nothing."""
    raw = rng.normal(size=(9, 9))
    spread = np.kron(np.eye(3) - 1.0 / 3.0, np.eye(3))
    whole = spread @ (raw + raw.T) @ spread
    return HarmonicModel(PLACES, CELL, whole.reshape(3, 3, 3, 3).transpose(0, 2, 1, 3))


def nearest_image(vector):
    """The shortest of 125 images."""
    images = [vector + np.array(n) @ CELL for n in itertools.product(range(-2, 3), repeat=3)]
    return min(images, key=np.linalg.norm)


def by_loops(model, positions):
    forces = np.zeros_like(positions)
    for frame, i, j, a, b in itertools.product(
        range(len(positions)), range(3), range(3), range(3), range(3)
    ):
        moved = nearest_image(positions[frame, j] - PLACES[j])
        forces[frame, i, a] -= model.force_constants[i, j, a, b] * moved[b]
    return forces


def test_forces_as_by_loops(rng):
    model = random_model(rng)
    positions = PLACES + 0.3 * rng.normal(size=(4, 3, 3))
    images = positions + rng.integers(-2, 3, (4, 3, 3)) @ CELL
    np.testing.assert_allclose(model.forces(images), by_loops(model, images), atol=1e-12)


def test_a_crystal_may_drift_as_a_whole(rng):
    """By half a cell too, where the nearest images of two atoms may be on two sides."""
    model = random_model(rng)
    positions = PLACES + 0.2 * rng.normal(size=(1, 3, 3))
    for drift in rng.uniform(-1.0, 1.0, (20, 3)) @ CELL:
        np.testing.assert_allclose(
            model.forces(positions + drift), model.forces(positions), atol=1e-10
        )


def test_forces_are_the_slope_of_the_harmonic_energy(rng):
    model = random_model(rng)
    moved = 0.1 * rng.normal(size=(3, 3))

    def energy(u):
        return 0.5 * np.einsum("ia,ijab,jb", u, model.force_constants, u)

    slopes = np.zeros((3, 3))
    for index in np.ndindex(3, 3):
        step = np.zeros((3, 3))
        step[index] = 1e-4
        slopes[index] = (energy(moved + step) - energy(moved - step)) / 2e-4
    np.testing.assert_allclose(model.forces([PLACES + moved])[0], -slopes, atol=1e-9)


def test_a_harmonic_crystal_has_none(rng):
    model = random_model(rng)
    frames = Dataset([8, 1, 6], PLACES + 0.1 * rng.normal(size=(5, 3, 3)), cell=CELL)
    forces = by_loops(model, frames.positions)
    found = anharmonicity(forces, model.forces(frames), [8, 1, 6])
    assert found.trajectory < 1e-12
    assert found.frames.max() < 1e-12
    assert found.of_groups.max() < 1e-12


def test_a_quartic_well():
    """F = −k x − b x³: at x = ±a the part beyond the spring is b a² / (k + b a²)."""
    k, b = 2.0, 5.0
    model = HarmonicModel(PLACES[:1], np.zeros((3, 3)), k * np.eye(3)[None, None])
    for a in (0.01, 0.1, 0.5):
        x = a * np.array([[[1.0, 0.0, 0.0]], [[-1.0, 0.0, 0.0]]])
        found = anharmonicity(-k * x - b * x**3, model.forces(PLACES[:1] + x))
        assert found.trajectory == pytest.approx(b * a**2 / (k + b * a**2), rel=1e-12)


def test_thermal_average_of_a_quartic_well():
    """⟨x⁶⟩ = 15 s³, ⟨x⁴⟩ = 3 s², ⟨x²⟩ = s of a normal distribution, by Gauss-Hermite quadrature."""
    k, b, s = 2.0, 0.5, 0.3
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    x = np.sqrt(s) * nodes
    root = np.sqrt(weights)  # a frame's weight as the length of its forces
    forces = (root * (-k * x - b * x**3))[:, None, None] * np.array([1.0, 0.0, 0.0])
    harmonic = (root * (-k * x))[:, None, None] * np.array([1.0, 0.0, 0.0])
    expected = b**2 * 15 * s**3 / (k**2 * s + 2 * k * b * 3 * s**2 + b**2 * 15 * s**3)
    assert anharmonicity(forces, harmonic).trajectory == pytest.approx(np.sqrt(expected))


def test_frames_and_groups_as_by_sums(rng):
    forces, harmonic = rng.normal(size=(2, 6, 5, 3))
    groups = np.array([29, 53, 29, 53, 53])
    found = anharmonicity(forces, harmonic, groups)
    apart, whole = (forces - harmonic) ** 2, forces**2
    assert found.trajectory == pytest.approx(np.sqrt(apart.sum() / whole.sum()))
    for frame in range(6):
        expected = np.sqrt(apart[frame].sum() / whole[frame].sum())
        assert found.frames[frame] == pytest.approx(expected)
    assert found.groups.tolist() == [29, 53]
    for value, group in zip(found.of_groups, (29, 53), strict=True):
        own = groups == group
        assert value == pytest.approx(np.sqrt(apart[:, own].sum() / whole[:, own].sum()))


def test_spread_of_members(rng):
    forces, harmonic = rng.normal(size=(3, 4, 2, 3)), rng.normal(size=(4, 2, 3))
    values = np.array([
        [np.sqrt(np.sum((f - h) ** 2) / np.sum(f**2)) for f, h in zip(member, harmonic)]  # noqa: B905
        for member in forces
    ])  # fmt: skip
    expected = np.sqrt(np.sum((values - values.mean(axis=0)) ** 2, axis=0) / 2)
    np.testing.assert_allclose(anharmonicity_spread(forces, harmonic), expected)
    own = np.stack([harmonic, harmonic, harmonic])
    np.testing.assert_allclose(anharmonicity_spread(forces, own), expected)


def test_order_of_another_file(rng):
    model, order = random_model(rng), [2, 0, 1]
    moved = Dataset([6, 8, 1], PLACES[None, order] + 0.05 + CELL[0], cell=CELL)
    sorted_ = model.in_order_of(moved)
    positions = PLACES + 0.1 * rng.normal(size=(2, 3, 3))
    expected = model.forces(positions)[:, order]
    np.testing.assert_allclose(sorted_.forces(positions[:, order]), expected, atol=1e-12)
    far = Dataset([6, 8, 1], PLACES[None] + np.array([[0.0], [0.0], [0.5]]), cell=CELL)
    with pytest.raises(DataError, match=r"0\.866 Å from the next place of the harmonic model"):
        model.in_order_of(far)
    with pytest.raises(DataError, match="the reference has 2 frames"):
        model.in_order_of(moved[[0, 0]])


def test_wrong_models_are_named(rng):
    constants = random_model(rng).force_constants
    with pytest.raises(DataError, match="force constants of all atoms of the cell"):
        HarmonicModel(PLACES, CELL, constants[:1])
    with pytest.raises(DataError, match="not symmetric"):
        HarmonicModel(PLACES, CELL, rng.normal(size=(3, 3, 3, 3)))
    with pytest.raises(DataError, match="force_constants of the harmonic model hold NaN"):
        HarmonicModel(PLACES, CELL, constants * np.nan)


def test_frames_must_be_of_the_same_crystal(rng):
    model = random_model(rng)
    with pytest.raises(DataError, match=r"shape \(1, 2, 3\); expected \(frames, 3, 3\)"):
        model.forces(PLACES[None, :2])
    with pytest.raises(DataError, match=r"cell differs from that of the force constants by 0\.05"):
        model.forces(Dataset([8, 1, 6], PLACES[None], cell=1.01 * CELL))


@pytest.mark.parametrize(
    ("forces", "harmonic", "groups", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), None, r"expected \(frames, atoms, 3\)"),
        (np.ones((1, 2, 3)), np.ones((1, 1, 3)), None, r"harmonic ones \(1, 1, 3\)"),
        (np.ones((1, 2, 3)), np.ones((1, 2, 3)), [1], r"expected \(2,\), one of each atom"),
        (np.full((1, 2, 3), np.nan), np.ones((1, 2, 3)), None, "hold NaN or infinite"),
        (np.zeros((1, 2, 3)), np.ones((1, 2, 3)), None, "leave the undisplaced crystal out"),
    ],
)
def test_wrong_forces_are_named(forces, harmonic, groups, message):
    with pytest.raises(DataError, match=message):
        anharmonicity(forces, harmonic, groups)


def test_wrong_members_are_named():
    with pytest.raises(DataError, match="there is 1 member"):
        anharmonicity_spread(np.ones((1, 2, 2, 3)), np.ones((2, 2, 3)))
    with pytest.raises(DataError, match=r"harmonic ones \(1, 2, 3\)"):
        anharmonicity_spread(np.ones((2, 2, 2, 3)), np.ones((1, 2, 3)))
