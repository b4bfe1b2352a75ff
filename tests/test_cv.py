"""The collective variable and its file; derivatives and invariances are in the contracts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny
import torch

from uncv.calibration import ConformalCalibrator, GaussianCalibrator
from uncv.cv import UncertaintyCV, check_gradient, gradient_of_uncertainty
from uncv.data import Batch
from uncv.errors import ElementError, FileFormatError, GradientError
from uncv.uncertainty import EnsembleUncertainty


def test_energy_holds_the_reference_energies_and_forces_are_the_member_mean():
    settings = {"reference_energies": (-1.0, -10.0, -20.0, -30.0)}
    data = tiny.mixed()
    potential = tiny.potential(**settings)
    result = tiny.cv(**settings).evaluate(data)
    said = potential.evaluate(data, member_forces=True)
    np.testing.assert_allclose(result.energy, said.energies.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(result.forces, said.member_forces.mean(axis=0), atol=1e-10)


def test_smooth_is_what_has_no_maximum():
    assert tiny.cv("energy", "max").smooth  # of the frame: there is nothing to reduce
    assert not tiny.cv("atomic_energy", "max").smooth
    assert tiny.cv("forces", "softmax").smooth


def test_maximum_is_that_of_the_atoms():
    data = tiny.mixed()
    result = tiny.cv("forces", "max").evaluate(data)
    np.testing.assert_array_equal(result.uncertainty, result.atomic_uncertainty.max(axis=1))


def test_many_frames_are_evaluated_in_parts(monkeypatch):
    cv, data = tiny.cv("forces"), tiny.frames("CH3OH", 7)
    whole = cv.evaluate(data)
    monkeypatch.setattr("uncv.models.derivatives.CHUNK_ATOMS", 13)
    np.testing.assert_allclose(cv.evaluate(data).uncertainty, whole.uncertainty, rtol=1e-9)
    np.testing.assert_allclose(
        cv.evaluate(data).uncertainty_gradient, whole.uncertainty_gradient, atol=1e-10
    )


def test_called_with_a_batch_it_is_differentiable():
    cv, data = tiny.cv("atomic_energy"), tiny.frames("CH3OH")
    batch = data.to_batch()
    out = cv(batch._replace(positions=batch.positions.requires_grad_()))
    assert out.uncertainty.requires_grad
    assert out.energy.requires_grad
    assert out.atomic.shape == (1, 6)
    assert tiny.cv("energy")(batch).atomic is None


@pytest.mark.parametrize("family", [ConformalCalibrator, GaussianCalibrator])
def test_the_file_keeps_the_calibrator(tmp_path, family):
    calibrator = family(0.3) if family is ConformalCalibrator else family()
    ones = np.ones(9)
    calibrator.fit_scores(2.5 * ones, ones, np.arange(9), kind="force")
    cv = tiny.cv("atomic_energy", "softmax", calibrator)
    cv.save(tmp_path / "cv.uncv")
    again = UncertaintyCV.load(str(tmp_path / "cv.uncv"))
    assert type(again.calibrator) is family
    assert again.calibrator.factor == 2.5
    assert again.kind == "force"
    if family is ConformalCalibrator:
        assert again.calibrator.alpha == 0.3


def test_float32_stays_float32(tmp_path):
    cv, data = tiny.cv(), tiny.frames("CH3OH")
    cv.potential.to(torch.float32)
    cv.save(tmp_path / "cv.uncv")
    again = UncertaintyCV.load(tmp_path / "cv.uncv")
    assert again.potential.dtype == torch.float32
    np.testing.assert_array_equal(again.evaluate(data).uncertainty, cv.evaluate(data).uncertainty)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("text", "damaged or not a file of uncv"),
        ("cut", "damaged or not a file of uncv"),
        ("potential", "is of kind uncv-potential; expected uncv-cv"),
        ("version", "version 99 but this uncv reads up to 2"),
        ("weights", "the file is damaged: write it again"),
        ("about", "not a complete .uncv file"),
        ("unknown", "uncertainty 'Oracle' is unknown"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage, message):
    path = tmp_path / "cv.uncv"
    cv = tiny.cv()
    cv.save(path)
    content = torch.load(path, weights_only=True)
    about = json.loads(content["about"])
    if damage == "text":
        path.write_text("u = 1")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    elif damage == "potential":
        cv.potential.save(path)
    else:
        if damage == "version":
            content["version"] = 99
        elif damage == "weights":
            content["potential"]["state"]["networks.0.first.weight"] += 1e-3
        elif damage == "about":
            del about["reduce"]
        else:
            about["uncertainty"][0] = "Oracle"
        content["about"] = json.dumps(about)
        torch.save(content, path)
    with pytest.raises(FileFormatError, match=message):
        UncertaintyCV.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.uncv does not exist"):
        UncertaintyCV.load(tmp_path / "none.uncv")


def test_an_unknown_reduction_is_an_error():
    with pytest.raises(ValueError, match="reduction 'median' is unknown; expected one of"):
        tiny.cv("forces", "median")


def test_an_unknown_element_is_an_error():
    with pytest.raises(ElementError, match="contains S but the potential knows"):
        tiny.cv().evaluate(tiny.Dataset([16, 1, 1], tiny.frames("H2O").positions))


class Detached(EnsembleUncertainty):
    """An uncertainty that forgot its gradient."""

    def forward(self, output, mask):
        return super().forward(output, mask).detach()


def test_a_detached_uncertainty_is_an_error():
    cv = UncertaintyCV(tiny.potential(), Detached())
    with pytest.raises(GradientError, match="not connected to the positions"):
        cv.evaluate(tiny.frames("CH3OH"))
    with pytest.raises(GradientError, match="without detach"):
        gradient_of_uncertainty(torch.zeros(1), (torch.zeros(1),))


def test_only_a_gradient_that_is_rounding_is_refused():
    force = torch.ones(1, 3, 3)
    check_gradient(1e-3 * force, force)
    check_gradient(torch.zeros(1, 3, 3), torch.zeros(1, 3, 3))
    check_gradient(torch.zeros(1, 3, 3), 1e-14 * force)  # a crystal at rest by symmetry
    for of_u in (torch.zeros(1, 3, 3), 1e-12 * force):
        with pytest.raises(GradientError, match="are all members"):
            check_gradient(of_u, force)


def test_one_sound_frame_is_enough_and_a_lone_atom_is_no_error():
    data = tiny.Dataset([6], np.zeros((1, 1, 3)))
    result = tiny.cv().evaluate(data)
    assert not result.uncertainty_gradient.any()
    assert result.uncertainty[0] > 0


def test_padding_alone_in_a_batch_has_no_say():
    cv = tiny.cv("forces", "softmax")
    data = tiny.frames("H2O")
    wide = tiny.Dataset(
        np.pad(data.numbers, ((0, 0), (0, 3))), np.pad(data.positions, ((0, 0), (0, 3), (0, 0)))
    )
    one, two = cv.evaluate(data), cv.evaluate(wide)
    np.testing.assert_allclose(two.uncertainty, one.uncertainty, rtol=1e-12)
    assert isinstance(wide.to_batch(), Batch)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        tiny.cv().save(tmp_path / "absent" / "a.uncv")


def test_a_file_of_the_first_format_is_still_read(tmp_path):
    """It kept one factor beside the calibrator's name."""
    data = tiny.frames("CH3OH", 2)
    tiny.cv().save(tmp_path / "cv.uncv")
    content = torch.load(tmp_path / "cv.uncv", weights_only=True)
    about = json.loads(content["about"])
    factor = {"name": "ConformalCalibrator", "factor": 1.1, "kind": "energy", "alpha": 0.2}
    content["about"] = json.dumps({**about, "calibrator": factor})
    del content["calibrator_state"]
    torch.save({**content, "version": 1}, tmp_path / "first.uncv")
    again = UncertaintyCV.load(tmp_path / "first.uncv")
    assert (again.calibrator.alpha, again.calibrator.factor) == (0.2, 1.1)
    expected = 1.1 * tiny.cv().evaluate(data).uncertainty
    np.testing.assert_allclose(again.evaluate(data).uncertainty, expected, rtol=1e-12)
