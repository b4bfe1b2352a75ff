"""From the section of a configuration to an oracle."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import tiny
from pydantic import TypeAdapter, ValidationError

from uncv.config.oracle import ORACLE_SECTIONS, OracleConfig, oracle_beside
from uncv.errors import ConfigError
from uncv.oracles import (
    AseOracle,
    CachedOracle,
    CommandOracle,
    OpenMMForceField,
    PotentialOracle,
    PySCFOracle,
    XTBOracle,
    make_oracle,
)

SECTION = TypeAdapter(OracleConfig)


def section(**keys) -> OracleConfig:
    return SECTION.validate_python(keys)


def test_the_default_is_a_force_field(alanine):
    given = section()
    assert given.kind == "openmm_forcefield"
    oracle = make_oracle(given, alanine.topology, labels="unused.jsonl")
    assert isinstance(oracle, OpenMMForceField)
    assert oracle.max_force == 30.0
    with pytest.raises(ConfigError, match="a force field needs the topology of a molecule"):
        make_oracle(given)


def test_every_kind_has_a_section_of_its_name():
    for kind, class_ in ORACLE_SECTIONS.items():
        assert class_.model_fields["kind"].default == kind


def test_xtb_with_all_keys():
    given = section(
        kind="xtb", method="GFN1-xTB", charge=1, multiplicity=2, accuracy=0.1, threads=2,
        electronic_temperature_k=500, max_iterations=90, max_force_ev_per_angstrom=12.0,
    )  # fmt: skip
    oracle = make_oracle(given)
    assert isinstance(oracle, XTBOracle)
    assert oracle.level_of_theory == "GFN1-xTB, charge 1, multiplicity 2, accuracy 0.1, 500 K"
    assert (oracle.max_force, oracle.threads.threads) == (12.0, 2)
    assert oracle.settings["max-iter"] == 90
    assert oracle.settings["temperature"] == pytest.approx(500 * 3.166811563e-6, rel=1e-9)


def test_pyscf_with_all_keys():
    given = section(
        kind="pyscf", functional="b3lyp", basis="6-31g(d)", dispersion="d4", charge=-1,
        multiplicity=2, energy_tolerance_hartree=1e-8, max_cycles=60, grid_level=4,
        density_fit=True, threads=2, max_force_ev_per_angstrom=None,
    )  # fmt: skip
    oracle = make_oracle(given)
    assert isinstance(oracle, PySCFOracle)
    assert oracle.level_of_theory == (
        "b3lyp-d4/6-31g(d), charge -1, multiplicity 2, grid 4, density fitting"
    )
    assert oracle.max_force is None
    assert (oracle.settings.energy_tolerance, oracle.settings.max_cycles) == (1e-8, 60)
    assert oracle.threads.threads == 2


def test_ase_by_class_and_by_file(tmp_path):
    lj = make_oracle(
        section(kind="ase", calculator="ase.calculators.lj.LennardJones", arguments={"sigma": 1.5}),
        frame=tiny.frames("H2O"),
    )
    assert isinstance(lj, AseOracle)
    assert lj.level_of_theory == "LennardJones(sigma=1.5)"
    file = tmp_path / "calc.py"
    file.write_text(
        "from ase.calculators.lj import LennardJones\n"
        "def make(atoms):\n    return LennardJones(sigma=len(atoms))\n"
    )
    keys = {"kind": "ase", "calculator": "calc.py:make", "level_of_theory": "toy", "stress": False}
    given = oracle_beside(section(**keys), tmp_path)
    frames = tiny.frames("H2O", 2)
    once = make_oracle(given, frame=frames)
    assert once.calculator.parameters["sigma"] == 3
    assert once.source.structure is not None
    each = make_oracle(given.model_copy(update={"made_for": "frame"}), frame=frames)
    assert each.calculator is None
    np.testing.assert_array_equal(each.label(frames).energy, once.label(frames).energy)
    assert each.level_of_theory == "toy"


def test_a_potential_and_a_command_beside_the_configuration(tmp_path):
    tiny.potential().save(tmp_path / "teacher.uncv")
    given = oracle_beside(section(kind="potential", path="teacher.uncv"), tmp_path)
    assert isinstance(make_oracle(given, labels="unused.jsonl"), PotentialOracle)
    (tmp_path / "label.py").write_text("")
    words = [sys.executable, "label.py", "{input}", "{output}"]
    given = section(
        kind="command", command=words, level_of_theory="CCSD(T)", software="orca 6", timeout_s=5,
        frames_at_once=4,
    )  # fmt: skip
    oracle = make_oracle(oracle_beside(given, tmp_path))
    assert isinstance(oracle, CommandOracle)
    assert oracle.command[1] == str(tmp_path / "label.py")
    assert (oracle.level_of_theory, oracle.software) == ("CCSD(T)", "orca 6")
    assert (oracle.timeout, oracle.frames_at_once) == (5.0, 4)


def test_files_of_force_fields_may_lie_beside_or_be_openmms(tmp_path):
    (tmp_path / "own.xml").write_text("")
    given = section(force_field=["own.xml", "amber14/tip3p.xml"])
    files = oracle_beside(given, tmp_path).force_field
    assert files == (str(tmp_path / "own.xml"), "amber14/tip3p.xml")
    xtb = section(kind="xtb")
    assert oracle_beside(xtb, tmp_path) == xtb


def test_labels_are_reused_where_they_may_be(tmp_path):
    path, frame = tmp_path / "labels.jsonl", tiny.frames("H2O")
    oracle = make_oracle(section(kind="xtb"), labels=path)
    assert isinstance(oracle, CachedOracle)
    assert np.isfinite(oracle.label(frame).energy).all()
    assert path.exists()
    assert isinstance(make_oracle(section(kind="xtb", reuse_labels=False), labels=path), XTBOracle)
    assert isinstance(make_oracle(section(kind="xtb")), XTBOracle)


def test_force_fields_are_told_apart_by_all_they_hold(alanine):
    def made(**keys):
        return OpenMMForceField(alanine.topology, "amber14/protein.ff14SB.xml", **keys)

    one = made()
    assert pickle.loads(pickle.dumps(one)).identity == one.identity == made(max_force=3.0).identity
    other = OpenMMForceField(alanine.topology, "amber99sbildn.xml")
    assert other.identity != one.identity
    assert one.label(alanine.start).info["software"][0].startswith("openmm 8.")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "orca"}, "does not match any of the expected tags: 'openmm_forcefield', 'xtb'"),
        ({"kind": "xtb", "functional": "pbe"}, "Extra inputs are not permitted"),
        ({"kind": "ase"}, "Field required"),
        ({"kind": "command", "command": ["a"]}, "level_of_theory"),
        ({"kind": "pyscf", "dispersion": "d2"}, "Input should be 'd3bj' or 'd4'"),
        ({"kind": "xtb", "max_force_ev_per_angstrom": 0}, "greater than 0"),
    ],
)
def test_keys_are_checked(keys, message):
    with pytest.raises(ValidationError, match=message):
        section(**keys)
