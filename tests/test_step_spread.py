"""Steps of an ensemble without autograd: the same as with it, and right by central differences."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tiny
import torch

from uncv.bias import UDDBias
from uncv.calibration import Calibrator, GaussianCalibrator, LogLinearCalibrator
from uncv.cv import UncertaintyCV
from uncv.errors import GradientError
from uncv.models import AniPotential, library
from uncv.step import FusedStep
from uncv.step_pass import DescriptorPass, GraphPass
from uncv.step_spread import SpreadPass, deviation
from uncv.uncertainty import EnsembleUncertainty

pytestmark = pytest.mark.skipif(not library.available(), reason=library.why_not() or "built")
WALKERS = 3
PLACES = {"open": tiny.frames("CH3OH", WALKERS), "periodic": tiny.crystal(WALKERS)}
MODES = [
    ("energy", "mean"),
    *(("atomic_energy", how) for how in ("mean", "sum", "rms", "softmax")),
]
SLOPE, WEIGHT = np.array([0.7, -1.3, 0.0]), np.array([1.0, 0.0, 0.5])


def factor() -> Calibrator:
    made = GaussianCalibrator()
    made.factor, made.kind = 1.7, "energy"
    return made


def line() -> Calibrator:
    made = LogLinearCalibrator()
    made.line, made.kind = torch.tensor([0.3, 1.4], dtype=torch.float64), "energy"
    return made


CALIBRATORS = {"plain": lambda: None, "factor": factor, "graph": line}


def steps_of(cv: UncertaintyCV, place: str, skin: float = 0.6) -> FusedStep:
    numbers = PLACES[place].numbers[0]
    return FusedStep(cv, numbers, WALKERS, periodic=place == "periodic", skin=skin)


def everything(step: FusedStep, positions: np.ndarray, cell: np.ndarray | None) -> list:
    """Values; forces and stress of a sum, also of atoms, and of u and E apart."""
    stress = cell is not None
    values = step.forward(positions, cell, stress=stress)
    found = [values.energy, values.uncertainty, *step.derivatives(SLOPE, WEIGHT)]
    if values.atomic is not None:
        weights = np.cos(np.arange(values.atomic.size)).reshape(values.atomic.shape)
        found += [values.atomic, *step.derivatives(SLOPE, WEIGHT, weights)]
        found += step.derivatives(0.0 * SLOPE, WEIGHT, weights)
    of_u, of_energy = step.gradients_apart()
    return [np.asarray(x) for x in (*found, *of_u, *of_energy) if x is not None]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("calibrator", CALIBRATORS)
@pytest.mark.parametrize(("of", "reduce"), MODES)
def test_it_is_what_autograd_gives(of, reduce, calibrator, place, monkeypatch):
    data = PLACES[place]
    cell = data.cell[0] if place == "periodic" else None
    step = steps_of(tiny.cv(of, reduce, CALIBRATORS[calibrator]()), place)
    found = everything(step, data.positions, cell)
    assert isinstance(step._pass, SpreadPass)
    monkeypatch.setattr(AniPotential, "table", lambda *_: None)
    expected = everything(step, data.positions, cell)
    assert isinstance(step._pass, DescriptorPass)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == np.float64
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11 * np.abs(other).max())


@pytest.mark.parametrize("calibrator", CALIBRATORS)
@pytest.mark.parametrize(("of", "reduce"), MODES)
def test_biased_forces_are_central_differences(of, reduce, calibrator):
    data, bias = PLACES["periodic"], UDDBias(2.0, 0.4)
    step = steps_of(tiny.cv(of, reduce, CALIBRATORS[calibrator]()), "periodic")

    def total(positions: np.ndarray) -> float:
        values = step.forward(positions, data.cell[0])
        return float((values.energy + bias.at(values.uncertainty)[0]).sum())

    values = step.forward(data.positions, data.cell[0])
    biased = step.forces(bias.at(values.uncertainty)[1], np.ones(WALKERS))
    physical = step.forces(np.zeros(WALKERS), np.ones(WALKERS))
    assert isinstance(step._pass, SpreadPass)
    expected = -tiny.central_differences(total, data.positions)
    size = np.abs(expected).max()
    np.testing.assert_allclose(biased, expected, rtol=0, atol=1e-6 * size)
    assert np.abs(biased - physical).max() > 1e-4 * size  # the bias has a part in it


def test_spread_and_its_slopes_by_definition():
    values = np.random.default_rng(0).normal(size=(5, 2, 3))
    sigma, slopes = deviation(values, 0.3)
    np.testing.assert_allclose(sigma, np.sqrt(values.var(axis=0, ddof=1) + 0.09), rtol=1e-14)
    expected = tiny.central_differences(lambda x: deviation(x, 0.3)[0].sum(), values)
    np.testing.assert_allclose(slopes, expected, atol=1e-8)


def test_nothing_is_asked_of_autograd(monkeypatch):
    data = PLACES["open"]
    step = steps_of(tiny.cv(), "open")

    def refuse(*_, **__):
        raise AssertionError("autograd was asked")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    step.forward(data.positions)
    assert np.abs(step.forces(SLOPE, WEIGHT)).max() > 0
    monkeypatch.setattr(AniPotential, "table", lambda *_: None)
    step.forward(data.positions)
    with pytest.raises(AssertionError, match="autograd was asked"):
        step.forces(SLOPE, WEIGHT)


@pytest.mark.parametrize("place", PLACES)
def test_memory_is_shared_by_steps_and_never_shows(place, rng):
    """Lists that are kept and made anew; what a step gave stays when others follow."""
    data = PLACES[place]
    cell = data.cell[0] if place == "periodic" else None
    cv = tiny.cv("atomic_energy", "softmax")
    step, positions, kept = steps_of(cv, place), data.positions, []
    for _ in range(12):
        found = everything(step, positions, cell)
        fresh = everything(steps_of(cv, place), positions, cell)
        for one, other in zip(found, fresh, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-10 * np.abs(other).max())
        kept.append((step.forward(positions, cell), step.forces(SLOPE, WEIGHT), positions))
        positions = positions + 0.08 * rng.normal(size=positions.shape)
    for values, forces, at in kept:
        again = steps_of(cv, place)
        same = again.forward(at, cell)
        np.testing.assert_allclose(values.uncertainty, same.uncertainty, rtol=1e-9)
        np.testing.assert_allclose(values.atomic, same.atomic, rtol=1e-9)
        np.testing.assert_allclose(forces, again.forces(SLOPE, WEIGHT), atol=1e-9)


def test_single_precision_keeps_its_digits():
    data, cell = PLACES["periodic"], PLACES["periodic"].cell[0]
    expected = everything(steps_of(tiny.cv("atomic_energy"), "periodic"), data.positions, cell)
    rounded = tiny.cv("atomic_energy")
    rounded.potential.to(torch.float32)
    step = steps_of(rounded, "periodic")
    found = everything(step, data.positions, cell)
    assert isinstance(step._pass, SpreadPass)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-4 * np.abs(other).max())


def doubled(potential: AniPotential) -> None:
    with torch.no_grad():
        for network in potential.networks:
            network.rest[-1].weight.mul_(2.0)
            network.rest[-1].bias.mul_(2.0)


def replaced(potential: AniPotential) -> None:
    for network in potential.networks:
        network.rest[-1].weight.data = 2.0 * network.rest[-1].weight.data
        network.rest[-1].bias.data = 2.0 * network.rest[-1].bias.data


@pytest.mark.parametrize("change", [doubled, replaced])
def test_weights_that_change_are_followed(change):
    data = PLACES["open"]
    step = steps_of(tiny.cv(), "open")
    before, forces = step.forward(data.positions), step.forces(SLOPE, WEIGHT)
    change(step.cv.potential)
    after = step.forward(data.positions)
    np.testing.assert_allclose(after.uncertainty, 2.0 * before.uncertainty, rtol=1e-9)
    np.testing.assert_allclose(step.forces(SLOPE, WEIGHT), 2.0 * forces, atol=1e-9)
    step.cv.potential.to(torch.float32)
    rounded = step.forward(data.positions)
    np.testing.assert_allclose(rounded.energy, after.energy, rtol=1e-5)
    step.cv.potential.requires_grad_(True)
    np.testing.assert_allclose(step.forward(data.positions).energy, after.energy, rtol=1e-5)


class Larger(EnsembleUncertainty):
    """Three times the spread."""

    def forward(self, output, groups):
        return 3.0 * super().forward(output, groups)


def hooked() -> EnsembleUncertainty:
    made = EnsembleUncertainty()
    made.register_forward_hook(lambda module, given, out: 3.0 * out)
    return made


def patched() -> EnsembleUncertainty:
    made = EnsembleUncertainty()
    made.forward = lambda output, groups: 3.0 * EnsembleUncertainty.forward(made, output, groups)
    return made


@pytest.mark.parametrize("make", [Larger, hooked, patched])
def test_an_uncertainty_with_a_say_of_its_own_has_it(make):
    data = PLACES["open"]
    plain, step = (steps_of(UncertaintyCV(tiny.potential(), u), "open") for u in (
        EnsembleUncertainty(), make()
    ))  # fmt: skip
    expected, forces = plain.forward(data.positions), plain.forces(3.0 * SLOPE, WEIGHT)
    found = step.forward(data.positions)
    assert isinstance(step._pass, DescriptorPass)
    np.testing.assert_allclose(found.uncertainty, 3.0 * expected.uncertainty, rtol=1e-9)
    np.testing.assert_allclose(step.forces(SLOPE, WEIGHT), forces, atol=1e-9)


def test_the_largest_atom_and_the_spread_of_forces_take_another_way():
    data = PLACES["open"]
    for cv, kind in (
        (tiny.cv("atomic_energy", "max"), DescriptorPass),
        (tiny.cv("forces", activation="silu"), GraphPass),
    ):
        step = steps_of(cv, "open")
        step.forward(data.positions)
        assert isinstance(step._pass, kind)


class Detached(LogLinearCalibrator):
    """Loses where u comes from."""

    def forward(self, u, numbers):
        return u.detach() * 2.0


def test_a_calibrator_without_a_gradient_is_an_error():
    made = Detached()
    made.line, made.kind = torch.zeros(2, dtype=torch.float64), "energy"
    step = steps_of(tiny.cv("energy", "mean", made), "open")
    step.forward(PLACES["open"].positions)
    with pytest.raises(GradientError, match="not connected to the positions"):
        step.forces(SLOPE, WEIGHT)
    step._checked = True  # as after a first step with another slope
    with pytest.raises(GradientError, match="not connected to the positions"):
        step.forces(SLOPE, WEIGHT)


def test_a_factor_with_a_hook_is_followed():
    data = PLACES["open"]
    hooks = factor()
    hooks.register_forward_hook(lambda module, given, out: 2.0 * out)
    step, plain = (steps_of(tiny.cv("energy", "mean", c), "open") for c in (hooks, factor()))
    found, expected = step.forward(data.positions), plain.forward(data.positions)
    np.testing.assert_allclose(found.uncertainty, 2.0 * expected.uncertainty, rtol=1e-12)
    np.testing.assert_allclose(
        step.forces(SLOPE, WEIGHT), plain.forces(2.0 * SLOPE, WEIGHT), atol=1e-10
    )


def test_without_u_there_is_the_energy_alone():
    data = PLACES["open"]
    for cv in (tiny.cv(), tiny.cv("forces", activation="silu")):
        step = steps_of(cv, "open")
        values = step.forward(data.positions, uncertainty=False)
        assert isinstance(step._pass, SpreadPass)
        assert np.isnan(values.uncertainty).all()
        expected = cv.evaluate(tiny.Dataset(data.numbers, data.positions))
        np.testing.assert_allclose(values.energy, expected.energy, rtol=1e-12)
        forces = step.forces(0.0 * SLOPE, np.ones(WALKERS))
        np.testing.assert_allclose(forces, expected.forces, atol=1e-9)
        with pytest.raises(GradientError, match="it was not evaluated; call forward with"):
            step.forces(SLOPE, WEIGHT)


def test_a_step_travels_without_its_memory():
    data = PLACES["open"]
    step = steps_of(tiny.cv(), "open")
    expected = step.forward(data.positions), step.forces(SLOPE, WEIGHT)
    other = pickle.loads(pickle.dumps(step))
    with pytest.raises(RuntimeError, match="call forward first"):
        other.forces(SLOPE, WEIGHT)
    found = other.forward(data.positions)
    np.testing.assert_array_equal(found.uncertainty, expected[0].uncertainty)
    np.testing.assert_array_equal(other.forces(SLOPE, WEIGHT), expected[1])
    assert len(pickle.dumps(step)) == pytest.approx(len(pickle.dumps(other)), rel=0.02)


def test_real_members_in_single_precision():
    from uncv.models import load_potential

    cv = UncertaintyCV(load_potential("ani1x"), EnsembleUncertainty())
    data = PLACES["open"]
    step = steps_of(cv, "open")
    values, forces = step.forward(data.positions), step.forces(SLOPE, WEIGHT)
    assert isinstance(step._pass, SpreadPass)
    expected = cv.evaluate(tiny.Dataset(data.numbers, data.positions))
    np.testing.assert_allclose(values.energy, expected.energy, rtol=1e-9)
    np.testing.assert_allclose(values.uncertainty, expected.uncertainty, rtol=2e-4)
    both = WEIGHT[:, None, None] * expected.forces
    both = both - SLOPE[:, None, None] * expected.uncertainty_gradient
    np.testing.assert_allclose(forces, both, atol=2e-5)
