"""PLUMED in OpenMM: native biases, the energy, atomic uncertainties, checkpoints, other Systems."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import openmm
import pytest
import tiny
from ase import Atoms
from openmm import app

pytest.importorskip("plumed")

import uncv.openmm as engine
from uncv.bias import HarmonicBias, LinearBias
from uncv.cv import UncertaintyCV
from uncv.errors import EngineError, FileFormatError, PlumedError
from uncv.step_spread import SpreadSteps
from uncv.structures import alanine_dipeptide
from uncv.uncertainty import EnsembleUncertainty
from uncv.units import uncertainty_in_openmm

U = "u: EXTRACV NAME=uncertainty\n"
REFERENCE = openmm.Platform.getPlatformByName("Reference")


def simulation_of(system, topology, positions, integrator=None):
    if integrator is None:
        integrator = openmm.LangevinMiddleIntegrator(300, 2, 0.0005)
        integrator.setRandomNumberSeed(4)
    simulation = app.Simulation(topology, system, integrator, REFERENCE)
    simulation.context.setPositions(np.reshape(positions, (-1, 3)) / 10.0)
    simulation.context.setVelocitiesToTemperature(300, 7)
    return simulation


def state(simulation):
    found = simulation.context.getState(energy=True, forces=True)
    return found.getPotentialEnergy()._value, found.getForces(asNumpy=True)._value


def plumed(script, folder):
    return engine.Plumed(script, timestep=0.0005, directory=folder)


@pytest.mark.parametrize("of", ["energy", "forces"])
@pytest.mark.parametrize("periodic", [False, True])
def test_restraint_of_plumed_is_the_native_harmonic_bias(tmp_path, of, periodic):
    data = tiny.crystal(seed=2) if periodic else tiny.frames("CH3OH", seed=2)
    cv = tiny.cv(of)
    topology = tiny.topology(data, data.cell[0] / 10.0 if periodic else None)
    u = cv.evaluate(data).uncertainty[0]
    bias = HarmonicBias(strength=40.0, centre=0.5 * u)
    unit = uncertainty_in_openmm(cv.kind)
    kappa = bias.strength * tiny.KJ / unit**2
    script = f"{U}RESTRAINT ARG=u AT={bias.centre * unit!r} KAPPA={kappa!r}\n"
    native = engine.create_system(topology, cv, bias=bias)
    system = engine.create_system(topology, cv, plumed=plumed(script, tmp_path))
    energy, forces = state(simulation_of(native, topology, data.positions))
    other_energy, other_forces = state(simulation_of(system, topology, data.positions))
    assert other_energy == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(other_forces, forces, atol=1e-8 * np.abs(forces).max())
    unbiased = state(simulation_of(engine.create_system(topology, cv), topology, data.positions))
    assert np.abs(forces - unbiased[1]).max() > 1e-3 * np.abs(forces).max()


def test_the_box_reaches_plumed(tmp_path):
    data = tiny.crystal(seed=2)
    topology = tiny.topology(data, data.cell[0] / 10.0)
    script = "c: CELL\nd: DISTANCE ATOMS=1,4\nPRINT ARG=c.*,d FILE=C FMT=%.10f\n"
    system = engine.create_system(topology, tiny.cv(), plumed=plumed(script, tmp_path))
    simulation = simulation_of(system, topology, data.positions)
    simulation.step(1)
    engine.finish(simulation)
    row = np.loadtxt(tmp_path / "C")[1:]
    np.testing.assert_allclose(row[:9], data.cell[0].ravel() / 10.0, atol=1e-8)
    crystal = Atoms(data.numbers[0], data.positions[0], cell=data.cell[0], pbc=True)
    nearest = crystal.get_distance(0, 3, mic=True) / 10.0
    assert row[9] == pytest.approx(nearest, abs=1e-8)


class Detached(EnsembleUncertainty):
    """Forgets where its values come from."""

    def forward(self, output, groups):
        return super().forward(output, groups).detach()


def test_a_u_that_does_not_depend_on_the_positions_is_an_error(tmp_path):
    data = tiny.frames("CH3OH", seed=2)
    topology = tiny.topology(data)
    cv = UncertaintyCV(tiny.potential(), Detached())
    script = U + "RESTRAINT ARG=u AT=-1 KAPPA=1\n"
    system = engine.create_system(topology, cv, plumed=plumed(script, tmp_path))
    with pytest.raises(openmm.OpenMMException, match="not connected to the positions"):
        simulation_of(system, topology, data.positions).step(1)


@pytest.mark.parametrize("units", ["", "UNITS ENERGY=kcal/mol LENGTH=A\n"])
@pytest.mark.parametrize(
    "lines",
    [
        "e: ENERGY\nRESTRAINT ARG=e AT={e} KAPPA=0.01 SLOPE=0.1\n",
        ATOMS := "atomic_uncertainty: PUT SHAPE=6 UNIT=number PERIODIC=NO\n"
        "q: CUSTOM ARG=atomic_uncertainty FUNC=x^2 PERIODIC=NO\ns: SUM ARG=q PERIODIC=NO\n"
        "RESTRAINT ARG=s AT=0 SLOPE=-0.01 KAPPA=0\n",
        "e: ENERGY\n" + U + ATOMS + "d: DISTANCE ATOMS=1,2\nRESTRAINT ARG=u,d,e AT=1,0.1,{e} "
        "KAPPA=0.3,50,0.002\n",
    ],
    ids=["energy", "atoms", "all"],
)
def test_forces_are_central_differences(tmp_path, lines, units):
    data = tiny.frames("CH3OH", seed=2)
    cv, topology = tiny.cv("atomic_energy"), tiny.topology(data)
    kj = cv.evaluate(data).energy[0] * tiny.KJ
    script = units + lines.format(e=(kj - 20.0) / (4.184 if units else 1.0))
    system = engine.create_system(
        topology, cv, plumed=plumed(script, tmp_path), bias=LinearBias(0.4)
    )
    simulation = simulation_of(system, topology, data.positions)

    def energy_at(x):
        simulation.context.setPositions(x / 10.0)
        return simulation.context.getState(energy=True).getPotentialEnergy()._value

    energy, forces = state(simulation)
    expected = -10.0 * tiny.central_differences(energy_at, data.positions[0], 3e-4)
    np.testing.assert_allclose(forces, expected, rtol=1e-6, atol=1e-6 * np.abs(forces).max())
    native = engine.create_system(topology, cv, bias=LinearBias(0.4))
    without = state(simulation_of(native, topology, data.positions))
    assert abs(energy - without[0]) > 1e-3
    assert np.abs(forces - without[1]).max() > 1e-3


def counting(monkeypatch, owner, name, calls):
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *a, **k: calls.append(1) or original(*a, **k))


def test_u_is_evaluated_only_where_something_looks_at_it(tmp_path, monkeypatch):
    data = tiny.frames("CH3OH", seed=2)
    cv, topology = tiny.cv(), tiny.topology(data)
    calls = []
    counting(monkeypatch, SpreadSteps, "spread", calls)
    counting(monkeypatch, EnsembleUncertainty, "forward", calls)  # without the library
    script = U + "d: DISTANCE ATOMS=1,2\nPRINT ARG=u STRIDE=4 FILE=C\nPRINT ARG=d FILE=D\n"
    system = engine.create_system(topology, cv, plumed=plumed(script, tmp_path))
    simulation = simulation_of(system, topology, data.positions)
    simulation.step(9)
    engine.finish(simulation)
    assert len(calls) == 3
    assert len(np.loadtxt(tmp_path / "C")) == 3
    assert len(np.loadtxt(tmp_path / "D")) == 9
    simulation.context.getState(energy=True)
    frame = engine.driver_of(simulation).frame  # step 9: nothing needed u
    assert len(calls) == 4
    last = tiny.Dataset(data.numbers, frame.positions)
    assert frame.values.uncertainty == pytest.approx(cv.evaluate(last).uncertainty, rel=1e-9)


RUN = """
    import sys
    import tiny
    import uncv.openmm as engine
    from pathlib import Path
    from test_plumed_openmm import continued

    continued(Path(sys.argv[1]), int(sys.argv[2]))
"""
BIASES = {
    "metad": "METAD ARG=u,d SIGMA=0.5,0.01 HEIGHT=0.8 PACE=3 FILE=HILLS LABEL=m\n",
    "opes": "OPES_METAD ARG=u PACE=3 BARRIER=10 SIGMA=0.5 STATE_WFILE=STATE LABEL=m\n",
}


def continued(folder, steps, kind="metad", every=4):
    """Two walkers for a number of steps, from the checkpoint if there is one, writing others."""
    data = tiny.frames("CH3OH", 2, seed=2)
    topology = tiny.topology(data)
    script = U + "d: DISTANCE ATOMS=1,2\n" + BIASES[kind]
    script += "PRINT ARG=u,d,m.bias FILE=COLVAR FMT=%.9g\n"
    system = engine.create_system(topology, tiny.cv(), plumed=plumed(script, folder), walkers=2)
    both, _ = engine.replicate(topology, data.positions / 10.0, 2)
    simulation = simulation_of(system, both, data.positions)
    checkpoint = folder / "run.chk"
    if checkpoint.exists():
        engine.load_checkpoint(simulation, checkpoint)
    while simulation.currentStep < steps:
        simulation.step(min(every, steps - simulation.currentStep))
        engine.save_checkpoint(simulation, checkpoint)
    engine.finish(simulation)
    engine.driver_of(simulation).close()


def colvar(folder, walker):
    return np.loadtxt(folder / f"COLVAR.{walker}")


@pytest.mark.parametrize("kind", ["metad", "opes"])
@pytest.mark.parametrize("every", [3, 4])
def test_a_run_in_parts_is_the_run_in_one(tmp_path, kind, every):
    for name, parts in (("whole", (24,)), ("parts", (9, 13, 24))):
        (tmp_path / name).mkdir()
        for steps in parts:
            continued(tmp_path / name, steps, kind, every)
    for walker in (0, 1):
        whole, parts = colvar(tmp_path / "whole", walker), colvar(tmp_path / "parts", walker)
        np.testing.assert_allclose(whole[:, 0], 0.0005 * np.arange(25), atol=1e-9)
        np.testing.assert_allclose(parts, whole, rtol=1e-6, atol=1e-8)
        assert np.abs(whole[-5:, 3]).max() > 0.01  # the bias acts


@pytest.mark.slow
def test_a_killed_run_leaves_neither_gap_nor_repetition(tmp_path):
    """The process is killed once its COLVAR has grown past a random step, twice."""
    here = Path(__file__).parent
    killed = tmp_path / "killed"
    killed.mkdir()
    code = textwrap.dedent(RUN)
    random = np.random.default_rng(11)
    for stop in np.sort(random.integers(20, 300, 2)):
        run = subprocess.Popen([sys.executable, "-c", code, str(killed), "100000"], cwd=here)
        while run.poll() is None:
            lines = killed / "COLVAR.0"
            if lines.exists() and len(lines.read_text().splitlines()) > stop:
                run.send_signal(signal.SIGKILL)
                run.wait()
        assert run.returncode == -signal.SIGKILL
    assert (killed / "run.chk").exists()
    steps = 320
    continued(killed, steps)
    whole = tmp_path / "whole"
    whole.mkdir()
    continued(whole, steps)
    for walker in (0, 1):
        np.testing.assert_allclose(
            colvar(killed, walker)[:, 0], 0.0005 * np.arange(steps + 1), atol=1e-9
        )
        # The files carry 15 digits of the hills, and dynamics makes more of the rest.
        early = colvar(whole, walker)[:100]
        np.testing.assert_allclose(colvar(killed, walker)[:100], early, rtol=1e-4, atol=1e-6)


LOADED = """
    import sys
    import openmm
    import tiny
    import uncv.openmm as engine
    from openmm import app
    from test_plumed_openmm import REFERENCE, U, plumed

    data = tiny.frames("CH3OH", seed=2)
    topology = tiny.topology(data)
    acting = plumed(U + "PRINT ARG=u FILE=C\\n", sys.argv[1])
    system = engine.create_system(topology, tiny.cv(), plumed=acting)
    simulation = app.Simulation(topology, system, openmm.VerletIntegrator(0.0005), REFERENCE)
    if len(sys.argv) == 3:
        engine.load_checkpoint(simulation, sys.argv[2])
    else:
        simulation.context.setPositions(data.positions[0] / 10.0)
    simulation.step(3)
    engine.save_checkpoint(simulation, sys.argv[1] + "/run.chk")
    print(simulation.currentStep)
"""


def test_a_checkpoint_is_loaded_into_a_simulation_without_positions(tmp_path):
    """In a process of its own: OpenMM itself would end it."""
    for arguments, steps in (((), "3"), ((str(tmp_path / "run.chk"),), "6")):
        command = [sys.executable, "-c", textwrap.dedent(LOADED), str(tmp_path), *arguments]
        run = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
        assert (run.returncode, run.stdout.strip()) == (0, steps), run.stderr
    np.testing.assert_allclose(np.loadtxt(tmp_path / "C")[:, 0], 0.0005 * np.arange(7), atol=1e-9)


def test_a_checkpoint_without_plumed_does_not_continue_a_run_with_it(tmp_path):
    data = tiny.frames("CH3OH", seed=2)
    cv, topology = tiny.cv(), tiny.topology(data)
    bare = simulation_of(engine.create_system(topology, cv), topology, data.positions)
    bare.step(2)
    engine.save_checkpoint(bare, tmp_path / "bare.chk")
    system = engine.create_system(topology, cv, plumed=plumed(U + "PRINT ARG=u\n", tmp_path))
    simulation = simulation_of(system, topology, data.positions)
    with pytest.raises(PlumedError, match="holds no PLUMED state of walker 0"):
        engine.load_checkpoint(simulation, tmp_path / "bare.chk")


def test_committor_parks_the_walker_that_arrived(tmp_path):
    data = tiny.frames("CH3OH", 2, seed=2)
    topology = tiny.topology(data)
    script = U + "COMMITTOR ARG=u STRIDE=1 BASIN_LL1={} BASIN_UL1=1e6 FILE=C\n"
    cv = tiny.cv()
    u = cv.evaluate(data).uncertainty * tiny.KJ
    acting = plumed(script.format(u.mean()), tmp_path)
    system = engine.create_system(topology, cv, plumed=acting, walkers=2)
    both, _ = engine.replicate(topology, data.positions / 10.0, 2)
    simulation = simulation_of(system, both, data.positions)
    simulation.step(1)
    simulation.context.getState(energy=True)
    (event,) = engine.driver_of(simulation).stops
    assert event.walker == np.argmax(u)
    assert event.step == 1
    assert "COMMITTOR" in event.reason
    engine.driver_of(simulation).restart(event.walker)
    simulation.context.getState(energy=True)
    assert engine.driver_of(simulation).frame.active.all()


def test_committor_ends_a_run_without_a_model(tmp_path):
    script = PHI + "COMMITTOR ARG=phi STRIDE=1 BASIN_LL1=-4 BASIN_UL1=4 FILE=C\n"
    with pytest.raises(openmm.OpenMMException, match=r"end of the run .*walkers \[0\], at step 0"):
        amber([script], tmp_path).step(3)


def test_what_is_no_checkpoint_of_the_run_is_said(tmp_path):
    data = tiny.frames("CH3OH", seed=2)
    cv, topology = tiny.cv(), tiny.topology(data)
    simulation = simulation_of(engine.create_system(topology, cv), topology, data.positions)
    simulation.step(1)
    engine.save_checkpoint(simulation, tmp_path / "good.chk")
    whole = (tmp_path / "good.chk").read_bytes()
    (tmp_path / "half.chk").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.chk").write_text("no")
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(FileNotFoundError):
        engine.load_checkpoint(simulation, tmp_path / "none.chk")
    for name in ("half.chk", "text.chk"):
        with pytest.raises(FileFormatError, match=f"{name} is not a whole checkpoint"):
            engine.load_checkpoint(simulation, tmp_path / name)
    with pytest.raises(FileFormatError, match=r"other.npz holds a; expected a file written by"):
        engine.load_checkpoint(simulation, tmp_path / "other.npz")
    water = tiny.frames("H2O")
    other = simulation_of(
        engine.create_system(tiny.topology(water), cv), tiny.topology(water), water.positions
    )
    with pytest.raises(EngineError, match=r"refuses the checkpoint .*good.chk.*the same System"):
        engine.load_checkpoint(other, tmp_path / "good.chk")


PHI = "phi: TORSION ATOMS=5,7,9,15\n"


def amber(scripts=None, folder=None):
    topology, start = alanine_dipeptide()
    field = app.ForceField("amber14/protein.ff14SB.xml")
    system = field.createSystem(topology, constraints=None)
    for script in scripts or ():
        system.addForce(engine.plumed_force(system, plumed(script, folder)))
    return simulation_of(system, topology, start.positions[0])


def test_plumed_acts_on_a_force_field_of_openmm(tmp_path):
    script = PHI + "t: CUSTOM ARG=phi FUNC=9*(1+cos(x-0.5)) PERIODIC=NO\nBIASVALUE ARG=t\n"
    energy, forces = state(amber([script], tmp_path))
    bare = amber()
    torsion = openmm.PeriodicTorsionForce()
    torsion.addTorsion(4, 6, 8, 14, 1, 0.5, 9.0)
    bare.system.addForce(torsion)
    bare.context.reinitialize(preserveState=True)
    expected, expected_forces = state(bare)
    assert energy == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(forces, expected_forces, atol=1e-8 * np.abs(forces).max())


def test_charges_of_a_force_field_reach_plumed(tmp_path):
    script = "q: DIPOLE GROUP=1-22 COMPONENTS\nPRINT ARG=q.x,q.y,q.z FILE=C FMT=%.10f\n"
    simulation = amber([script], tmp_path)
    x = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
    simulation.step(1)
    engine.finish(simulation)
    (force,) = [f for f in simulation.system.getForces() if isinstance(f, openmm.NonbondedForce)]
    charges = np.array([force.getParticleParameters(i)[0]._value for i in range(22)])
    np.testing.assert_allclose(np.loadtxt(tmp_path / "C")[1:], charges @ x, atol=1e-8)


def test_a_force_field_with_plumed_is_checkpointed(tmp_path):
    script = PHI + "m: METAD ARG=phi SIGMA=0.3 HEIGHT=1 PACE=3\nPRINT ARG=phi,m.bias FILE=C\n"
    for name, parts in (("whole", (20,)), ("parts", (8, 20))):
        (tmp_path / name).mkdir()
        for steps in parts:
            simulation = amber([script], tmp_path / name)
            if (tmp_path / name / "chk").exists():
                engine.load_checkpoint(simulation, tmp_path / name / "chk")
            simulation.step(steps - simulation.currentStep)
            engine.save_checkpoint(simulation, tmp_path / name / "chk")
            simulation.system.uncv_driver.close()
    whole, parts = (np.loadtxt(tmp_path / name / "C") for name in ("whole", "parts"))
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    assert len(whole) == 21


def test_what_plumed_force_cannot_do_is_said(tmp_path):
    with pytest.raises(EngineError, match="has a driver of uncv already"):
        amber([PHI, PHI], tmp_path)
    with pytest.raises(PlumedError, match="EXTRACV asks for 'uncertainty', which is not provided"):
        amber([U], tmp_path)
    with pytest.raises(EngineError, match="no driver of uncv"):
        engine.driver_of(amber([PHI], tmp_path))
    simulation = amber([PHI], tmp_path)
    with pytest.raises(openmm.OpenMMException, match="could not be pickled"):
        openmm.XmlSerializer.serialize(simulation.system)
    system = simulation.system
    del system.uncv_driver
    with pytest.raises(EngineError, match="22 particles are not 5 equal walkers"):
        engine.plumed_force(system, PHI, 5)


@pytest.mark.slow
def test_a_barostat_sees_the_bias_of_plumed(tmp_path):
    """Particles without forces in a box: P(V) ∝ V^N exp(−(pV + bias(V))/k_BT)."""
    particles, kt, pressure = 8, 0.0083144626 * 300, 60.0  # bar
    system = openmm.System()
    for _ in range(particles):
        system.addParticle(12.0)
    system.setDefaultPeriodicBoxVectors(*(1.8 * np.eye(3)))
    system.addForce(openmm.MonteCarloBarostat(pressure, 300.0, 1))
    system.getForce(0).setRandomNumberSeed(5)
    nothing = openmm.CustomNonbondedForce("0")
    nothing.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    nothing.setCutoffDistance(0.2)
    for _ in range(particles):
        nothing.addParticle([])
    system.addForce(nothing)
    script = "v: VOLUME\nRESTRAINT ARG=v AT=5 KAPPA=1.5\nPRINT ARG=v FILE=V\n"
    system.addForce(engine.plumed_force(system, plumed(script, tmp_path)))
    integrator = openmm.VerletIntegrator(0.0005)
    context = openmm.Context(system, integrator, REFERENCE)
    context.setPositions(np.random.default_rng(1).uniform(0, 1.8, (particles, 3)))
    integrator.step(6000)
    system.uncv_driver.flush(6000)
    sampled = np.loadtxt(tmp_path / "V")[500:, 1]
    volume = np.linspace(0.5, 12, 4000)
    work = pressure * 0.0602214076 * volume + 0.75 * (volume - 5) ** 2
    log = particles * np.log(volume) - work / kt
    weight = np.exp(log - log.max())
    mean = (weight * volume).sum() / weight.sum()
    spread = np.sqrt((weight * (volume - mean) ** 2).sum() / weight.sum())
    free = (particles + 1) * kt / (pressure * 0.0602214076)  # mean volume without the bias
    blocks = sampled.reshape(10, -1).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(10)
    assert abs(sampled.mean() - mean) < 4 * error < 0.4
    assert sampled.std() == pytest.approx(spread, rel=0.15)
    assert free - mean > 8 * error
