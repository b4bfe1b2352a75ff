"""Configuration: defaults, YAML, and errors that name the key and its nearest valid name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from uncv.config import (
    CampaignConfig,
    dump_config,
    load_config,
    make_bias_section,
    make_config,
    make_uncertainty_section,
    parse_config,
)
from uncv.errors import ConfigError
from uncv.learning.setup import train_settings
from uncv.models import AevSettings
from uncv.training import TrainSettings


def test_an_empty_file_is_the_defaults():
    assert parse_config("") == CampaignConfig()


def test_values_of_yaml_arrive_in_their_section():
    text = "seed: 7\nsampling: {temperature_k: 350, walkers: 2}\npotential: {hidden: [8, 4]}"
    config = parse_config(text)
    assert (config.seed, config.sampling.temperature_k, config.sampling.walkers) == (7, 350.0, 2)
    assert config.potential.hidden == (8, 4)
    assert config.budget == CampaignConfig().budget


def test_written_configurations_are_read_back(tmp_path):
    config = parse_config("bias: {kind: linear, strength: 2.5}\nsystem: {torsions: [[0, 1, 2, 3]]}")
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sampling: {temprature_k: 300}", "unknown key 'sampling.temprature_k'; did you mean"
         " 'temperature_k'"),
        ("budgets: {labels: 3}", "unknown key 'budgets'; did you mean 'budget'"),
        ("stop: {maxuncertainty: 1}", "did you mean 'max_uncertainty'"),
        ("sampling: {walkers: 0}", "sampling.walkers: Input should be greater than 0 .found 0"),
        ("bias: {kind: quadratic}", "bias.kind: Input should be 'none', 'linear', 'udd', 't"),
        ("bias: {kind: linear, width: 0.1}", "bias: width is for the kinds udd and tanh; found kind"
         " linear"),
        ("bias: {strength: 0.2, depth_ev: 0.1}", "bias: give either depth_ev or strength"),
        ("bias: {kind: adaptive, ceiling: 1}", "a ceiling needs one of linear, udd, tanh; found"),
        ("bias: {schedule: ramp}", "schedule is ramp and schedule_steps None; give steps"),
        ("bias: {schedule_steps: 5}", "schedule is constant and schedule_steps 5; give steps"),
        ("system: {torsions: [[1, 2, 3]]}", "system.torsions.0.3: Field required"),
        ("budget: {labels: 8, initial_labels: 16}", "labels is 8, less than initial_labels"),
        ("convergence: {coverage: {tolerence: 1}}", "'convergence.coverage.tolerence'; did you mean"
         " 'tolerance'"),
        ("convergence: {observables: [{functon: a, tolerance: 1}]}", "did you mean 'function'"),
        ("[1, 2]", "holds list, expected sections with keys"),
        ("a: b: c", "is not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "is not valid YAML"),
    ],
)  # fmt: skip
def test_mistakes_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(text)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigError, match=r"potential.members.*sampling.walkers"):
        parse_config("sampling: {walkers: 0}\npotential: {members: 0}")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.yaml cannot be read"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        CampaignConfig().seed = 3


def test_the_kind_of_uncertainty_decides_its_keys():
    assert parse_config("uncertainty: {of: forces}").uncertainty.kind == "ensemble"
    given = parse_config("uncertainty: {kind: gradient, features: sketched, member: all}")
    assert given.uncertainty.projection_dim == 512
    assert parse_config(dump_config(given)) == given
    with pytest.raises(ConfigError, match=r"'uncertainty.of'; did you mean .*Valid here: kind, m"):
        parse_config("uncertainty: {kind: gradient, of: forces}")
    with pytest.raises(ConfigError, match=r"uncertainty.kind: expected one of ensemble, gradient"):
        parse_config("uncertainty: {kind: gp}")


def test_options_of_an_uncertainty():
    given = make_uncertainty_section("gmm", ["components=[1, 4]", "reduce=softmax"])
    assert given.components == (1, 4)
    assert given.reduce == "softmax"
    with pytest.raises(ConfigError, match="'reduce:rms' is not KEY=VALUE"):
        make_uncertainty_section("gmm", ["reduce:rms"])
    with pytest.raises(ConfigError, match=r"unknown key 'uncertainty.sigmo'; did you mean 'sigma'"):
        make_uncertainty_section("gradient", ["sigmo=1"])


def test_the_default_bias_saturates():
    given = parse_config("").bias
    assert (given.kind, given.strength, given.depth_ev, given.width) == ("udd", None, None, None)


def test_options_of_a_bias():
    given = make_bias_section("tanh", ["depth_ev=0.3", "width=0.02", "ceiling=0.5"], None)
    assert (given.depth_ev, given.width, given.ceiling) == (0.3, 0.02, 0.5)
    given = make_bias_section("adaptive", ["elements={O: 0.5}"], 0.4)
    assert (given.strength, given.elements) == (0.4, {"O": 0.5})
    with pytest.raises(ConfigError, match="the options: bias: give either depth_ev or strength"):
        make_bias_section("udd", ["depth_ev=0.3"], 0.2)
    with pytest.raises(ConfigError, match="'width' is not KEY=VALUE"):
        make_bias_section("udd", ["width"], None)


def test_an_uncertainty_that_the_members_do_not_allow():
    """Told before anything is trained."""
    with pytest.raises(ConfigError, match="needs at least 2 members, found 1; train more, or"):
        make_config({"potential": {"members": 1}})
    with pytest.raises(ConfigError, match="member 2 was asked for, but there are 2, from 0"):
        make_uncertainty_section("gradient", ["member=2"], members=2)
    assert make_uncertainty_section("gradient", ["member=all"], members=1).member == "all"


def test_files_are_looked_for_beside_the_configuration(tmp_path):
    for name in ("mine.py", "fc.yaml", "known.extxyz"):
        (tmp_path / name).write_text("")
    (tmp_path / "c.yaml").write_text(
        "system: {labelled_data: known.extxyz}\n"
        "convergence: {observables: [{function: 'mine.py:size', tolerance: 1}]}\n"
        "selection: {acceptance: {quantity: anharmonicity, force_constants: fc.yaml}}\n"
    )
    given = load_config(tmp_path / "c.yaml")
    assert given.system.labelled_data == str(tmp_path / "known.extxyz")
    assert given.convergence.observables[0].function == f"{tmp_path / 'mine.py'}:size"
    assert given.selection.acceptance.force_constants == str(tmp_path / "fc.yaml")
    assert given.system.structure == "alanine_dipeptide"


def test_a_descriptor_and_steps_arrive_in_the_training():
    text = (
        "potential: {steps_warm: 30, batch_size: 4, epochs: 90, weight_decay: 0.01, "
        "descriptor: {radial_cutoff_angstrom: 6.0, radial_functions: 3, zeta: 16}}"
    )
    config = parse_config(text)
    cold, warm = (train_settings(config, 2, 18, warm=w) for w in (False, True))
    assert (cold.epochs, warm.epochs) == (90, 6)  # 30 steps of 5 batches each
    assert train_settings(config, 2, 1000, warm=True).epochs == 1
    assert warm.weight_decay == 0.01
    assert warm.descriptor.radial_shifts == pytest.approx((0.9, 2.6, 4.3))
    assert (warm.descriptor.radial_cutoff, warm.descriptor.zeta) == (6.0, 16.0)
    usual = train_settings(parse_config(""), 2, 18, warm=True)
    assert usual.epochs == 60
    assert usual.descriptor.angular_shifts == AevSettings().angular_shifts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("descriptor: {angular_cutoff_angstrom: 6}", r"cutoffs are 6.0 \(angular\) and 5.2"),
        ("start: ani1x, descriptor: {zeta: 8}", "descriptor is for new networks; leave it out"),
    ],
)
def test_descriptors_that_cannot_be_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(f"potential: {{{given}}}")


def test_the_last_training_may_be_longer_and_knows_no_early_end():
    config = parse_config("potential: {epochs: 90, patience: 7, epochs_final: 300}")
    usual = train_settings(config, 2, 18, warm=False)
    assert (usual.epochs, usual.patience) == (90, 7)
    assert (config.potential.of_last.epochs, config.potential.of_last.patience) == (300, 300)
    plain = parse_config("potential: {epochs: 90}").potential
    assert plain.of_last == plain
    assert train_settings(parse_config(""), 2, 18, warm=False).patience == TrainSettings().patience
