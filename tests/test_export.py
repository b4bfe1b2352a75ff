"""Exported TorchScript: what the file promises, units, errors; values are in the contracts."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from uncv.bias import AdaptiveBias, LinearBias
from uncv.errors import DataError, ElementError, FileFormatError
from uncv.export import export, load_exported, script

KJ = tiny.KJ


@pytest.mark.parametrize(("of", "unit"), [("energy", KJ), ("forces", 10 * KJ)])
@pytest.mark.parametrize("output", ["energy", "uncertainty"])
def test_forward_is_in_openmms_units(tmp_path, of, unit, output):
    cv, data = tiny.cv(of), tiny.frames("CH3OH")
    path = export(cv, data, tmp_path / "cv.pt", output=output)
    module, about = load_exported(path)
    nm = torch.tensor(data.positions[0] / 10.0, requires_grad=True)
    value = module(nm)
    (gradient,) = torch.autograd.grad(value, nm)
    result = cv.evaluate(data)
    factor = KJ if output == "energy" else unit
    slope = -result.forces[0] if output == "energy" else result.uncertainty_gradient[0]
    assert value.shape == ()
    assert float(value.detach()) == pytest.approx(getattr(result, output)[0] * factor, rel=1e-9)
    np.testing.assert_allclose(gradient, slope * 10 * factor, atol=1e-6 * np.abs(slope).max() * KJ)
    assert about["output"] == output


def test_total_holds_the_bias_of_each_walker():
    cv, data = tiny.cv(), tiny.frames("CH3OH", 3)
    module = script(cv, data.numbers[0], walkers=3, output="total", bias=LinearBias(0.5))
    value = module(torch.tensor(data.positions.reshape(-1, 3) / 10.0))
    result = cv.evaluate(data)
    expected = (result.energy - 0.5 * result.uncertainty).sum() * KJ
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_the_file_states_its_promise(tmp_path):
    cv, data = tiny.cv("forces"), tiny.crystal()
    _, about = load_exported(export(cv, data, tmp_path / "cv.pt", walkers=2))
    assert about["format"] == "uncv-torchscript"
    assert about["numbers"] == [6, 8, 1, 7]
    assert about["walkers"] == 2
    assert about["periodic"] is True
    assert about["kind"] == "force"
    assert about["per_atom"] is True
    assert about["smooth"] is True
    assert (about["positions_unit"], about["energy_unit"]) == ("angstrom", "eV")
    assert about["dtype"] == "float64"
    assert about["cutoff_angstrom"] == 3.6
    assert about["fingerprint"] == cv.fingerprint
    assert [p.name for p in tmp_path.iterdir()] == ["cv.pt"]


@pytest.mark.parametrize(("of", "reduce"), [("energy", "mean"), ("atomic_energy", "max")])
def test_the_promise_stands_in_plain_lines_too(tmp_path, of, reduce):
    """What the PLUMED plugin reads is what the JSON says."""
    path = export(tiny.cv(of, reduce), tiny.frames("CH3OH"), tmp_path / "cv.pt")
    extra = {"uncv.txt": ""}
    torch.jit.load(path, _extra_files=extra)
    lines = dict(line.split(" ", 1) for line in extra["uncv.txt"].decode().splitlines())
    _, about = load_exported(path)
    assert lines.keys() == about.keys()
    assert lines["numbers"] == "6 8 1 1 1 1"
    assert (lines["periodic"], lines["walkers"], lines["version"]) == ("false", "1", "2")
    atomic = of == "atomic_energy"
    assert (lines["per_atom"], lines["smooth"]) == (str(atomic).lower(), str(not atomic).lower())


def test_files_of_the_first_version_are_read(tmp_path):
    path = tmp_path / "old.pt"
    extra = {"uncv.json": '{"format": "uncv-torchscript", "version": 1}'}
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path, _extra_files=extra)
    assert load_exported(path)[1]["version"] == 1


def test_float32_weights_give_float64_values(tmp_path):
    cv, data = tiny.cv("atomic_energy"), tiny.frames("CH3OH")
    cv.potential.to(torch.float32)
    module, _ = load_exported(export(cv, data, tmp_path / "cv.pt"))
    positions = torch.tensor(data.positions)
    energy, u, atomic = module.evaluate(positions, torch.zeros(1, 3, 3, dtype=torch.float64))
    result = cv.evaluate(data)
    assert energy.dtype == u.dtype == atomic.dtype == torch.float64
    np.testing.assert_allclose(energy, result.energy, rtol=1e-5)
    np.testing.assert_allclose(u, result.uncertainty, rtol=1e-4)


def test_the_export_does_not_follow_later_training(tmp_path):
    cv, data = tiny.cv(), tiny.frames("CH3OH")
    module = script(cv, data.numbers[0])
    nm = torch.tensor(data.positions[0] / 10.0)
    before = float(module(nm))
    with torch.no_grad():
        cv.potential.networks[0].first.weight.mul_(2.0)
    assert float(module(nm)) == before
    assert cv.evaluate(data).energy[0] * KJ != pytest.approx(before)


def test_neighbours_are_found_anew_at_each_call():
    cv, data = tiny.cv(), tiny.frames("CH3OH")
    module = script(cv, data.numbers[0])
    for stretch in (1.0, 1.5, 0.8):
        x = stretch * data.positions
        found = float(module(torch.tensor(x[0] / 10.0))) / KJ
        expected = cv.evaluate(tiny.Dataset(data.numbers, x)).energy[0]
        assert found == pytest.approx(expected, rel=1e-9)


def test_wrong_requests_are_refused(tmp_path):
    cv, data = tiny.cv(), tiny.frames("CH3OH", 2)
    with pytest.raises(DataError, match="2 frames; give exactly one"):
        export(cv, data, tmp_path / "cv.pt")
    with pytest.raises(ValueError, match="output 'force' is unknown"):
        script(cv, [8, 1, 1], output="force")
    with pytest.raises(ValueError, match="AdaptiveBias is not a function of u alone"):
        script(cv, [8, 1, 1], bias=AdaptiveBias())
    with pytest.raises(ElementError, match="contains S"):
        script(cv, [16, 1, 1])
    assert not list(tmp_path.iterdir())


class Foreign:
    """A potential of somebody else."""

    members, elements, dtype, fingerprint = 2, (1,), torch.float64, "x"


def test_a_foreign_potential_is_told_to_use_the_python_backend():
    cv = tiny.cv()
    cv.potential = Foreign()
    with pytest.raises(TypeError, match=r"Foreign cannot be exported; .* python backend"):
        script(cv, [1])


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "other.pt"
    path.write_text("no")
    with pytest.raises(FileFormatError, match="not a file written by uncv export"):
        load_exported(path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    with pytest.raises(FileFormatError, match="export it again"):
        load_exported(path)
    extra = {"uncv.json": '{"format": "uncv-torchscript", "version": 99}'}
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path, _extra_files=extra)
    with pytest.raises(FileFormatError, match="version 99"):
        load_exported(path)


def test_module_refuses_another_number_of_particles():
    module = script(tiny.cv(), [8, 1, 1])
    with pytest.raises(torch.jit.Error, match="the System has 4 particles"):
        module(torch.zeros(4, 3))
