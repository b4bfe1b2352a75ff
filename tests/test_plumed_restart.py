"""A PLUMED run that dies and is taken up: files cut, biases restored, no line lost or twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("plumed")

from uncv.errors import PlumedError
from uncv.plumed import PlumedDriver, PlumedSettings, PlumedWalkers, StepGate
from uncv.plumed.outputs import Kept, keep, outputs, put_back, with_suffix
from uncv.plumed.restart import forgotten
from uncv.plumed.script import read_script

MASSES = [12.0, 1.0]
START = np.array([[0.1, 0.2, 0.3], [0.5, -0.1, 0.2]])
U = "u: EXTRACV NAME=uncertainty\n"
METAD = "m: METAD ARG=u SIGMA=0.2 HEIGHT=1.0 PACE=3 FILE=HILLS"
OPES = "m: OPES_METAD ARG=u PACE=3 BARRIER=10 SIGMA=0.2 STATE_WFILE=STATE"
PRINT = "PRINT ARG=u,m.bias FILE=colvar.dat FMT=%.12g\n"


def script(bias: str) -> str:
    return f"{U}{bias}\n{PRINT}"


def walkers(folder: Path, text: str, count: int = 1) -> PlumedWalkers:
    return PlumedWalkers(PlumedSettings(text, MASSES, directory=folder), count)


def value(step: int, walker: int) -> float:
    return 2.0 + np.sin(0.37 * step + 0.5 * walker)


def walk(plumed: PlumedWalkers, first: int, last: int) -> list[float]:
    """Evaluate the steps and return the biases of the first walker."""
    count, biases = len(plumed.gates), []
    for step in range(first, last):
        x = np.tile(START, (count, 1)) + 0.001 * step
        plumed.begin(step, x, None, range(count))
        values = {w: {"uncertainty": value(step, w)} for w in range(count)}
        biases.append(plumed.finish(values)[0].bias)
    return biases


def texts(folder: Path) -> dict[str, str]:
    return {
        p.name: p.read_text()
        for p in sorted(folder.iterdir())
        if p.is_file() and not p.name.startswith("bck.")
    }


def numbers(text: str) -> np.ndarray:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return np.array([[float(word) for word in line.split()] for line in lines])


def test_suffixes_go_where_plumed_puts_them(tmp_path):
    names = ["COLVAR", "colvar.dat", "a.b.12", "long.trajectory", ".hidden", "x.", "f/a.xyz"]
    (tmp_path / "f").mkdir()
    lines = "".join(f"PRINT ARG=u FILE={name}\n" for name in names)
    with PlumedDriver(PlumedSettings(U + lines, MASSES, directory=tmp_path, suffix=".7")) as driver:
        driver.begin(0, START)
        driver.finish({"uncertainty": 1.0})
        driver.update()
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {with_suffix(name, ".7") for name in names}


GRID = " GRID_MIN=0 GRID_MAX=5 GRID_BIN=200"
KINDS = {
    "metad": (METAD, 1),
    "grid": (METAD + GRID + " BIASFACTOR=8", 1),
    "written-grid": (METAD + GRID + " GRID_WFILE=G GRID_WSTRIDE=4", 1),
    "shared": (METAD + " WALKERS_N=2 WALKERS_RSTRIDE=1", 2),
    "opes": (OPES, 2),
}
CASES = [(*kind, at) for kind in KINDS.values() for at in (9, 10, 11)]
CASES.append((OPES + " STATE_WSTRIDE=3 STORE_STATES", 2, 9))


@pytest.mark.parametrize(("bias", "count", "at"), CASES)
def test_a_run_taken_up_is_the_run_that_never_died(tmp_path, bias, count, at):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    plumed = walkers(whole, script(bias), count)
    expected = walk(plumed, 0, 20)
    plumed.flush(20)
    plumed.close()

    plumed = walkers(killed, script(bias), count)
    walk(plumed, 0, at + 1)
    kept = plumed.state(at)
    walk(plumed, at, 16)  # the files run ahead, and the process dies without a word
    again = walkers(killed, script(bias), count)
    again.resume(kept)
    biases = walk(again, at, 20)
    again.flush(20)
    again.close()

    # Text files carry about 15 digits of what a bias has in memory.
    # A hill that another walker left at the checkpoint's step is read at once, not a step later.
    late = 2 if "WALKERS_N" in bias else 0
    np.testing.assert_allclose(biases[late:], expected[at + late :], rtol=1e-9, atol=1e-9)
    names = [name for name in texts(whole) if name.startswith(("colvar", "HILLS", "KERNELS"))]
    assert len(names) == 2 * count
    for name in names:
        found, wanted = numbers(texts(killed)[name]), numbers(texts(whole)[name])
        if late and name.startswith("colvar"):
            found, wanted = np.delete(found, at + 1, axis=0), np.delete(wanted, at + 1, axis=0)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    assert not list(killed.glob("bck.*.colvar*"))


def test_a_checkpoint_changes_nothing_of_the_run(tmp_path):
    for folder, saves in (("plain", ()), ("saved", (0, 3, 4, 9))):
        plumed = walkers(tmp_path / folder, script(METAD))
        for step in range(12):
            walk(plumed, step, step + 1)
            if step in saves:
                plumed.state(step)
                walk(plumed, step, step + 1)  # somebody looks at the energy
        plumed.flush(12)
        plumed.close()
    assert texts(tmp_path / "plain") == texts(tmp_path / "saved")


def test_a_run_goes_back_to_its_own_checkpoint(tmp_path):
    plumed = walkers(tmp_path, script(METAD))
    walk(plumed, 0, 6)
    kept = plumed.state(5)
    first = walk(plumed, 6, 12)
    with pytest.raises(PlumedError, match=r"went back from 11 to 6.*load a checkpoint"):
        walk(plumed, 6, 7)
    plumed.resume(kept)
    np.testing.assert_allclose(walk(plumed, 6, 12), first, rtol=1e-12)
    plumed.close()


def test_files_of_another_run_are_not_cut(tmp_path):
    plumed = walkers(tmp_path, script(METAD))
    walk(plumed, 0, 8)
    kept = plumed.state(7)
    plumed.close()
    before = (tmp_path / "HILLS").read_text()
    (tmp_path / "colvar.dat").rename(tmp_path / "old")
    with pytest.raises(PlumedError, match=r"colvar.dat has 0 bytes and had \d+ .*bck\.\*\.colvar"):
        walkers(tmp_path, script(METAD)).resume(kept)
    assert (tmp_path / "HILLS").read_text() == before


def test_no_walker_is_cut_if_the_files_of_one_are_not_there(tmp_path):
    plumed = walkers(tmp_path, script(METAD), 2)
    walk(plumed, 0, 6)
    kept = plumed.state(5)
    walk(plumed, 6, 12)
    plumed.close()
    before = texts(tmp_path)
    (tmp_path / "colvar.1.dat").rename(tmp_path / "old")
    with pytest.raises(PlumedError, match=r"colvar\.1\.dat has 0 bytes"):
        walkers(tmp_path, script(METAD), 2).resume(kept)
    assert texts(tmp_path)["HILLS.0"] == before["HILLS.0"]
    assert texts(tmp_path)["colvar.0.dat"] == before["colvar.0.dat"]


def test_a_checkpoint_of_another_input_is_refused(tmp_path):
    plumed = walkers(tmp_path, script(METAD))
    walk(plumed, 0, 6)
    kept = plumed.state(5)
    plumed.close()
    before = texts(tmp_path)
    other = script(METAD).replace("HILLS", "HILLS2")
    message = "knows the outputs HILLS, colvar.dat and the input writes HILLS2, colvar.dat; load"
    with pytest.raises(PlumedError, match=message):
        walkers(tmp_path, other).resume(kept)
    assert texts(tmp_path) == before


def test_a_checkpoint_of_other_walkers_is_refused(tmp_path):
    plumed = walkers(tmp_path, script(METAD))
    walk(plumed, 0, 2)
    kept = plumed.state(1)
    with pytest.raises(PlumedError, match="holds no PLUMED state of walker 1"):
        walkers(tmp_path / "b", script(METAD), 2).resume(kept)


def test_what_a_restart_loses_is_said(tmp_path):
    plumed = walkers(tmp_path, script("m: OPES_METAD ARG=u PACE=3 BARRIER=10 SIGMA=0.2"))
    walk(plumed, 0, 2)
    with pytest.warns(UserWarning, match=r"approximate: .*line 2 .*OPES needs STATE_WFILE=STATE"):
        plumed.state(1)
    plumed.close()
    text = "EXTENDED_LAGRANGIAN ARG=u\nOPES_METAD STATE_WFILE=S STATE_WSTRIDE=10\nMETAD ARG=u\n"
    (lost,) = forgotten(read_script(text), 20)
    assert "EXTENDED_LAGRANGIAN loses position and velocity" in lost
    assert "step 15 is not at a multiple of STATE_WSTRIDE=10" in forgotten(read_script(text), 15)[1]


def test_compressed_outputs_cannot_be_cut(tmp_path):
    lines = read_script("PRINT ARG=u FILE=COLVAR.gz\n")
    with pytest.raises(PlumedError, match=r"COLVAR.gz is compressed and cannot be cut"):
        keep(lines, tmp_path, "")


def test_every_file_an_input_writes_is_known():
    text = (
        "METAD ARG=u GRID_WFILE=G GRID_RFILE=R\nOPES_METAD STATE_WFILE=S STATE_RFILE=T\n"
        "PRINT ARG=u\nPRINT ARG=u FILE=C STRIDE=2\nEXTERNAL ARG=u FILE=table\n"
        "PBMETAD ARG=u,v FILE=H1,H2\nMETAD ARG=u WALKERS_N=2 WALKERS_ID=1 FILE=W\n"
    )
    found = [(o.name, o.rewritten) for o in outputs(read_script(text))]
    assert found == [
        ("G", True), ("HILLS", False), ("S", True), ("KERNELS", False), ("C", False),
        ("H1", False), ("H2", False), ("W", False),
    ]  # fmt: skip
    last = list(outputs(read_script(text)))[-1]
    assert last.path(Path("run"), ".1") == Path("run/W.1")


def test_files_return_to_what_they_were(tmp_path):
    (tmp_path / "grown").write_text("abcdef")
    (tmp_path / "state").write_text("new")
    (tmp_path / "late").write_text("made after the checkpoint")
    put_back(Kept({"grown": 3, "late": 0}, {"state": "old", "none": ""}), tmp_path)
    contents = {p.name: p.read_text() for p in tmp_path.iterdir()}
    assert contents == {"grown": "abc", "late": "", "state": "old"}


def test_nothing_is_renamed_before_the_first_step_is_complete(tmp_path):
    (tmp_path / "HILLS").write_text("kept\n")
    (tmp_path / "colvar.dat").write_text("kept\n")
    plumed = walkers(tmp_path, script(METAD))
    walk(plumed, 0, 1)
    assert texts(tmp_path) == {"HILLS": "kept\n", "colvar.dat": "kept\n"}
    plumed.flush(1)
    plumed.close()
    assert (tmp_path / "bck.0.HILLS").read_text() == "kept\n"
    assert len(numbers((tmp_path / "colvar.dat").read_text())) == 1


def test_a_rehearsal_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    closed, dropped, run = (walkers(tmp_path / name, script(METAD)) for name in "abc")
    assert len(list((tmp_path / "scratch").iterdir())) == 3
    closed.close()
    del dropped
    walk(run, 0, 2)
    assert list((tmp_path / "scratch").iterdir()) == []
    with pytest.raises(PlumedError, match="line 1"):
        walkers(tmp_path, "NONSENSE\n")
    assert list((tmp_path / "scratch").iterdir()) == []
    run.close()


def test_restart_in_the_input_continues_the_hills(tmp_path):
    first = walkers(tmp_path, script(METAD))
    walk(first, 0, 10)
    first.flush(10)
    first.close()
    hills = len(numbers((tmp_path / "HILLS").read_text()))
    gate = StepGate(
        PlumedDriver(PlumedSettings("RESTART\n" + script(METAD), MASSES, directory=tmp_path))
    )
    gate.begin(0, START)
    assert gate.finish({"uncertainty": value(3, 0)}).bias > 0.5
    gate.close()
    assert hills == 3
    assert len(numbers((tmp_path / "HILLS").read_text())) == 3
