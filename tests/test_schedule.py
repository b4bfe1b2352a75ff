"""Schedules: their values at steps, their limits, and what they refuse."""

from __future__ import annotations

import dataclasses

import pytest

from uncv.schedule import Constant, Ramp, SawTooth, as_schedule


def test_a_constant_is_the_same_at_all_steps():
    assert {Constant(0.5).at(step) for step in (0, 1, 10**6)} == {0.5}
    assert Constant(0.5).limits == (0.5, 0.5)
    assert not Constant(0.5).varies


def test_a_ramp_ends_where_it_leads():
    falling = Ramp(600.0, 300.0, steps=10)
    assert [falling.at(step) for step in (0, 5, 10, 11, 10**6)] == [600, 450, 300, 300, 300]
    assert falling.limits == (300.0, 600.0)
    assert falling.varies
    assert not Ramp(1.0, 1.0, steps=10).varies


def test_a_saw_tooth_falls_back():
    teeth = SawTooth(0.0, 1.0, period=4)
    assert [teeth.at(step) for step in range(9)] == [0, 0.25, 0.5, 0.75, 0, 0.25, 0.5, 0.75, 0]
    assert teeth.limits == (0.0, 0.75)
    assert SawTooth(600.0, 300.0, period=2).limits == (450.0, 600.0)
    assert not SawTooth(0.0, 1.0, period=1).varies


def test_numbers_are_constants():
    assert as_schedule(300) == Constant(300.0)
    ramp = Ramp(0.0, 1.0, 5)
    assert as_schedule(ramp) is ramp


@pytest.mark.parametrize("schedule", [Constant(1.0), Ramp(0.0, 1.0, 5), SawTooth(0.0, 1.0, 5)])
def test_schedules_cannot_be_changed(schedule):
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.start = 2.0
    assert schedule == dataclasses.replace(schedule)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(float("nan")), "value is nan; expected a finite number"),
        (lambda: Ramp(0.0, float("inf"), 5), "end is inf; expected a finite number"),
        (lambda: Ramp(0.0, 1.0, 0), "steps is 0 steps; expected at least 1"),
        (lambda: SawTooth(0.0, 1.0, -2), "period is -2 steps; expected at least 1"),
        (lambda: SawTooth(float("nan"), 1.0, 2), "start is nan; expected a finite number"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
