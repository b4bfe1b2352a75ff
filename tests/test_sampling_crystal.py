"""Crystals that move: what a run gives, stops and restarts, constant pressure, PLUMED, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import tiny_morse
import torch
from ase import units

import uncv
from uncv.ase import Plumed
from uncv.bias import AdaptiveBias, Bias, CappedBias, LinearBias, ScheduledBias
from uncv.data import Dataset
from uncv.errors import DataError, EngineError
from uncv.sampling_crystal import CrystalSettings, sample_crystal
from uncv.schedule import Ramp
from uncv.stopping import StopRules

SHORT = {"temperature": 300.0, "steps": 20, "stride": 5, "walkers": 2, "barostat_time": 100.0}


def copper(count=1, scale=1.0):
    atoms = [tiny_morse.crystal(0.05, seed=k) for k in range(count)]
    positions = scale * np.array([a.positions for a in atoms])
    return Dataset(
        atoms[0].numbers, positions, cell=scale * np.array([a.cell.array for a in atoms])
    )


def run(starts=None, cv=None, *, settings=None, **options):
    settings = CrystalSettings(**{**SHORT, **(settings or {})})
    starts = copper() if starts is None else starts
    return sample_crystal(starts, cv or tiny_morse.cv(), settings=settings, **options)


class Breaks(Bias):
    """A spring on u that has no value above a limit."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def forward(self, u):
        return torch.where(u > self.limit, torch.full_like(u, torch.nan), 0.0 * u)


@pytest.mark.parametrize("cell", ["full", "isotropic", None])
def test_frames_are_what_the_model_says_of_them(cell):
    cv, bias = tiny_morse.cv(), LinearBias(0.7)
    settings = {"pressure": None if cell is None else 0.5, "cell": cell or "full"}
    made = run(copper(2), cv, settings=settings, bias=bias)
    frames = made.frames
    assert len(frames) == 8
    assert frames.info["walker"].tolist() == [0, 1] * 4
    assert frames.info["step"].tolist() == [5, 5, 10, 10, 15, 15, 20, 20]
    assert (frames.info["stop_reason"] == "").all()
    assert frames.pbc.all()
    assert frames.energy is None
    again = cv.predict(frames)
    np.testing.assert_allclose(frames.info["energy"], again.energy, rtol=1e-9)
    np.testing.assert_allclose(frames.info["uncertainty"], again.uncertainty, rtol=1e-6)
    np.testing.assert_allclose(frames.info["bias"], -0.7 * again.uncertainty, rtol=1e-6)
    np.testing.assert_allclose(made.uncertainty.ravel(), frames.info["uncertainty"])
    np.testing.assert_allclose(made.bias.ravel(), frames.info["bias"])
    assert made.walker_steps == 40
    assert made.reweightable
    assert made.reason == ""
    assert made.stop_reasons == ()
    stretch = np.linalg.solve(copper(2).cell[frames.info["walker"]], frames.cell)
    off = np.abs(stretch - stretch[:, :1, :1] * np.eye(3)).max()
    if cell is None:
        np.testing.assert_array_equal(frames.cell, copper(2).cell[frames.info["walker"]])
    else:
        assert np.ptp(np.linalg.det(frames.cell)) > 0.05
        assert (off > 1e-3) == (cell == "full")


def test_a_walker_depends_on_the_seed_and_its_number_alone():
    first = run(settings={"pressure": 0.0}, seed=3).frames
    same = run(settings={"pressure": 0.0, "walkers": 3}, seed=3).frames
    for walker in (0, 1):
        one, two = (f[f.info["walker"] == walker] for f in (first, same))
        np.testing.assert_array_equal(one.positions, two.positions)
        np.testing.assert_array_equal(one.cell, two.cell)
    other = run(settings={"pressure": 0.0}, seed=4).frames
    assert not np.allclose(other.cell[-1], first.cell[-1])
    own = first.positions[first.info["walker"] == 1][0] - first.positions[0]
    assert np.abs(own).max() > 1e-3


def test_a_stopped_walker_rests_and_begins_again_in_the_pool():
    cv = tiny_morse.cv()
    pool = copper(3, scale=1.05)
    limit = float(cv.predict(copper()).uncertainty[0]) * 1.02
    rules = StopRules(max_uncertainty=limit)
    options = {"stop": rules, "restart_pool": pool, "seed": 1}
    made = run(cv=cv, settings={"pressure": 0.0, "steps": 30}, **options)
    reasons = made.frames.info["stop_reason"]
    stopped = made.frames[reasons != ""]
    assert len(stopped) == len(made.stop_reasons) > 0
    assert (stopped.info["uncertainty"] > limit).all()
    assert reasons[reasons != ""][0].startswith("uncertainty ")
    np.testing.assert_allclose(cv.predict(stopped).uncertainty, stopped.info["uncertainty"])
    at = stopped.info["step"][0]
    assert np.isnan(made.uncertainty[(at - 1) // 5, stopped.info["walker"][0]])
    assert not made.reweightable
    assert "walkers were stopped and put back" in made.reason
    later = made.frames[(made.frames.info["step"] > at)]
    volumes = np.abs(np.linalg.det(later.cell))
    assert volumes.max() > 1.1 * np.linalg.det(copper().cell[0])


def test_a_walker_without_a_finite_value_stops_at_its_last_sound_structure():
    cv = tiny_morse.cv()
    limit = float(cv.predict(copper()).uncertainty[0]) * 1.02
    made = run(cv=cv, settings={"pressure": 0.0, "steps": 60}, bias=Breaks(limit), seed=1)
    assert made.stop_reasons
    assert set(made.stop_reasons) == {"energy, force or uncertainty is not finite"}
    stopped = made.frames[made.frames.info["stop_reason"] != ""]
    assert (stopped.info["uncertainty"] <= limit).all()
    assert np.isfinite(made.frames.info["energy"]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"volume_limits": (0.5, 1.01), "pressure": -8.0}, "limits are 26.36 and 53.24"),
        ({"volume_limits": (0.99, 3.0), "pressure": 20.0}, "limits are 52.19 and 158.1"),
        ({"min_height": 0.99, "pressure": 20.0}, "Å high, the limit is"),
        ({"pressure": -1e4}, "changes by a strain of"),
    ],
)
def test_the_cell_stays_within_its_limits(settings, message):
    made = run(settings={**settings, "steps": 100})
    assert made.stop_reasons
    assert message in made.stop_reasons[0]
    volumes = np.linalg.det(made.frames.cell) / np.linalg.det(copper().cell[0])
    low, high = settings.get("volume_limits", (0.5, 3.0))
    assert (volumes > low).all()
    assert (volumes < high).all()


def test_bonds_of_stop_rules_are_those_through_the_boundary():
    rules = StopRules(max_bond_factor=1.03)
    made = run(settings={"pressure": -20.0, "steps": 60}, stop=rules)
    assert made.stop_reasons
    assert "were bonded and are" in made.stop_reasons[0]


def test_adaptive_bias_has_its_coefficients_and_stress():
    bias = AdaptiveBias(0.1, window=4)
    settings = {"pressure": 0.0, "steps": 24, "stride": 2}
    cells = []
    for strength in (0.0, 0.6):
        made = run(settings={**settings, "stress_strength": strength}, bias=bias)
        cells.append(made.frames.cell[-2:])
        assert made.coefficients.shape == (12, 2)
        assert (made.coefficients[0] == 0).all()
        assert (made.coefficients[2:] > 0).all()
        assert (made.bias == 0).all()
        assert made.reason == "the adaptive bias has no potential"
    assert np.abs(cells[0] - cells[1]).max() > 1e-3


def test_schedules_and_caps_are_told():
    made = run(bias=ScheduledBias(LinearBias(1.0), Ramp(0.0, 1.0, 20)))
    u = made.frames.info["uncertainty"]
    factors = np.array([0.25, 0.5, 0.75, 1.0]).repeat(2)
    np.testing.assert_allclose(made.frames.info["bias"], -factors * u)
    assert made.reason == "the strength of the bias changed during the run"
    made = run(bias=CappedBias(LinearBias(50.0), max_force=0.01))
    assert made.reason == "the cap shortened the bias force in 42 steps of walkers"
    made = run(settings={"temperature": Ramp(10.0, 600.0, 20)})
    assert made.reason == "the temperature changed during the run"


def test_the_thermostat_follows_its_schedule():
    hot = {"thermostat_time": 2.0, "steps": 40, "stride": 5, "walkers": 1}
    speeds = []
    for end in (1.0, 3000.0):
        frames = run(settings={**hot, "temperature": Ramp(1.0, end, 40)}).frames
        moved = np.diff(frames.positions[frames.info["walker"] == 0], axis=0)
        speeds.append(np.sqrt((moved[-4:] ** 2).mean()))
    assert speeds[1] > 10 * speeds[0]


def test_metadynamics_on_the_volume_under_constant_pressure(tmp_path):
    script = (
        "v: VOLUME\nMETAD ARG=v PACE=2 HEIGHT=20 SIGMA=0.001 WALKERS_N=2 WALKERS_RSTRIDE=2\n"
        "PRINT ARG=v FILE=COLVAR STRIDE=1\n"
    )
    plumed = Plumed(script, timestep=0.001, temperature=300.0, directory=tmp_path)
    for _ in range(2):  # the hills of the first run are set aside by the second
        made = run(settings={"pressure": 0.0}, plumed=plumed)
        for walker in (0, 1):
            steps, volume = np.loadtxt(tmp_path / f"COLVAR.{walker}").T
            assert steps.tolist() == pytest.approx(np.arange(20) / 1000)
            frames = made.frames[made.frames.info["walker"] == walker]
            found = np.linalg.det(frames.cell)[:-1] / 1000
            np.testing.assert_allclose(volume[[5, 10, 15]], found, rtol=1e-5)
            assert len(np.loadtxt(tmp_path / f"HILLS.{walker}")) == 9
    assert made.frames.info["bias"].max() > 0.05
    assert "reweight by its own columns in COLVAR" in made.reason


def test_plumed_may_end_a_walker(tmp_path):
    script = "v: VOLUME\nCOMMITTOR ARG=v STRIDE=1 BASIN_LL1=0.0 BASIN_UL1=10.0\n"
    made = run(plumed=script, settings={"steps": 10})
    assert set(made.stop_reasons) == {"PLUMED asked for the end of the run (COMMITTOR)"}


def test_a_molecule_moves_without_a_cell():
    made = run(tiny.frames("CH3OH"), tiny.cv(), settings={"hydrogen_mass": 3.0})
    assert not made.frames.pbc.any()
    assert not made.frames.cell.any()
    assert len(made.frames) == 8


def test_frames_are_written_and_progress_is_told(tmp_path):
    told = []
    path = tmp_path / "a.npz"
    made = run(settings={"pressure": 0.0}, out=path, progress=lambda *n: told.append(n))
    assert told == [(5, 20), (10, 20), (15, 20), (20, 20)]
    read = uncv.read(path)
    np.testing.assert_array_equal(read.cell, made.frames.cell)

    def fail(done, whole):
        if done == 10:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough") as caught:
        run(out=tmp_path / "b.extxyz", progress=fail)
    assert "the 4 frames stored before are in" in caught.value.__notes__[0]
    assert len(uncv.read(tmp_path / "b.extxyz")) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timestep": 0.0}, "timestep is 0.0; expected a positive number"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"stride": 30}, "stride 30 is longer than the run of 20 steps"),
        ({"cell": "cubic"}, "cell is 'cubic'; expected 'full' or 'isotropic'"),
        ({"pressure": np.nan}, "pressure is nan"),
        ({"volume_limits": (0.0, 2.0)}, "volume_limits is 0.0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        run(settings=settings)


def test_structures_are_checked():
    cv = tiny_morse.cv()
    with pytest.raises(DataError, match="no start structure"):
        run(copper()[:0], cv)
    with pytest.raises(DataError, match="pool are not all of the atoms of the first start"):
        run(restart_pool=tiny.crystal())
    with pytest.raises(DataError, match=r"pressure is 0\.1 GPa but the start structures"):
        run(tiny.frames(), tiny.cv(), settings={"pressure": 0.1})
    slab = Dataset(copper().numbers, copper().positions, copper().cell, [True, True, False])
    with pytest.raises(DataError, match="pool are not periodic along the same directions"):
        run(restart_pool=slab)
    padded = uncv.concatenate([copper(), Dataset([29] * 5, np.arange(15.0).reshape(1, 5, 3))])
    with pytest.raises(DataError, match="start structures are padded"):
        run(padded[:1])
    with pytest.raises(EngineError, match="PLUMED is told one temperature"):
        run(plumed="v: VOLUME\n", settings={"temperature": Ramp(1.0, 2.0, 5)})


@pytest.mark.slow
def test_pressure_moves_the_volume():
    """The mean volume falls with the pressure about as the static crystal's."""
    cv, volumes = tiny_morse.cv(), []
    for pressure in (-4.0, 4.0):
        settings = {"pressure": pressure, "steps": 160, "stride": 10, "temperature": 50.0,
                    "thermostat_time": 30.0, "timestep": 3.0}  # fmt: skip
        frames = run(cv=cv, settings=settings).frames
        volumes.append(np.linalg.det(frames.cell)[16:].mean())
    lengths = np.linspace(3.3, 3.9, 301)
    perfect = tiny_morse.bulk("Cu", "fcc", a=3.75, cubic=True)
    energy = cv.predict(
        Dataset(
            perfect.numbers,
            perfect.get_scaled_positions() * lengths[:, None, None],
            cell=lengths[:, None, None] * np.eye(3),
        )
    ).energy
    static = [lengths[np.argmin(energy + p * units.GPa * lengths**3)] ** 3 for p in (-4.0, 4.0)]
    assert volumes[0] - volumes[1] == pytest.approx(static[0] - static[1], rel=0.3)
    np.testing.assert_allclose(volumes, static, rtol=0.03)


def test_stop_rules_know_the_cell_in_openmm_too():
    """An atom in another image of the cell is no broken bond, and frames have their cells."""
    data = tiny.crystal()
    rules = StopRules(max_bond_factor=1.5, min_distance_factor=0.3)
    starts = Dataset(data.numbers, data.positions, data.cell)
    moved = data.positions + np.array([0, 0, 1, 0])[None, :, None] * data.cell[0, 2]
    topology = tiny.topology(data, data.cell[0] / 10.0)
    stop = rules.prepare(starts.numbers[0], moved[0], cell=starts.cell[0])
    settings = uncv.SampleSettings(steps=4, stride=2, walkers=1)
    for checker in (rules, stop):
        made = uncv.sample(topology, starts, tiny.cv(), settings=settings, stop=checker)
        assert made.stop_reasons == ()
        np.testing.assert_allclose(made.frames.cell, data.cell.repeat(2, axis=0), atol=1e-9)
    assert (
        stop.bonds.tolist()
        == rules.prepare(starts.numbers[0], starts.positions[0], cell=starts.cell[0]).bonds.tolist()
    )
    assert len(stop.bonds) > len(rules.prepare(starts.numbers[0], starts.positions[0]).bonds)
