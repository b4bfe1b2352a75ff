"""Members of an ensemble, trained in several places and put together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny

from uncv.errors import TrainingError
from uncv.models import AniPotential
from uncv.training import TrainSettings, join_members, some_members, train


def with_scale(potential, scale):
    """The same weights under another output scale: all energies change by their ratio."""
    other = AniPotential(replace(potential.settings, scale=scale)).to(potential.dtype)
    other.load_state_dict(potential.state_dict())
    return other.requires_grad_(False)


def test_an_ensemble_taken_apart_and_put_together_is_itself():
    whole = tiny.potential(5)
    parts = [some_members(whole, 0, 2), some_members(whole, 2, 1), some_members(whole, 3, 2)]
    joint = join_members(parts)
    assert joint.fingerprint == whole.fingerprint
    assert joint.members == 5


def test_parts_of_different_scale_keep_their_energies():
    data = tiny.frames(count=3)
    first, second = tiny.potential(2, seed=1, scale=0.7), tiny.potential(1, seed=2, scale=2.5)
    joint = join_members([first, second])
    expected = [p.evaluate(data).energies for p in (first, second)]
    np.testing.assert_allclose(joint.evaluate(data).energies, np.concatenate(expected), rtol=1e-12)
    assert joint.scale == 0.7
    twice = join_members([first, with_scale(second, 5.0)])
    np.testing.assert_allclose(
        twice.evaluate(data).energies[2] / joint.evaluate(data).energies[2], 2.0, rtol=1e-12
    )


def test_parts_that_do_not_belong_together_are_refused():
    with pytest.raises(TrainingError, match="differ in their settings, or have heads"):
        join_members([tiny.potential(1), tiny.potential(1, hidden=((4,),) * 4)])
    with pytest.raises(TrainingError, match="differ in their settings, or have heads"):
        join_members([tiny.potential(1, head="mean_variance"), tiny.potential(1)])


def test_members_trained_apart_are_an_ensemble():
    data = tiny.frames(count=8)
    rng = np.random.default_rng(0)
    labelled = replace(
        data, energy=rng.normal(size=8), forces=rng.normal(size=data.positions.shape)
    )
    settings = TrainSettings(members=1, hidden=(6,), epochs=2, batch_size=4, valid_fraction=0.0)
    parts = [train(labelled, settings, seed=seed) for seed in (3, 4)]
    joint = join_members(parts)
    for member, part in enumerate(parts):
        np.testing.assert_allclose(
            joint.evaluate(data).energies[member],
            part.evaluate(data).energies[0],
            rtol=0,
            atol=1e-7,  # single precision of some 0.3 eV; one of them is almost zero
        )
