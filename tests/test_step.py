"""One evaluation a step: walkers as a batch, one backward pass, neighbour lists that are kept."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from uncv.cv import UncertaintyCV
from uncv.errors import DataError, ElementError, GradientError
from uncv.step import SKIN, FusedStep
from uncv.uncertainty import EnsembleUncertainty

MODES = [("energy", "mean"), ("atomic_energy", "softmax"), ("forces", "rms")]


def counted(step: FusedStep) -> list:
    """Record each time neighbour lists are made."""
    made = []
    prepare = step.cv.potential.prepare

    def counting(batch, skin=0.0):
        made.append(batch)
        return prepare(batch, skin)

    step.cv.potential.prepare = counting
    return made


@pytest.mark.parametrize(("of", "reduce"), MODES)
def test_values_and_forces_are_those_of_the_evaluation(of, reduce):
    data = tiny.frames("CH3OH", 3)
    cv = tiny.cv(of, reduce, reference_energies=(-10.0, -20.0, -30.0, -40.0))
    step = FusedStep(cv, data.numbers[0], 3)
    before = data.positions.copy()
    values = step.forward(data.positions + 100.0)
    result = cv.evaluate(data)
    np.testing.assert_allclose(values.energy, result.energy, rtol=1e-12)
    np.testing.assert_allclose(values.uncertainty, result.uncertainty, rtol=1e-9)
    if of == "energy":
        assert values.atomic is None
    else:
        np.testing.assert_allclose(values.atomic, result.atomic_uncertainty, rtol=1e-8)
    slope, weight = np.array([0.0, -0.7, 2.0]), np.array([1.0, 1.0, 0.0])
    forces = step.forces(slope, weight)
    expected = weight[:, None, None] * result.forces
    expected = expected - slope[:, None, None] * result.uncertainty_gradient
    np.testing.assert_allclose(forces, expected, atol=1e-9 * np.abs(expected).max())
    of_u, of_energy = (g.numpy() for g in step.gradients())
    np.testing.assert_allclose(of_energy, -result.forces, atol=1e-10)
    np.testing.assert_allclose(of_u, result.uncertainty_gradient, atol=1e-9)
    np.testing.assert_array_equal(data.positions, before)


def test_forces_can_be_asked_for_twice():
    data = tiny.frames("CH3OH")
    step = FusedStep(tiny.cv("forces"), data.numbers[0])
    step.forward(data.positions)
    one = step.forces(np.array([0.5]), np.array([1.0]))
    np.testing.assert_array_equal(step.forces(np.array([0.5]), np.array([1.0])), one)


def test_walkers_do_not_see_each_other():
    data = tiny.frames("CH3OH", 3)
    step = FusedStep(tiny.cv(), data.numbers[0], 3)
    ones = np.ones(3)
    before = step.forward(data.positions)
    forces = step.forces(-ones, ones)
    changed = data.positions.copy()
    changed[1] *= 1.1
    after = step.forward(changed)
    changed_forces = step.forces(-ones, ones)
    np.testing.assert_allclose(after.energy[[0, 2]], before.energy[[0, 2]], rtol=1e-12)
    np.testing.assert_allclose(changed_forces[[0, 2]], forces[[0, 2]], atol=1e-12)
    assert abs(after.energy[1] - before.energy[1]) > 1e-4
    assert np.abs(changed_forces[1] - forces[1]).max() > 1e-4


@pytest.mark.parametrize("periodic", [False, True])
def test_lists_are_kept_within_half_the_skin_and_renewed_beyond(periodic, rng):
    data = tiny.crystal() if periodic else tiny.frames("CH3CH2OH")
    cell = data.cell[0] if periodic else None
    cv = tiny.cv("atomic_energy")
    step = FusedStep(cv, data.numbers[0], periodic=periodic)
    made = counted(step)
    positions = data.positions.copy()
    for _ in range(25):
        positions = positions + 0.04 * rng.normal(size=positions.shape)
        values = step.forward(positions, cell)
        forces = step.forces(np.array([-1.0]), np.ones(1))
        fresh = cv.evaluate(tiny.Dataset(data.numbers, positions, cell=data.cell))
        np.testing.assert_allclose(values.uncertainty, fresh.uncertainty, rtol=1e-9)
        np.testing.assert_allclose(values.energy, fresh.energy, rtol=1e-9)
        expected = fresh.forces + fresh.uncertainty_gradient
        np.testing.assert_allclose(forces, expected, atol=1e-8)
    # Evaluations list the neighbours of positions with a gradient; the step's own have none.
    own = sum(not b.positions.requires_grad for b in made)
    assert 1 < own < 20


def test_a_leap_beyond_the_skin_renews_at_once():
    data = tiny.frames("CH3OH")
    step = FusedStep(tiny.cv(), data.numbers[0])
    made = counted(step)
    step.forward(data.positions)
    shifted = data.positions.copy()
    shifted[0, 4] += [0.1 * SKIN, 0.0, 0.0]
    step.forward(shifted)
    assert len(made) == 1
    shifted[0, 4] += [3 * SKIN, 0.0, 0.0]
    value = step.forward(shifted).uncertainty[0]
    assert len(made) == 2
    fresh = FusedStep(step.cv, data.numbers[0]).forward(shifted)
    assert value == pytest.approx(fresh.uncertainty[0], rel=1e-12)


def test_drifting_away_as_a_whole_renews_nothing():
    data = tiny.frames("CH3OH")
    step = FusedStep(tiny.cv(), data.numbers[0])
    made = counted(step)
    values = [step.forward(data.positions + 7.0 * k).uncertainty[0] for k in range(5)]
    assert len(made) == 1
    np.testing.assert_allclose(values, values[0], rtol=1e-10)


@pytest.mark.parametrize("size", [0.01, 0.05])
def test_lists_follow_a_cell_that_changes_within_the_skin(size, rng):
    """As in dynamics at constant pressure: every step has a cell of its own."""
    data = tiny.crystal()
    cv = tiny.cv("atomic_energy")
    step = FusedStep(cv, data.numbers[0], periodic=True)
    made = counted(step)
    positions, cell = data.positions, data.cell[0]
    for _ in range(25):
        scale = np.eye(3) + size * rng.normal(size=(3, 3))
        cell = cell @ scale
        positions = positions @ scale + 0.02 * rng.normal(size=positions.shape)
        values = step.forward(positions, cell)
        forces = step.forces(np.array([-1.0]), np.ones(1))
        fresh = cv.evaluate(tiny.Dataset(data.numbers, positions, cell=cell))
        np.testing.assert_allclose(values.energy, fresh.energy, rtol=1e-9)
        np.testing.assert_allclose(values.uncertainty, fresh.uncertainty, rtol=1e-9)
        expected = fresh.forces + fresh.uncertainty_gradient
        np.testing.assert_allclose(forces, expected, atol=1e-8)
    own = sum(not b.positions.requires_grad for b in made)
    assert 1 < own < 20, own


def test_a_cell_that_leaps_renews_the_lists():
    data = tiny.crystal()
    step = FusedStep(tiny.cv(), data.numbers[0], periodic=True)
    made = counted(step)
    step.forward(data.positions, data.cell[0])
    step.forward(1.05 * data.positions, 1.05 * data.cell[0])  # away from each other
    turn = tiny.rotation(2)
    step.forward(data.positions @ turn, data.cell[0] @ turn)
    assert len(made) == 1
    values = step.forward(0.8 * data.positions, 0.8 * data.cell[0])
    assert len(made) == 2
    fresh = tiny.cv().evaluate(
        tiny.Dataset(data.numbers, 0.8 * data.positions, cell=0.8 * data.cell)
    )
    np.testing.assert_allclose(values.energy, fresh.energy)


def test_a_slab_keeps_its_lists_too():
    data = tiny.crystal()
    step = FusedStep(tiny.cv(), data.numbers[0], periodic=(True, True, False))
    made = counted(step)
    for factor in (1.0, 1.001, 0.8):
        cell = data.cell[0] * np.array([[factor], [factor], [0.0]])
        positions = data.positions @ np.diag([factor, factor, 1.0])
        values = step.forward(positions, cell)
        fresh = step.cv.evaluate(
            tiny.Dataset(data.numbers, positions, cell=cell, pbc=(True, True, False))
        )
        np.testing.assert_allclose(values.energy, fresh.energy)
    assert sum(not b.positions.requires_grad for b in made) == 2


@pytest.mark.parametrize(("of", "reduce"), MODES)
def test_stress_comes_with_the_forces_of_each_walker(of, reduce):
    data = tiny.crystal(2)
    cv = tiny.cv(of, reduce)
    step = FusedStep(cv, data.numbers[0], 2, periodic=True)
    step.forward(data.positions, data.cell[0], stress=True)
    slope, weight = np.array([-0.7, 2.0]), np.array([1.0, 0.0])
    found, result = step.derivatives(slope, weight), cv.evaluate(data)
    expected = weight[:, None, None] * result.stress
    expected = expected + slope[:, None, None] * result.uncertainty_stress
    np.testing.assert_allclose(found.stress, expected, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(found.forces, step.forces(slope, weight), atol=1e-12)
    of_u, of_energy = step.gradients_apart()
    np.testing.assert_allclose(of_u.stress, result.uncertainty_stress, atol=1e-10)
    np.testing.assert_allclose(of_energy.stress, result.stress, atol=1e-10)
    step.forward(data.positions, data.cell[0])
    assert step.derivatives(slope, weight).stress is None


def test_lists_made_at_other_positions_give_the_same():
    data = tiny.frames("CH3OH")
    step, other = (FusedStep(tiny.cv(), data.numbers[0]) for _ in range(2))
    assert step.listed_at() is None
    step.forward(data.positions)
    other.list_at(step.listed_at(), step.listed_cell())
    moved = data.positions.copy()
    moved[0, 0] += 0.05
    np.testing.assert_array_equal(step.forward(moved).uncertainty, other.forward(moved).uncertainty)
    np.testing.assert_array_equal(other.listed_at(), step.listed_at())


def test_forces_before_energies_is_an_error():
    step = FusedStep(tiny.cv(), [8, 1, 1])
    with pytest.raises(RuntimeError, match="call forward first"):
        step.forces(np.zeros(1), np.ones(1))


def test_zero_slope_of_u_is_an_error_only_when_there_is_a_bias():
    data = tiny.frames("CH3OH")
    cv = UncertaintyCV(tiny.same_members(), EnsembleUncertainty())
    step = FusedStep(cv, data.numbers[0])
    step.forward(data.positions)
    assert np.isfinite(step.forces(np.zeros(1), np.ones(1))).all()
    with pytest.raises(GradientError, match="a bias would do nothing"):
        step.forces(np.ones(1), np.ones(1))


def test_an_unknown_element_is_an_error():
    with pytest.raises(ElementError, match="contains S but the potential knows H, C, N, O"):
        FusedStep(tiny.cv(), [16, 1, 1]).forward(tiny.frames("H2O").positions)


def test_float32_weights_give_float64_values():
    data = tiny.frames("CH3OH")
    cv = tiny.cv()
    expected = cv.evaluate(data)
    cv.potential.to(torch.float32)
    step = FusedStep(cv, data.numbers[0])
    values = step.forward(data.positions)
    forces = step.forces(np.zeros(1), np.ones(1))
    assert values.energy.dtype == values.uncertainty.dtype == forces.dtype == np.float64
    np.testing.assert_allclose(values.energy, expected.energy, rtol=1e-5)
    np.testing.assert_allclose(forces, expected.forces, atol=1e-4)


@pytest.mark.parametrize("listed", [False, True], ids=["first", "later"])
def test_positions_that_are_not_finite_are_an_error(listed):
    data = tiny.frames("CH3OH", 3)
    step = FusedStep(tiny.cv("energy"), data.numbers[0], 3)
    if listed:
        step.forward(data.positions)
    broken = data.positions.copy()
    broken[1, 2, 0] = np.nan
    with pytest.raises(DataError, match="walkers 1 are not finite"):
        step.forward(broken)
    assert np.isfinite(step.forward(data.positions).energy).all()
