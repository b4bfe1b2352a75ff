"""Sampling: frames, series, stops and restarts, seeds, PLUMED for each walker."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

import uncv
from uncv.bias import LinearBias
from uncv.errors import DataError, EngineError, PlumedError
from uncv.sampling import SampleSettings, Walkers, sample
from uncv.stopping import StopRules
from uncv.units import KB_IN_KJ_PER_MOL_K

SHORT = SampleSettings(timestep=0.5, steps=20, stride=5, walkers=3)
COLUMNS = {"walker", "step", "energy", "uncertainty", "bias", "stop_reason"}


def start(count=2):
    data = tiny.frames("CH3OH", count, 0.03, seed=1)
    return tiny.topology(data), data


def test_frames_and_series_belong_together():
    topology, data = start()
    cv = tiny.cv("atomic_energy", "softmax")
    calls = []
    run = sample(
        topology,
        data,
        cv,
        settings=SHORT,
        bias=LinearBias(0.5),
        seed=3,
        progress=lambda done, whole: calls.append((done, whole)),
    )
    assert calls == [(5, 20), (10, 20), (15, 20), (20, 20)]
    assert run.uncertainty.shape == run.bias.shape == (4, 3)
    assert run.walker_steps == 60
    assert run.stop_reasons == ()
    assert len(run.frames) == 12
    assert set(run.frames.info) == COLUMNS
    assert run.frames.info["step"].tolist() == np.repeat([5, 10, 15, 20], 3).tolist()
    assert run.frames.info["walker"].tolist() == [0, 1, 2] * 4
    assert set(run.frames.info["stop_reason"]) == {""}
    result = cv.evaluate(run.frames)
    np.testing.assert_allclose(run.frames.info["energy"], result.energy)
    np.testing.assert_allclose(run.frames.info["uncertainty"], result.uncertainty)
    np.testing.assert_allclose(run.uncertainty.ravel(), result.uncertainty)
    np.testing.assert_allclose(run.bias, -0.5 * run.uncertainty)
    assert not run.frames.has("energy")
    np.testing.assert_allclose(run.frames.positions.mean(axis=1), 0.0, atol=1e-9)


def test_a_seed_gives_the_same_run_and_another_seed_another():
    topology, data = start()
    runs = [sample(topology, data, tiny.cv(), settings=SHORT, seed=s) for s in (5, 5, 6)]
    np.testing.assert_array_equal(runs[0].frames.positions, runs[1].frames.positions)
    assert np.abs(runs[0].frames.positions - runs[2].frames.positions).max() > 1e-3


def test_starts_are_taken_in_turn():
    topology, data = start(2)
    walkers = Walkers(topology, data, tiny.cv(), SHORT, None, None, 0)
    positions = walkers.simulation.context.getState(positions=True).getPositions(asNumpy=True)
    expected = data.positions[[0, 1, 0]] / 10.0
    np.testing.assert_allclose(positions._value.reshape(3, 6, 3), expected, atol=1e-7)


def test_velocities_are_thermal_and_do_not_drift():
    topology, data = start()
    settings = SampleSettings(temperature=250.0, walkers=60, steps=1, stride=1)
    walkers = Walkers(topology, data, tiny.cv(), settings, None, None, 2)
    state = walkers.simulation.context.getState(velocities=True)
    velocities = state.getVelocities(asNumpy=True)._value.reshape(60, 6, 3)
    masses = np.array([{1: 1.008, 6: 12.011, 8: 15.999}[int(z)] for z in data.numbers[0]])
    momentum = np.einsum("a,wax->wx", masses, velocities)
    np.testing.assert_allclose(momentum, 0.0, atol=2e-2)
    kinetic = 0.5 * (masses[:, None] * velocities**2).sum(axis=(1, 2))
    freedom = 60 * 15  # three degrees of freedom of each walker are taken away
    found = 2 * kinetic.sum() / freedom / KB_IN_KJ_PER_MOL_K
    assert found == pytest.approx(250.0, abs=4 * 250.0 * np.sqrt(2 / freedom))


def test_a_stopped_walker_is_kept_with_its_reason_and_begins_again():
    topology, data = start(1)
    cv = tiny.cv()
    first = sample(topology, data, cv, settings=SHORT, seed=1)
    limit = float(np.quantile(first.uncertainty, 0.3))
    pool = tiny.frames("CH3OH", 2, 0.0)
    run = sample(
        topology,
        data,
        cv,
        settings=SHORT,
        stop=StopRules(max_uncertainty=limit),
        restart_pool=pool,
        seed=1,
    )
    reasons = run.frames.info["stop_reason"]
    stopped = reasons != ""
    assert len(run.stop_reasons) == stopped.sum() > 1
    assert sorted(run.stop_reasons) == sorted(reasons[stopped])
    assert all("uncertainty" in r and "the limit is" in r for r in run.stop_reasons)
    assert (run.frames.info["uncertainty"][stopped] > limit).all()
    assert (run.frames.info["uncertainty"][~stopped] <= limit).all()
    assert run.walker_steps == 60
    parked = np.isnan(run.uncertainty)
    assert (parked == np.isnan(run.bias)).all()
    assert (~parked).sum() == (~stopped).sum()
    assert not run.reweightable
    assert "stopped" in run.reason


def test_a_restarted_walker_stands_where_the_pool_says_with_thermal_velocities():
    topology, data = start(1)
    walkers = Walkers(topology, data, tiny.cv(), SHORT, None, None, 0)
    walkers.advance(3)
    walkers.driver.park(1)
    walkers.advance(2)
    before = walkers.simulation.context.getState(positions=True, velocities=True)
    new = tiny.frames("CH3OH", 1, 0.0).positions[0]
    walkers.restart(1, new, np.random.default_rng(0))
    after = walkers.simulation.context.getState(positions=True, velocities=True)
    for what in ("getPositions", "getVelocities"):
        old, now = (getattr(s, what)(asNumpy=True)._value.reshape(3, 6, 3) for s in (before, after))
        np.testing.assert_allclose(now[[0, 2]], old[[0, 2]], atol=1e-12)
        assert np.abs(now[1] - old[1]).max() > 1e-3
    np.testing.assert_allclose(
        after.getPositions(asNumpy=True)._value.reshape(3, 6, 3)[1], new / 10.0, atol=1e-7
    )
    assert walkers.advance(1).active.all()


def test_a_walker_that_breaks_costs_only_itself():
    topology, data = start(3)
    broken = data.positions.copy()
    broken[1, 1] = broken[1, 0]  # two atoms in one place: no energy
    starts = tiny.Dataset(data.numbers, broken)
    run = sample(topology, starts, tiny.cv(), settings=SHORT, restart_pool=data, seed=1)
    assert run.stop_reasons == ("energy, force or position is not finite",)
    assert np.isnan(run.uncertainty[0, 1])
    assert np.isfinite(run.uncertainty[1:]).all()
    assert np.isfinite(run.uncertainty[:, [0, 2]]).all()
    (stop,) = np.flatnonzero(run.frames.info["stop_reason"] != "")
    assert run.frames.info["walker"][stop] == 1
    assert run.frames.info["step"][stop] == 0
    assert np.isnan(run.frames.info["energy"][stop])


def test_steps_that_the_stride_does_not_divide_are_all_run(tmp_path):
    pytest.importorskip("plumed")
    topology, data = start()
    settings = SampleSettings(timestep=0.5, steps=11, stride=4, walkers=1)
    script = "u: EXTRACV NAME=uncertainty\nPRINT ARG=u FILE=COLVAR\n"
    plumed = uncv.openmm.Plumed(script, timestep=0.0005, directory=tmp_path)
    calls = []
    run = sample(
        topology, data, tiny.cv(), settings=settings, plumed=plumed,
        progress=lambda done, whole: calls.append(done),
    )  # fmt: skip
    assert run.walker_steps == 11
    assert run.uncertainty.shape == (2, 1)
    assert calls == [4, 8, 11]
    assert len(np.loadtxt(tmp_path / "COLVAR")) == 11


def test_plumed_writes_a_file_for_each_walker(tmp_path, monkeypatch):
    pytest.importorskip("plumed")
    monkeypatch.chdir(tmp_path)
    topology, data = start()
    cv = tiny.cv()
    script = "u: EXTRACV NAME=uncertainty\nPRINT ARG=u FILE=COLVAR FMT=%.8f STRIDE=5\n"
    run = sample(topology, data, cv, settings=SHORT, plumed=script, seed=2)
    assert not run.reweightable
    assert "COLVAR" in run.reason
    for walker in range(3):
        colvar = np.loadtxt(tmp_path / f"COLVAR.{walker}")
        np.testing.assert_allclose(colvar[:, 0], 0.0005 * np.arange(0, 20, 5), atol=1e-9)
        np.testing.assert_allclose(colvar[1:, 1], run.uncertainty[:3, walker] * tiny.KJ, rtol=1e-6)


def test_plumed_is_told_temperature_and_timestep(tmp_path):
    pytest.importorskip("plumed")
    topology, data = start()
    plumed = uncv.openmm.Plumed("u: EXTRACV NAME=uncertainty\nPRINT ARG=u\n", timestep=0.002)
    with pytest.raises(PlumedError, match=r"time step is 0\.5 fs but PLUMED was told 2"):
        sample(topology, data, tiny.cv(), settings=SHORT, plumed=plumed)
    with pytest.raises(PlumedError, match="there is no PLUMED input file"):
        sample(topology, data, tiny.cv(), settings=SHORT, plumed=tmp_path / "none.dat")


@pytest.mark.parametrize("name", ["frames.extxyz", "frames.npz"])
def test_the_file_holds_the_frames(tmp_path, name):
    topology, data = start()
    path = tmp_path / name
    run = sample(topology, data, tiny.cv(), settings=SHORT, out=path)
    again = uncv.read(path)
    np.testing.assert_allclose(again.positions, run.frames.positions, atol=1e-7)
    assert again.info["walker"].tolist() == run.frames.info["walker"].tolist()
    np.testing.assert_allclose(again.info["uncertainty"], run.frames.info["uncertainty"])
    assert again.energy is None


def test_starts_must_fit_the_topology():
    topology, data = start()
    cv = tiny.cv()
    with pytest.raises(DataError, match="2 frames of 3 atoms; expected at least one of 6"):
        sample(topology, tiny.frames("H2O", 2), cv)
    with pytest.raises(DataError, match="0 frames"):
        sample(topology, data[:0], cv)
    swapped = tiny.Dataset(data.numbers[:, ::-1], data.positions[:, ::-1])
    with pytest.raises(DataError, match="atoms of the start structures are not those of the"):
        sample(topology, swapped, cv)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"walkers": 0}, "walkers is 0"),
        ({"steps": 5, "stride": 6}, "stride 6 is longer than the run of 5"),
        ({"timestep": float("nan")}, "timestep is nan"),
    ],
)
def test_settings_check_themselves(settings, message):
    with pytest.raises(ValueError, match=message):
        SampleSettings(**settings)


def test_hydrogen_mass_reaches_the_system():
    topology, data = start()
    settings = SampleSettings(hydrogen_mass=3.0, walkers=1, steps=1, stride=1)
    walkers = Walkers(topology, data, tiny.cv(), settings, None, None, 0)
    masses = [walkers.simulation.system.getParticleMass(i)._value for i in range(6)]
    assert [m for m, z in zip(masses, data.numbers[0], strict=True) if z == 1] == [3.0] * 4


def test_a_bias_that_jumps_is_refused():
    topology, data = start()
    with pytest.raises(EngineError, match="'max' has a gradient that jumps"):
        sample(topology, data, tiny.cv("atomic_energy", "max"), bias=LinearBias(1.0))


def test_the_frames_before_a_failure_are_kept(tmp_path):
    pytest.importorskip("plumed")
    topology, data = start()
    script = (
        "u: EXTRACV NAME=uncertainty\nt: TIME\n"
        "m: METAD ARG=t SIGMA=1 HEIGHT=1 PACE=1000 GRID_MIN=0 GRID_MAX=0.0061 GRID_BIN=9\n"
    )
    plumed = uncv.openmm.Plumed(script, timestep=0.0005, directory=tmp_path)
    out = tmp_path / "run.npz"
    with pytest.raises(PlumedError, match="outside the grid") as failure:
        sample(topology, data, tiny.cv(), settings=SHORT, plumed=plumed, out=out)
    kept = uncv.read(out)
    assert failure.value.__notes__ == [f"the {len(kept)} frames stored before are in {out}"]
    assert set(kept.info["step"]) == {5, 10}
    assert len(kept) == 6


def test_a_failed_run_ends_its_plumed_instances(tmp_path):
    pytest.importorskip("plumed")
    topology, data = start()
    plumed = uncv.openmm.Plumed(
        "u: EXTRACV NAME=uncertainty\nPRINT ARG=u FILE=COLVAR\n", 0.0005, directory=tmp_path
    )
    drivers = []

    def interrupt(done, whole):
        raise KeyboardInterrupt

    original = uncv.sampling.driver_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "uncv.sampling.driver_of", lambda s: drivers.append(original(s)) or drivers[-1]
        )
        with pytest.raises(KeyboardInterrupt):
            sample(topology, data, tiny.cv(), settings=SHORT, plumed=plumed, progress=interrupt)
    with pytest.raises(PlumedError, match="was closed"):
        drivers[0].plumed.gates[0].driver.begin(9, data.positions[0])
    assert len(np.loadtxt(tmp_path / "COLVAR.0")) == 5
