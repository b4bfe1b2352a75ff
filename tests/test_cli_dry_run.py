"""`uncv learn --dry-run`: what would run, what it costs, and the first problem."""

from __future__ import annotations

import json
import os
import re

import ase.io
import pytest
import yaml
from ase.build import molecule
from typer.testing import CliRunner

from uncv.cli import app
from uncv.config import load_config
from uncv.config.template import template
from uncv.dry_run import dry_run
from uncv.errors import CalibrationError
from uncv.journal import Journal, run_lock
from uncv.learning.directory import RunDirectory

TINY = {
    "potential": {"members": 2, "hidden": [8], "epochs": 30, "epochs_warm": 20},
    "sampling": {"steps_per_round": 40, "stride": 4, "walkers": 2, "timestep_fs": 0.25},
    "selection": {"batch_size": 3},
    "budget": {"labels": 20, "initial_labels": 12},
    "bias": {"kind": "none"},
}


def written(folder, **sections):
    values = {**TINY, **sections}
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def begun(folder, config):
    """A run directory as `learn` begins it."""
    folder.mkdir()
    RunDirectory(folder).open(load_config(config))


def test_what_would_run_is_said_and_nothing_is_left_behind(tmp_path):
    found = dry_run(written(tmp_path))
    assert (found.problem, found.exit_code, found.state) == ("", 0, "new")
    assert (found.atoms, found.engine) == (22, "openmm")
    assert found.level_of_theory == "OpenMM protein.ff14SB.xml"
    assert (found.rounds, found.labels, found.label_budget) == (3, 12, 20)
    label, train, sample = found.stages
    assert (label.name, label.count) == ("label", 20)
    # Labels 12, 15, 18, 20, of which a tenth each (1, 2, 2, 2) validates and calibrates; batches
    # of 8: 10, 11, 14 and 16 frames are 2 steps an epoch, and 30 epochs come first, then 20.
    assert (train.name, train.count) == ("train", 2 * (30 + 3 * 20))
    assert (sample.name, sample.count) == ("sample", 3 * 40)
    for stage in found.stages:
        assert stage.seconds_each > 0
        assert stage.seconds == pytest.approx(stage.count * stage.seconds_each)
    assert found.seconds == pytest.approx(sum(stage.seconds for stage in found.stages))
    assert os.listdir(tmp_path) == ["c.yaml"]
    new = {**TINY["potential"], "epochs_final": 50}
    train = dry_run(written(tmp_path, potential=new)).stages[1]
    assert train.count == 2 * (30 + 2 * 20 + 50)


def test_the_command_prints_it_and_ends_with_its_code(tmp_path):
    path = str(written(tmp_path))
    result = CliRunner().invoke(app, ["learn", path, "--dry-run"])
    assert result.exit_code == 0
    assert "labels: 12 to begin with, 20 in the end" in result.stdout
    assert "in all: about" in result.stdout
    assert "an estimate" in result.stdout
    assert result.stdout.endswith("first problem: none\n")
    bad = str(written(tmp_path, oracle={"max_force_ev_per_angstrom": 1e-3}))
    result = CliRunner().invoke(app, ["learn", bad, "--dry-run", "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["problem"].startswith("the oracle failed for all 4 frames tried: OracleError: the")
    assert found["seconds"] is None
    assert [stage["count"] for stage in found["stages"]] == [20, 180, 120]


def test_the_template_quick_would_run(tmp_path):
    (tmp_path / "quick.yaml").write_text(template("quick"), encoding="utf-8")
    found = dry_run(tmp_path / "quick.yaml")
    assert (found.problem, found.directory) == ("", tmp_path / "quick_run")
    assert 1 < found.seconds < 1000


WRONG = {
    "key": ({"budgets": {}}, r"unknown key 'budgets'; did you mean 'budget'"),
    "structure": ({"system": {"structure": "nowhere.pdb"}}, r"'nowhere.pdb' is neither a file"),
    "data": ({"system": {"labelled_data": "no.xyz"}}, r"system.labelled_data cannot be used: .*no"),
    "test": ({"system": {"test_data": "no.xyz"}}, r"system.test_data cannot be used: .*no.xyz"),
    "force field": ({"oracle": {"force_field": ["no.xml"]}}, r"no\.xml cannot describe this struc"),
    "oracle": ({"oracle": {"kind": "potential", "path": "no.pt"}}, r"no\.pt"),
    "parsl": (
        {"execution": {"kind": "parsl", "parsl_config": "no.py:config"}},
        r"there is no file .*no\.py",
    ),
}


@pytest.mark.parametrize(("sections", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_configuration_is_the_first_problem(tmp_path, sections, message):
    found = dry_run(written(tmp_path, **sections))
    assert found.exit_code == 2
    assert re.search(message, found.problem), found.problem


def test_a_file_that_is_not_there(tmp_path):
    found = dry_run(tmp_path / "none.yaml")
    assert (found.exit_code, found.label_budget) == (2, 0)
    assert "none.yaml cannot be read" in found.problem


def test_an_element_that_the_first_potential_does_not_know(tmp_path):
    ase.io.write(tmp_path / "silane.xyz", molecule("SiH4"))
    path = written(
        tmp_path,
        system={"structure": "silane.xyz"},
        oracle={"kind": "ase", "calculator": "ase.calculators.lj.LennardJones"},
        potential={**TINY["potential"], "start": "ani1x", "hidden": None},
    )
    found = dry_run(path)
    assert found.exit_code == 1
    assert "14" in found.problem or "Si" in found.problem
    assert found.stages[0].seconds_each is not None


def test_dynamics_that_cannot_be_run(tmp_path):
    """Four hydrogens of 5 amu would leave nothing of a carbon."""
    ase.io.write(tmp_path / "ch4.xyz", molecule("CH4"))
    path = written(
        tmp_path,
        system={"structure": "ch4.xyz"},
        sampling={"hydrogen_mass_amu": 5.0},
        oracle={"kind": "xtb", "max_force_ev_per_angstrom": None},
    )
    found = dry_run(path)
    assert found.exit_code == 1
    assert "a hydrogen mass of 5.0 amu cannot be taken from" in found.problem
    assert found.stages[1].seconds is not None


def test_what_a_short_training_cannot_do_is_a_note(tmp_path, monkeypatch):
    def fail(*_):
        raise CalibrationError("too few frames")

    monkeypatch.setattr("uncv.dry_run.rehearsal.time_dynamics", fail)
    found = dry_run(written(tmp_path))
    assert (found.exit_code, found.problem, found.seconds) == (0, "", None)
    assert found.notes == ("the trial ended early, and so need not the campaign: too few frames",)
    assert found.stages[1].seconds is not None


def test_a_plumed_input_that_plumed_refuses(tmp_path):
    (tmp_path / "plumed.dat").write_text("d: DISTANCE ATOMS=1,999999\n")
    path = written(tmp_path, sampling={**TINY["sampling"], "plumed": "plumed.dat"})
    found = dry_run(path)
    assert found.exit_code == 1
    assert "999999" in found.problem
    assert found.stages[1].seconds is not None


def test_a_run_directory_with_another_configuration(tmp_path):
    begun(tmp_path / "run", written(tmp_path))
    before = sorted(os.listdir(tmp_path / "run"))
    found = dry_run(written(tmp_path, seed=1), tmp_path / "run")
    assert found.exit_code == 1
    assert "begun with another seed" in found.problem
    assert sorted(os.listdir(tmp_path / "run")) == before


def test_a_run_directory_that_is_held(tmp_path):
    path = written(tmp_path)
    begun(tmp_path / "run", path)
    with run_lock(tmp_path / "run"):
        found = dry_run(path, tmp_path / "run")
    assert found.exit_code == 1
    assert f"in use by process {os.getpid()}" in found.problem


def test_a_run_directory_that_cannot_be_one(tmp_path, monkeypatch):
    path = written(tmp_path)
    found = dry_run(path, path / "run")
    assert (found.exit_code, found.label_budget) == (1, 20)
    assert "is a file, so" in found.problem
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be written to, so" in dry_run(path).problem


def test_a_finished_campaign_costs_nothing(tmp_path):
    from test_cli_progress import finished_run

    run = finished_run(tmp_path / "run")
    found = dry_run(run)
    assert (found.state, found.labels, found.stages, found.problem) == ("finished", 8, (), "")
    Journal(run / "journal.jsonl").append("continued", labels=8)
    grown = yaml.safe_load((run / "config.yaml").read_text())
    grown["budget"]["labels"] = 10
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(grown))
    found = dry_run(tmp_path / "c.yaml", run)
    assert (found.state, found.rounds, found.stages[0].count) == ("continues", 1, 2)
