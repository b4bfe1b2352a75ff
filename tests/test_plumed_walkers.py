"""What each walker's PLUMED is told: own values, shared hills, the energy, atomic uncertainties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("plumed")

from uncv.errors import PlumedError
from uncv.plumed import PlumedDriver, PlumedSettings, PlumedWalkers
from uncv.plumed.instance import internal_energy_unit
from uncv.plumed.script import read_script
from uncv.plumed.walker_input import for_walker

MASSES = [12.0, 1.0]
START = np.array([[0.1, 0.2, 0.3], [0.5, -0.1, 0.2]])
U = "u: EXTRACV NAME=uncertainty\n"
ATOMS = "atomic_uncertainty: PUT SHAPE=3 UNIT=number PERIODIC=NO\n"


def driver(folder: Path, script: str, **settings) -> PlumedDriver:
    return PlumedDriver(PlumedSettings(script, MASSES, directory=folder, **settings))


def texts(script: str, walker: int, walkers: int = 3) -> list[str]:
    return [line.text for line in for_walker(read_script(script), walker, walkers)]


def test_each_walker_gets_its_own_value_of_replicas():
    script = (
        "RESTRAINT ARG=u AT=@replicas:1,2,3 KAPPA=4\n"
        "METAD ARG=u,v SIGMA=@replicas:{{0.1,0.2} {0.3,0.4} {0.5,0.6}} PACE={@replicas:7 8 9}\n"
    )
    assert texts(script, 1) == [
        "RESTRAINT ARG=u KAPPA=4 AT=2",
        "METAD ARG=u,v SIGMA={0.3,0.4} PACE=8",
    ]
    assert texts(script, 2)[1] == "METAD ARG=u,v SIGMA={0.5,0.6} PACE=9"
    with pytest.raises(PlumedError, match=r"line 1 .*AT names 3 values .* there is a walker 3"):
        texts(script, 3, 4)


def test_braced_replicas_are_what_plumed_reads(tmp_path):
    script = U + "RESTRAINT ARG=u,u AT=@replicas:{{1,1} {2,2}} KAPPA=@replicas:{{4,4},{6,6}}\n"
    for walker, (at, kappa) in enumerate(((1.0, 4.0), (2.0, 6.0))):
        with driver(tmp_path, script, walker=walker, walkers=2) as plumed:
            plumed.begin(0, START)
            assert plumed.finish({"uncertainty": 5.0}).bias == pytest.approx(kappa * (5 - at) ** 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("METAD ARG=u WALKERS_MPI", r"needs MPI.*share the hills through files by WALKERS_N=3"),
        ("OPES_METAD ARG=u WALKERS_MPI", "needs MPI.*each walker has a bias of its own"),
        ("METAD ARG=u WALKERS_N=5", "3 walkers .* WALKERS_N=5; name them .*@replicas:0,1,2"),
        ("METAD ARG=u WALKERS_N=3 WALKERS_ID=0", "name them by WALKERS_ID=@replicas:0,1,2"),
    ],
)
def test_walkers_that_would_write_over_each_other_are_refused(line, message):
    with pytest.raises(PlumedError, match=message):
        texts(f"{line}\n", 1)


def test_walkers_are_numbered_unless_the_input_does():
    assert texts("METAD ARG=u WALKERS_N=3\n", 2) == ["METAD ARG=u WALKERS_N=3 WALKERS_ID=2"]
    given = "METAD ARG=u WALKERS_N=9 WALKERS_ID=@replicas:3,4,5\n"
    assert texts(given, 1) == ["METAD ARG=u WALKERS_N=9 WALKERS_ID=4"]
    alone = "METAD ARG=u WALKERS_N=9 WALKERS_ID=7"
    assert texts(f"{alone}\n", 0, 1) == [alone]


def test_hills_of_one_walker_are_felt_by_the_others(tmp_path):
    (tmp_path / "shared").mkdir()
    hills = "METAD ARG=u SIGMA=0.3 HEIGHT=1.5 PACE=2 WALKERS_N=3 WALKERS_RSTRIDE=1 "
    script = U + hills + "WALKERS_DIR=shared LABEL=m\nPRINT ARG=m.bias FILE=COLVAR\n"
    plumed = PlumedWalkers(PlumedSettings(script, MASSES, directory=tmp_path), 3)
    x = np.tile(START, (3, 1))
    for step in range(4):
        plumed.begin(step, x, None, range(3))
        plumed.finish({w: {"uncertainty": 2.0 * w} for w in range(3)})
    plumed.begin(4, x, None, range(3))
    answers = plumed.finish({w: {"uncertainty": 0.3} for w in range(3)})
    # The hill at step 2 of walker 0; PLUMED stretches a Gaussian to be 0 from 3.5 sigma on.
    end = np.exp(-6.25)
    expected = 1.5 * (np.exp(-0.5) - end) / (1 - end)
    biases = [answers[walker].bias for walker in range(3)]
    assert biases == pytest.approx([expected] * 3, rel=1e-9)
    plumed.close()
    names = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert names == ["COLVAR.0", "COLVAR.1", "COLVAR.2", "HILLS.0", "HILLS.1", "HILLS.2"]


def test_hills_of_a_former_run_are_set_aside_before_anyone_reads_them(tmp_path):
    script = U + "METAD ARG=u SIGMA=0.3 HEIGHT=1.5 PACE=1 WALKERS_N=2 WALKERS_RSTRIDE=1\n"
    x = np.tile(START, (2, 1))
    for run in range(3):
        plumed = PlumedWalkers(PlumedSettings(script, MASSES, directory=tmp_path), 2)
        biases = []
        for step in range(4):
            plumed.begin(step, x, None, range(2))
            answers = plumed.finish({w: {"uncertainty": 1.0} for w in range(2)})
            biases.append(answers[0].bias)
        plumed.flush(4)
        plumed.close()
        assert biases[:2] == [0.0, 0.0]  # METAD deposits nothing at its first update
        assert biases[3] > 0.0
        assert len(list(tmp_path.glob("bck.*.HILLS.*"))) == 2 * run


def test_hills_of_two_variables_apart_are_shared_too(tmp_path):
    script = U + "e: EXTRACV NAME=energy\nPBMETAD ARG=u,e SIGMA=0.3,0.3 HEIGHT=1.5 PACE=1 "
    script += "FILE=HILLS.u,HILLS.e TEMP=300 WALKERS_N=2 WALKERS_RSTRIDE=1\n"
    plumed = PlumedWalkers(PlumedSettings(script, MASSES, directory=tmp_path), 2)
    for step in range(3):
        plumed.begin(step, np.tile(START, (2, 1)), None, range(2))
        values = {w: {"uncertainty": 4.0 * w, "energy": -4.0 * w} for w in range(2)}
        plumed.finish(values)
    plumed.begin(3, np.tile(START, (2, 1)), None, range(2))
    answers = plumed.finish({w: {"uncertainty": 0.1, "energy": -0.1} for w in range(2)})
    assert answers[1].bias == pytest.approx(answers[0].bias, rel=1e-6)
    assert answers[1].bias > 0.5  # of hills that walker 0 alone deposited there
    plumed.close()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["HILLS.e.0", "HILLS.e.1", "HILLS.u.0", "HILLS.u.1"]


@pytest.mark.parametrize(
    ("units", "unit"),
    [
        ("", 1.0),
        ("UNITS LENGTH=A\n", 1.0),
        ("UNITS ENERGY=kcal/mol\n", 4.184),
        ("UNITS ENERGY=kcal/mol LENGTH=A TIME=fs\n", 4.184),
    ],
)
def test_energy_has_its_force_and_plumeds_unit(tmp_path, units, unit):
    """V = 3 E + (E + 10)²/2, all in the unit of the input."""
    script = f"{units}e: ENERGY\nRESTRAINT ARG=e AT=-10 KAPPA=1 SLOPE=3\nPRINT ARG=e FILE=C\n"
    with driver(tmp_path, script) as plumed:
        plumed.begin(0, START)
        assert plumed.needs("energy")
        answer = plumed.finish({"energy": -7.0 * unit})
        plumed.update()
    assert answer.bias == pytest.approx((3.0 * 3.0 + 4.5) * unit, rel=1e-7)
    assert answer.derivatives["energy"] == pytest.approx(3.0 + 3.0, rel=1e-7)
    assert np.loadtxt(tmp_path / "C")[1] == pytest.approx(-7.0, abs=1e-6)
    assert internal_energy_unit(read_script(units + "\n")) == pytest.approx(unit, rel=1e-7)


def test_energy_units_are_asked_of_plumed_itself():
    assert internal_energy_unit(read_script("UNITS ENERGY=eV\n")) == pytest.approx(96.485, rel=1e-5)
    assert internal_energy_unit(read_script("UNITS NATURAL\n")) == 1.0


@pytest.mark.parametrize(
    ("units", "unit"), [("", 1.0), ("UNITS ENERGY=kcal/mol LENGTH=A\n", 4.184)]
)
def test_atomic_uncertainties_have_a_force_each(tmp_path, units, unit):
    script = (
        units
        + ATOMS
        + (
            "s: CUSTOM ARG=atomic_uncertainty FUNC=x^3 PERIODIC=NO\nt: SUM ARG=s PERIODIC=NO\n"
            "RESTRAINT ARG=t AT=1 KAPPA=2\n"
        )
    )
    values = np.array([0.5, -1.0, 1.5])
    with driver(tmp_path, script, vectors={"atomic_uncertainty": 3}) as plumed:
        plumed.begin(0, START)
        assert plumed.needs("atomic_uncertainty")
        answer = plumed.finish({"atomic_uncertainty": values})
        with pytest.raises(PlumedError, match=r"given .*nan.* as 'atomic_uncertainty'"):
            plumed.finish({"atomic_uncertainty": np.array([0.0, np.nan, 1.0])})
        with pytest.raises(PlumedError, match="needs 'atomic_uncertainty'"):
            plumed.finish({})
    total = (values**3).sum()
    assert answer.bias == pytest.approx((total - 1) ** 2 * unit, rel=1e-8)
    expected = 2 * (total - 1) * 3 * values**2 * unit
    np.testing.assert_allclose(answer.vectors["atomic_uncertainty"], expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (ATOMS.replace("=3", "=4"), "has 3 elements.* and SHAPE=4; write SHAPE=3"),
        (ATOMS.replace("number", "energy"), "given as it is.*write UNIT=number"),
        (ATOMS.replace("atomic_", ""), "label 'uncertainty'.* or atomic_uncertainty: PUT SHAPE=3"),
    ],
)
def test_vectors_that_are_not_offered_are_refused(tmp_path, line, message):
    with pytest.raises(PlumedError, match=message):
        driver(tmp_path, line, vectors={"atomic_uncertainty": 3})


def test_a_walker_outside_of_the_run_is_refused():
    with pytest.raises(ValueError, match="walker 3 is not among 3, counted from 0"):
        PlumedSettings(U, MASSES, walker=3, walkers=3)
