"""PLUMED inside an engine: an analytic value u(x), a few atoms, and the real PLUMED."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("plumed")

from uncv.errors import DependencyError, PlumedError
from uncv.plumed import (
    PlumedDriver,
    PlumedForces,
    PlumedSettings,
    StepGate,
    plumed_kernel,
    plumed_version,
)
from uncv.plumed.script import read_script
from uncv.plumed.walker_input import check_input

KCAL = 4.184  # kJ/mol, by definition
MASSES = [12.011, 1.008, 15.999, 14.007]
WEIGHTS = np.array([0.7, 1.3, 2.1, 0.4])  # of u, 1/nm^2
START = np.array([[0.1, 0.2, 0.3], [0.5, -0.1, 0.2], [-0.3, 0.4, 0.6], [0.2, 0.3, -0.5]])
U = "u: EXTRACV NAME=uncertainty\n"
HILLS = U + "METAD ARG=u SIGMA=0.2 HEIGHT=1.0 PACE=2 FILE=HILLS LABEL=m\n"


def uncertainty(positions):
    """A smooth u (kJ/mol) and its gradient (kJ/mol/nm)."""
    squares = positions**2
    return float((WEIGHTS[:, None] * squares).sum()), 2 * WEIGHTS[:, None] * positions


def make(folder: Path, script: str, **settings) -> PlumedDriver:
    return PlumedDriver(PlumedSettings(script, MASSES, directory=folder, **settings))


def evaluate(driver, positions, step=0, box=None) -> PlumedForces:
    driver.begin(step, positions, box)
    return driver.finish({"uncertainty": uncertainty(positions)[0]})


def rows(path: Path) -> np.ndarray:
    return np.loadtxt(path, ndmin=2)


def central_differences(function, x, width=1e-5):
    result = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[index] = width
        result[index] = (function(x + shift) - function(x - shift)) / (2 * width)
    return result


def test_restraint_on_u_equals_the_formula(tmp_path):
    u = uncertainty(START)[0]
    with make(tmp_path, U + "RESTRAINT ARG=u AT=0.7 KAPPA=3 SLOPE=0.2\n") as driver:
        answer = evaluate(driver, START)
    assert answer.bias == pytest.approx(1.5 * (u - 0.7) ** 2 + 0.2 * (u - 0.7), abs=1e-10)
    assert answer.derivatives["uncertainty"] == pytest.approx(3 * (u - 0.7) + 0.2, abs=1e-10)
    assert answer.derivatives["energy"] == 0.0
    assert not answer.forces.any()
    assert not answer.virial.any()


def test_two_values_and_a_distance_each_get_their_own_derivative(tmp_path):
    script = (
        U
        + "e: EXTRACV NAME=energy\nd: DISTANCE ATOMS=1,2\n"
        + "RESTRAINT ARG=u,e,d AT=1,-3,0.2 KAPPA=2,0.5,700\n"
    )
    with make(tmp_path, script) as driver:
        driver.begin(0, START)
        answer = driver.finish({"uncertainty": 1.5, "energy": -7.0})
    apart = START[1] - START[0]
    d = np.linalg.norm(apart)
    assert answer.bias == pytest.approx(0.25 + 0.25 * 16 + 350 * (d - 0.2) ** 2, abs=1e-10)
    assert answer.derivatives == pytest.approx({"uncertainty": 1.0, "energy": -2.0}, abs=1e-10)
    pull = 700 * (d - 0.2) * apart / d
    np.testing.assert_allclose(answer.forces[:2], [pull, -pull], atol=1e-9)


@pytest.mark.parametrize(
    "script",
    [
        "d: DISTANCE ATOMS=1,2\nRESTRAINT ARG=u,d AT=1,0.2 KAPPA=2,400\n",
        "d: DISTANCE ATOMS=3,4\np: CUSTOM ARG=u,d FUNC=x*y PERIODIC=NO\n"
        "RESTRAINT ARG=p AT=0 KAPPA=5\n",
        "t: TORSION ATOMS=1,2,3,4\nMETAD ARG=u,t SIGMA=0.3,0.4 HEIGHT=2 PACE=1 FILE=HILLS\n",
        "UPPER_WALLS ARG=u AT=0.5 KAPPA=20 EXP=3\n",
    ],
)
def test_total_force_is_the_gradient_of_the_bias(tmp_path, script):
    with make(tmp_path, U + script) as driver:
        for step in range(2):  # METAD deposits nothing at its first step
            evaluate(driver, START, step)
            driver.update()
        x = START + 0.02 * np.sin(np.arange(12)).reshape(4, 3)
        answer = evaluate(driver, x, step=2)
        total = answer.forces - answer.derivatives["uncertainty"] * uncertainty(x)[1]
        expected = -central_differences(lambda y: evaluate(driver, y, step=2).bias, x)
    np.testing.assert_allclose(total, expected, rtol=1e-6, atol=1e-6)
    assert np.abs(total).max() > 0.1


@pytest.mark.parametrize(
    ("units", "factor"),
    [
        ("UNITS ENERGY=kcal/mol\n", KCAL),
        ("UNITS LENGTH=A\n", 1.0),
        ("UNITS LENGTH=A ENERGY=kcal/mol TIME=fs\n", KCAL),
        ("UNITS ...\n  ENERGY=eV  # of an atom\n... UNITS\n", 96.48530749925792),
        ("UNITS NATURAL ENERGY=2\n", 2.0),
    ],
)
def test_units_of_the_script_change_no_unit_of_the_answer(tmp_path, units, factor):
    u = uncertainty(START)[0]
    with make(tmp_path, units + U + "RESTRAINT ARG=u AT=1 KAPPA=2\n") as driver:
        answer = evaluate(driver, START)
    assert answer.bias == pytest.approx(factor * (u - 1) ** 2, rel=1e-9)
    assert answer.derivatives["uncertainty"] == pytest.approx(factor * 2 * (u - 1), rel=1e-9)


def test_forces_on_positions_and_virial_under_length_in_angstrom(tmp_path):
    geometry = "d: DISTANCE ATOMS=1,2\nRESTRAINT ARG=d "
    with make(tmp_path / "nm", geometry + "AT=0.2 KAPPA=700\n") as driver:
        expected = evaluate(driver, START, box=3 * np.eye(3))
    # 700 kJ/mol/nm^2 = 7 kJ/mol/A^2
    with make(tmp_path / "A", "UNITS LENGTH=A\n" + geometry + "AT=2 KAPPA=7\n") as driver:
        answer = evaluate(driver, START, box=3 * np.eye(3))
    np.testing.assert_allclose(answer.forces, expected.forces, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(answer.virial, expected.virial, rtol=1e-9, atol=1e-9)


def test_virial_is_the_derivative_with_respect_to_a_strain(tmp_path):
    box = np.array([[2.0, 0, 0], [0.3, 2.1, 0], [-0.2, 0.4, 2.2]])
    x = START + np.array([[0.9, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])  # across the boundary
    script = (
        "d: DISTANCE ATOMS=1,4\nt: TORSION ATOMS=1,2,3,4\nRESTRAINT ARG=d,t AT=1,1 KAPPA=90,7\n"
    )
    with make(tmp_path, script) as driver:

        def bias(strain):
            return evaluate(driver, x @ (np.eye(3) + strain), box=box @ (np.eye(3) + strain)).bias

        expected = -central_differences(bias, np.zeros((3, 3)))
        answer = evaluate(driver, x, box=box)
    np.testing.assert_allclose(answer.virial, expected, rtol=1e-6, atol=1e-6)
    assert np.abs(answer.virial).max() > 1


def test_values_are_asked_for_only_when_they_are_used(tmp_path):
    script = U + "d: DISTANCE ATOMS=1,2\nPRINT ARG=u STRIDE=5 FILE=COLVAR\nPRINT ARG=d FILE=D\n"
    asked = []
    with make(tmp_path, script) as driver:
        for step in range(11):
            driver.begin(step, START)
            needed = driver.needs("uncertainty")
            asked.append(needed)
            assert not driver.needs("energy")
            driver.finish({"uncertainty": 2.0 + step} if needed else {})
            driver.update()
    assert [step for step, needed in enumerate(asked) if needed] == [0, 5, 10]
    np.testing.assert_allclose(rows(tmp_path / "COLVAR"), [[0, 2], [0.005, 7], [0.01, 12]])


def test_no_bias_is_left_over_from_a_step_where_the_bias_was_on(tmp_path):
    with make(tmp_path, U + "RESTRAINT ARG=u AT=0 KAPPA=2 STRIDE=2\n") as driver:
        answers = [evaluate(driver, START, step) for step in range(3)]
    assert answers[0].bias == answers[2].bias > 0
    assert answers[1].bias == 0
    assert answers[1].derivatives["uncertainty"] == 0


def test_an_evaluation_neither_prints_nor_deposits(tmp_path):
    with make(tmp_path, HILLS + "PRINT ARG=u,m.bias FILE=COLVAR\n") as driver:
        for step in range(6):
            assert evaluate(driver, START, step).bias == 0
    assert list(tmp_path.iterdir()) == []


def walk(gate: StepGate, step: int, positions) -> PlumedForces:
    answer = gate.begin(step, positions)
    return answer or gate.finish({"uncertainty": uncertainty(positions)[0]})


def test_hills_and_lines_count_steps_whatever_is_evaluated_between(tmp_path):
    gate = StepGate(make(tmp_path, HILLS + "PRINT ARG=u FILE=COLVAR FMT=%.10f\n"))
    trajectory = [START * (1 + 0.01 * step) for step in range(8)]
    for step, x in enumerate(trajectory):
        for trial in range(step):  # a minimiser, a barostat, a reporter
            walk(gate, step, x * (1.5 + trial))
        walk(gate, step, x)
        walk(gate, step, x)
    gate.flush(7)
    gate.flush(7)
    gate.close()
    colvar, hills = rows(tmp_path / "COLVAR"), rows(tmp_path / "HILLS")
    np.testing.assert_allclose(colvar[:, 0], 0.001 * np.arange(7), atol=1e-12)
    np.testing.assert_allclose(colvar[:, 1], [uncertainty(x)[0] for x in trajectory[:7]], atol=1e-9)
    np.testing.assert_allclose(hills[:, 0], [0.002, 0.004, 0.006])  # METAD leaves out step 0
    np.testing.assert_allclose(hills[:, 1], [uncertainty(x)[0] for x in trajectory[2:7:2]])


def test_an_evaluation_given_up_does_not_reach_the_update(tmp_path):
    grid = "METAD ARG=u SIGMA=1 HEIGHT=1 PACE=9 FILE=H GRID_MIN=0 GRID_MAX=20\n"
    gate = StepGate(make(tmp_path, U + grid + "PRINT ARG=u FILE=COLVAR FMT=%.10f\n"))
    walk(gate, 0, START)
    with pytest.raises(PlumedError, match="outside the grid"):
        walk(gate, 0, 9 * START)  # PLUMED fails half way
    walk(gate, 1, 2 * START)
    gate.begin(1, 3 * START)  # the model fails, and the engine gives up
    gate.flush(2)
    gate.close()
    expected = [uncertainty(START)[0], uncertainty(2 * START)[0]]
    np.testing.assert_allclose(rows(tmp_path / "COLVAR")[:, 1], expected, atol=1e-9)


def test_gate_answers_a_repeated_structure_without_asking_again(tmp_path):
    gate = StepGate(make(tmp_path, HILLS))
    first = walk(gate, 0, START)
    assert gate.begin(0, START) is first
    assert gate.begin(0, START, 3 * np.eye(3)) is None
    gate.finish({"uncertainty": 1.0})
    with pytest.raises(PlumedError, match="without an evaluation begun"):
        gate.finish({"uncertainty": 1.0})
    assert gate.begin(1, START, 3 * np.eye(3)) is None
    gate.close()


def test_flush_is_due_only_for_completed_steps(tmp_path):
    gate = StepGate(make(tmp_path, U + "PRINT ARG=u FILE=COLVAR\n"))
    gate.flush(0)
    walk(gate, 0, START)
    gate.flush(0)  # step 0 is evaluated, not complete
    gate.flush(1)
    walk(gate, 1, START)  # somebody asks for the energy after the last step
    gate.flush(1)
    gate.close()
    assert len(rows(tmp_path / "COLVAR")) == 1


def test_a_step_count_that_goes_back_is_an_error(tmp_path):
    gate = StepGate(make(tmp_path, U + "PRINT ARG=u FILE=COLVAR\n"))
    walk(gate, 5, START)
    with pytest.raises(PlumedError, match="went back from 5 to 0"):
        gate.begin(0, START)
    gate.flush(6)
    with pytest.raises(PlumedError, match="went back from 6 to 5"):
        gate.begin(5, START)
    gate.close()


@pytest.mark.parametrize("barostat", [False, True])
def test_lines_count_steps_in_openmm(tmp_path, barostat):
    """A PythonForce of a few lines: steps, getState, the minimiser and a barostat."""
    openmm = pytest.importorskip("openmm")
    unit = openmm.unit
    script = U + "PRINT ARG=u FILE=COLVAR FMT=%.9f\nPRINT ARG=u STRIDE=3 FILE=THIRD\n"
    gate = StepGate(make(tmp_path, script))
    calls = []

    def force(state):
        x = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        calls.append(state.getStepCount())
        walk(gate, state.getStepCount(), x)
        return 50.0 * (x**2).sum(), -100.0 * x

    system = openmm.System()
    for mass in MASSES:
        system.addParticle(mass)
    python_force = openmm.PythonForce(force)
    if barostat:
        python_force.setUsesPeriodicBoundaryConditions(True)
        system.setDefaultPeriodicBoxVectors(*(5 * np.eye(3)))
        system.addForce(openmm.MonteCarloBarostat(1.0, 300.0, 2))
    system.addForce(python_force)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.001)
    integrator.setRandomNumberSeed(3)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(START)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=5)
    context.setPositions(START)
    expected = []
    for _ in range(6):
        context.getState(getEnergy=True)
        integrator.step(1)
        context.getState(getForces=True)
        x = context.getState(getPositions=True).getPositions(asNumpy=True)
        expected.append(uncertainty(x.value_in_unit(unit.nanometer))[0])
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=5)
    context.setPositions(x)
    integrator.step(6)
    gate.flush(context.getStepCount())
    gate.close()
    colvar = rows(tmp_path / "COLVAR")
    assert len(calls) > 20
    np.testing.assert_allclose(colvar[:, 0], 0.001 * np.arange(12), atol=1e-12)
    np.testing.assert_allclose(rows(tmp_path / "THIRD")[:, 0], [0, 0.003, 0.006, 0.009])
    assert colvar[0, 1] == pytest.approx(uncertainty(START)[0], rel=0.05 if barostat else 1e-8)
    if not barostat:  # a barostat moves the atoms before the integrator looks at them
        np.testing.assert_allclose(colvar[1:7, 1], expected, atol=1e-8)
    del context


def test_two_drivers_live_side_by_side(tmp_path):
    script = HILLS + "PRINT ARG=u,m.bias FILE=COLVAR\n"
    drivers = [make(tmp_path, script, suffix=f".{walker}") for walker in (0, 1)]
    for step in range(4):
        for walker, driver in enumerate(drivers):
            driver.begin(step, START)
            driver.finish({"uncertainty": 1.0 + walker})
        drivers[0].update()
        drivers[1].update()
    for driver in drivers:
        driver.close()
    for walker in (0, 1):
        np.testing.assert_allclose(rows(tmp_path / f"COLVAR.{walker}")[:, 1], 1.0 + walker)
        np.testing.assert_allclose(rows(tmp_path / f"HILLS.{walker}")[:, 1], 1.0 + walker)
    assert not (tmp_path / "COLVAR").exists()


def test_masses_charges_temperature_and_time_arrive(tmp_path):
    script = (
        "UNITS TIME=fs\nc: COM ATOMS=1-4\no: FIXEDATOM AT=0,0,0\n"
        "p: POSITION ATOM=c\nq: DIPOLE GROUP=1-4 COMPONENTS\n"
        "PRINT ARG=p.x,q.x,kBT FILE=COLVAR FMT=%.9f\n"
    )
    charges = [0.1, -0.3, 0.5, -0.3]
    with make(tmp_path, script, charges=charges, temperature=400.0, timestep=0.002) as driver:
        for step in range(2):
            driver.begin(step, START)
            driver.finish({})
            driver.update()
    time, com, dipole, kbt = rows(tmp_path / "COLVAR")[-1]
    assert time == pytest.approx(2.0)
    assert com == pytest.approx(np.average(START[:, 0], weights=MASSES), abs=1e-8)
    assert dipole == pytest.approx(np.dot(charges, START[:, 0]), abs=1e-8)
    assert kbt == pytest.approx(8.31446261815324e-3 * 400, abs=1e-8)


def test_inputs_are_not_changed_and_answers_are_not_overwritten(tmp_path):
    x, box = START.copy(), 3 * np.eye(3)
    with make(tmp_path, "d: DISTANCE ATOMS=1,2\nRESTRAINT ARG=d AT=0 KAPPA=9\n") as driver:
        first = evaluate(driver, x, box=box)
        kept = first.forces.copy()
        evaluate(driver, 2 * x, 1, box)
    np.testing.assert_array_equal(first.forces, kept)
    np.testing.assert_array_equal(x, START)
    np.testing.assert_array_equal(box, 3 * np.eye(3))


def test_nothing_is_written_where_it_does_not_belong(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with make(tmp_path / "run", U + "PRINT ARG=u FILE=COLVAR\n", log=Path("plumed.log")) as driver:
        evaluate(driver, START)
        driver.update()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["COLVAR", "plumed.log"]
    assert Path.cwd() == tmp_path
    assert capfd.readouterr() == ("", "")


def test_committor_asks_for_the_end(tmp_path):
    script = U + "COMMITTOR ARG=u STRIDE=1 BASIN_LL1=5 BASIN_UL1=9 FILE=C\n"
    with make(tmp_path, script) as driver:
        for step, value in enumerate((1.0, 6.0)):
            driver.begin(step, START)
            driver.finish({"uncertainty": value})
            driver.update()
            assert driver.stop_requested() is (value == 6.0)
            assert not driver.stop_requested()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "u: EXTRACV NAME=sigma\n",
            r"line 1 .*asks for 'sigma'.*use EXTRACV NAME=uncertainty or EXTR",
        ),
        ("# c\n\nENERGY\n", r"line 3 \('ENERGY'\): ENERGY has no label; write e: ENERGY"),
        (
            "x: PUT UNIT=number PERIODIC=NO\n",
            "PUT has the label 'x'.*use EXTRACV NAME=uncertainty or",
        ),
        ("d: DISTANCE ATOMS=1,9\n", r"line 1 .*atom 9 out of range"),
        (U + "RESTRAIN ARG=u\n", r'line 2 .*"RESTRAIN" is not known'),
        (
            U + "r: RESTRAINT ...\n ARG=v AT=1\n KAPPA=1\n...\n",
            "line 2 .*cannot find action named v",
        ),
        ("r: RESTRAINT ...\n ARG=v AT=1\n", "line 1: the '...' opened here is never closed"),
        (
            U + "METAD ARG=u SIGMA=1 HEIGHT=1 PACE=1 WALKERS_N=2 WALKERS_DIR=nowhere\n",
            "line 2 .*WALKERS_DIR=nowhere lies in a folder that does not exist; make .*nowhere",
        ),
        (U + "PRINT ARG=u FILE=nowhere/COLVAR\n", "line 2 .*lies in a folder that does not exist"),
        ("INCLUDE FILE=missing.dat\n", "missing.dat cannot be found"),
    ],
)
def test_a_wrong_script_is_refused_with_its_line(tmp_path, script, message):
    with pytest.raises(PlumedError, match=message):
        make(tmp_path, script)


def test_included_files_are_checked_too(tmp_path):
    (tmp_path / "more.dat").write_text(U + "e: EXTRACV NAME=e\n")
    with pytest.raises(PlumedError, match=r"more.dat, line 2 .*use EXTRACV NAME=uncertainty"):
        make(tmp_path, "INCLUDE FILE=more.dat\n")
    (tmp_path / "more.dat").write_text(U)
    with make(tmp_path, "INCLUDE FILE=more.dat\nRESTRAINT ARG=u AT=0 KAPPA=2\n") as driver:
        driver.begin(0, START)
        assert driver.finish({"uncertainty": 3.0}).derivatives["uncertainty"] == pytest.approx(6.0)


def test_a_failure_while_running_tells_the_cause_and_the_step(tmp_path):
    grid = U + "METAD ARG=u SIGMA=1 HEIGHT=1 PACE=1 FILE=H GRID_MIN=0 GRID_MAX=9\n"
    with make(tmp_path, grid) as driver:
        driver.begin(7, START)
        with pytest.raises(
            PlumedError, match=r"at step 7: .*outside the grid.*u\) \(.*told uncertainty = 20"
        ):
            driver.finish({"uncertainty": 20.0})
        driver.begin(7, START)
        with pytest.raises(PlumedError, match="needs 'uncertainty'"):
            driver.finish({"energy": 1.0})
        with pytest.raises(PlumedError, match="given nan as 'uncertainty'"):
            driver.finish({"uncertainty": float("nan")})
        with pytest.raises(ValueError, match="'sigma' is not provided"):
            driver.needs("sigma")


def test_a_file_that_includes_itself_is_an_error(tmp_path):
    (tmp_path / "a.dat").write_text("INCLUDE FILE=b.dat\n")
    (tmp_path / "b.dat").write_text("INCLUDE FILE=a.dat\n")
    with pytest.raises(PlumedError, match=r"b.dat, line 1 .*a.dat includes itself"):
        make(tmp_path, "INCLUDE FILE=a.dat\n")


def test_closing_twice_is_fine_and_using_a_closed_driver_is_not(tmp_path):
    driver = make(tmp_path, U)
    driver.close()
    driver.close()
    with pytest.raises(PlumedError, match="PLUMED instance was closed; make a new one"):
        driver.begin(0, START)


def test_settings_check_themselves():
    with pytest.raises(ValueError, match="at least one atom"):
        PlumedSettings(U, [])
    with pytest.raises(ValueError, match="3 charges for 4 atoms"):
        PlumedSettings(U, MASSES, charges=[0, 0, 0])
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        PlumedSettings(U, MASSES, temperature=0)
    with pytest.raises(ValueError, match="free of spaces"):
        PlumedSettings(U, MASSES, suffix=" 1")


def test_script_lines_are_joined_stripped_and_numbered(tmp_path):
    text = "# first\n\nd: DISTANCE ATOMS=1,2 # why\nr: RESTRAINT ...\n ARG=d\n# c\n AT=1\n"
    lines = read_script(text + "... r:\nENDPLUMED\nFOO\n")
    assert [(line.number, line.text) for line in lines] == [
        (3, "d: DISTANCE ATOMS=1,2"),
        (4, "r: RESTRAINT ARG=d AT=1"),
    ]
    assert [line.action for line in lines] == ["DISTANCE", "RESTRAINT"]
    assert [line.label for line in read_script("a: B\nB LABEL=c\nB\n")] == ["a", "c", ""]
    path = tmp_path / "plumed.dat"
    path.write_text(U)
    assert read_script(path)[0].place == f"{path}, line 1 ('u: EXTRACV NAME=uncertainty')"
    asked = check_input(read_script(str(path)), ("uncertainty",), {})
    assert asked == ({"uncertainty"}, frozenset())
    with pytest.raises(PlumedError, match="no PLUMED input file"):
        read_script("u: EXTRACV NAME=uncertainty")


def test_kernel_is_found_and_its_absence_names_the_remedy(monkeypatch, tmp_path):
    assert plumed_kernel().name.startswith("libplumedKernel")
    assert plumed_version().startswith("2.")
    monkeypatch.setenv("PLUMED_KERNEL", str(tmp_path / "none.so"))
    with pytest.raises(DependencyError, match=r"which does not exist; run: pip install"):
        plumed_kernel()
    monkeypatch.delenv("PLUMED_KERNEL")
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setattr("uncv.plumed.kernel.find_spec", lambda name: None)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(DependencyError, match=r"there is no libplumedKernel.*hillclimber"):
        plumed_kernel()
    (tmp_path / "lib").mkdir()
    broken = tmp_path / "lib" / "libplumedKernel.so"
    broken.write_text("not a library")
    monkeypatch.setattr("sys.platform", "linux")
    assert plumed_kernel() == broken
    with pytest.raises(DependencyError, match="does not load"):
        PlumedDriver(PlumedSettings(U, MASSES))


def test_files_are_whole_after_every_update_without_closing(tmp_path):
    gate = StepGate(make(tmp_path, HILLS + "PRINT ARG=u,m.bias FILE=COLVAR\n"))
    for step in range(300):
        gate.begin(step, START + 1e-4 * step)
        gate.finish({"uncertainty": uncertainty(START)[0]})
    gate.flush(300)
    assert rows(tmp_path / "COLVAR").shape == (300, 3)
    gate.close()
