"""What every calibrator must hold: compiled the same, restored the same, bad input refused."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from uncv.calibration import (
    ConformalCalibrator,
    CrossConformalCalibrator,
    ElementConformalCalibrator,
    GaussianCalibrator,
    IsotonicCalibrator,
    LogLinearCalibrator,
    MonotoneCalibrator,
    by_name,
)
from uncv.cv import UncertaintyCV
from uncv.errors import CalibrationError, FileFormatError, NotFittedError
from uncv.export import export, load_exported
from uncv.scripting import compile_module
from uncv.uncertainty import EnsembleUncertainty

CALIBRATORS = [
    ConformalCalibrator(0.1, seed=3, draws=11),
    CrossConformalCalibrator(0.2, folds=4),
    ElementConformalCalibrator(0.1),
    GaussianCalibrator(),
    IsotonicCalibrator(),
    LogLinearCalibrator(),
    MonotoneCalibrator(bins=5),
]
NUMBERS = torch.tensor([[1, 6, 8, 1], [6, 1, 0, 0]])
U = torch.tensor([[0.01, 0.3, 1.0, 7.0], [0.2, 2.0, 0.0, 0.0]], dtype=torch.float64)


def ids(calibrator):
    return calibrator.method


def made(like):
    return by_name(type(like).__name__, like.settings())


def data(frames=60, seed=0):
    """Residuals of three elements' atoms, larger for larger u."""
    random = np.random.default_rng(seed)
    frame = np.repeat(np.arange(frames), 6)
    numbers = np.tile([1, 1, 1, 6, 6, 8], frames)
    u = random.uniform(0.1, 2.0, len(frame))
    residual = np.abs(random.normal(size=len(frame))) * 1.5 * u**0.8
    return residual, u, frame, numbers


def fitted(like):
    return made(like).fit_scores(*data(), kind="force")


@pytest.mark.parametrize("like", CALIBRATORS, ids=ids)
def test_settings_make_the_same_again_and_the_state_restores_it(like):
    one = fitted(like)
    again = made(like)
    assert (type(again), again.settings()) == (type(like), like.settings())
    again.restore(one.state_dict())
    again.kind = one.kind
    again.check()
    torch.testing.assert_close(again(U, NUMBERS), one(U, NUMBERS), rtol=0, atol=0)
    assert all(b.dtype == torch.float64 for b in one.buffers())
    with pytest.raises(KeyError, match=r"keeps .* but the state holds nothing"):
        again.restore({})


@pytest.mark.parametrize("like", CALIBRATORS, ids=ids)
def test_compiled_gives_the_same_with_the_same_gradient(like):
    one = fitted(like)
    script = compile_module(one)
    for u in (U, torch.zeros((0, 4), dtype=torch.float64)):
        numbers = NUMBERS[: len(u)]
        torch.testing.assert_close(script(u, numbers), one(u, numbers), rtol=0, atol=0)
    gradients = []
    for module in (one, script):
        u = U.clone().requires_grad_()
        gradients += torch.autograd.grad(module(u, NUMBERS).sum(), u)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-14, atol=0)
    assert torch.isfinite(gradients[0]).all()
    if one.smooth:
        assert (gradients[0][U > 0] > 0).all()


@pytest.mark.parametrize("like", [c for c in CALIBRATORS if c.smooth], ids=ids)
def test_gradient_is_that_of_differences(like):
    one = fitted(like)
    u = U[:, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: one(x, NUMBERS[:, :2]), (u,), eps=1e-7, atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("like", CALIBRATORS, ids=ids)
def test_shape_padding_and_order_are_kept(like):
    one = fitted(like)
    found = one(U, NUMBERS)
    assert found.shape == U.shape
    assert (found[NUMBERS == 0] == 0).all()
    many = torch.linspace(1e-4, 10.0, 3000, dtype=torch.float64)[:, None]
    curve = one(many, torch.full((3000, 1), 6))[:, 0].diff()
    assert (curve > 0).all() if one.smooth else (curve >= 0).all()
    if isinstance(one, ElementConformalCalibrator):
        return
    torch.testing.assert_close(one(U[:, 0], NUMBERS), found[:, 0], rtol=0, atol=0)


@pytest.mark.parametrize("like", CALIBRATORS, ids=ids)
def test_scores_of_frames_are_kept(like):
    residual, u, frame, numbers = data()
    one = fitted(like)
    calibrated = one(torch.tensor(u)[:, None], torch.tensor(numbers)[:, None])[:, 0].numpy()
    square = [np.mean((residual[frame == f] / calibrated[frame == f]) ** 2) for f in range(60)]
    np.testing.assert_allclose(one.frame_scores, np.sqrt(square), rtol=1e-12)


@pytest.mark.parametrize("like", CALIBRATORS, ids=ids)
def test_unfitted(like):
    one = made(like)
    with pytest.raises(NotFittedError, match="is not fitted; call fit"):
        one.check()
    with pytest.raises(NotFittedError, match="is not fitted; call fit"):
        one(U, NUMBERS)
    with pytest.raises(NotFittedError, match="is not fitted; call fit"):
        tiny.cv(calibrator=one)


@pytest.mark.parametrize("like", CALIBRATORS, ids=ids)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, u: r.__setitem__(3, np.nan), "NaN or infinite"),
        (lambda r, u: u.__setitem__(3, np.inf), "NaN or infinite"),
        (lambda r, u: u.__setitem__(slice(2), [0.0, -1.0]), "2 uncertainties are not positive"),
        (lambda r, u: r.__setitem__(3, -1.0), "1 residuals are negative"),
        (lambda r, u: r.fill(0.0), "all 360 residuals are zero"),
    ],
)
def test_values_that_cannot_be(like, change, message):
    one, (residual, u, frame, numbers) = made(like), data()
    change(residual, u)
    with pytest.raises(CalibrationError, match=message):
        one.fit_scores(residual, u, frame, numbers, kind="force")
    assert not one.is_fitted()


@pytest.mark.parametrize("like", CALIBRATORS, ids=ids)
def test_arrays_and_kinds_must_match(like):
    residual, u, frame, numbers = data()
    with pytest.raises(ValueError, match=r"shapes \[\(360,\), \(359,\).*one length"):
        made(like).fit_scores(residual, u[1:], frame, numbers, kind="force")
    with pytest.raises(ValueError, match="kind of the residuals is 'dimensionless'; expected"):
        made(like).fit_scores(residual, u, frame, numbers, kind="dimensionless")
    with pytest.raises(CalibrationError, match="no residuals"):
        made(like).fit_scores([], [], [], [], kind="force")


@pytest.mark.parametrize(
    "like", [c for c in CALIBRATORS if not isinstance(c, GaussianCalibrator)], ids=ids
)
def test_one_frame_is_too_few_for_all_but_the_gaussian_scale(like):
    residual, u, _, numbers = data(10)
    if isinstance(like, IsotonicCalibrator):
        made(like).fit_scores(residual, u, np.zeros(60), numbers, kind="force")
        return
    with pytest.raises(CalibrationError, match=r"1 calibration frames .*are too few"):
        made(like).fit_scores(residual, u, np.zeros(60), numbers, kind="force")


@pytest.mark.parametrize("like", [c for c in CALIBRATORS if not c.proportional], ids=ids)
def test_atomic_energies_take_calibrators_with_one_factor_only(like):
    """A curve of each atom's u is not the curve of the frame's, which the energy knows."""
    cv, frames = tiny.cv("atomic_energy"), tiny.frames("CH3OH", 3)
    labelled = tiny.Dataset(frames.numbers, frames.positions, energy=np.zeros(3))
    with pytest.raises(CalibrationError, match="energies can only be held against that of the"):
        made(like).fit(cv, labelled)


@pytest.mark.parametrize(
    "like", [c for c in CALIBRATORS if c.smooth and c.method != "cross"], ids=ids
)
def test_in_a_variable_and_its_file(like, tmp_path):
    """Fitted on real forces; the values of the variable are those of the calibrator."""
    frames = tiny.frames("CH3OH", 24, 0.1)
    truth = tiny.potential(members=2, seed=77).evaluate(frames)
    labelled = tiny.Dataset(frames.numbers, frames.positions, forces=truth.forces)
    raw = UncertaintyCV(tiny.potential(), EnsembleUncertainty("forces"))
    cv = raw.calibrated(made(like).fit(raw, labelled))
    assert cv.kind == "force"
    plain = torch.tensor(raw.evaluate(frames).atomic_uncertainty)
    expected = cv.calibrator(plain, torch.tensor(frames.numbers))
    found = cv.evaluate(frames)
    np.testing.assert_allclose(found.atomic_uncertainty, expected, rtol=1e-10)
    cv.save(tmp_path / "cv.uncv")
    again = UncertaintyCV.load(tmp_path / "cv.uncv")
    assert again.calibrator.settings() == like.settings()
    np.testing.assert_array_equal(again.evaluate(frames).uncertainty, found.uncertainty)


@pytest.mark.parametrize(
    "like", [ElementConformalCalibrator(0.1), LogLinearCalibrator(), MonotoneCalibrator(4)], ids=ids
)
def test_in_an_exported_file(like, tmp_path):
    """Values and gradients of u, read back from the file."""
    frames = tiny.frames("CH3OH", 2, 0.1)
    cv = tiny.cv("forces", calibrator=fitted(like))
    module, _ = load_exported(export(cv, frames[0], tmp_path / "cv.pt", walkers=2))
    positions = torch.tensor(frames.positions, requires_grad=True)
    _, u, atomic = module.evaluate(positions, torch.tensor(frames.cell))
    (gradient,) = torch.autograd.grad(u.sum(), positions)
    expected = cv.evaluate(frames)
    np.testing.assert_allclose(u.detach(), expected.uncertainty, rtol=1e-8)
    np.testing.assert_allclose(atomic.detach(), expected.atomic_uncertainty, rtol=1e-7)
    scale = np.abs(expected.uncertainty_gradient).max()
    np.testing.assert_allclose(gradient, expected.uncertainty_gradient, atol=1e-7 * scale)


def test_a_variable_refuses_a_calibrator_without_derivative():
    with pytest.raises(CalibrationError, match="IsotonicCalibrator has no derivative"):
        tiny.cv("forces", calibrator=fitted(IsotonicCalibrator()))


def test_unknown_name():
    with pytest.raises(FileFormatError, match="calibrator 'Platt' is unknown; this uncv knows Con"):
        by_name("Platt", {})
