"""Runs the contracts for everything that is listed there."""

from __future__ import annotations

import contracts
import pytest


@pytest.mark.parametrize("case", contracts.UNCERTAINTIES, ids=lambda c: c.name)
@pytest.mark.parametrize("check", contracts.UNCERTAINTY_CHECKS, ids=lambda c: c.__name__)
def test_uncertainty(check, case, tmp_path):
    check(case, tmp_path)


@pytest.mark.parametrize("case", contracts.BIASES, ids=lambda c: c.name)
def test_bias(case):
    contracts.check_bias(case)


@pytest.mark.parametrize("case", contracts.UNCERTAINTIES, ids=lambda c: c.name)
@pytest.mark.parametrize("engine", contracts.ENGINES, ids=lambda c: c.name)
def test_engine(engine, case):
    contracts.check_engine(engine, case, contracts.BIASES[0])


@pytest.mark.parametrize("bias", contracts.BIASES, ids=lambda c: c.name)
@pytest.mark.parametrize("engine", contracts.ENGINES, ids=lambda c: c.name)
def test_engine_takes_every_bias(engine, bias):
    contracts.check_engine(engine, contracts.UNCERTAINTIES[0], bias)
