"""Objects by import path and from files, and thread limits."""

from __future__ import annotations

import math
import pickle

import pytest

from uncv.errors import ConfigError
from uncv.importing import load_object
from uncv.thread_limit import ThreadLimit


def test_paths_with_dots_and_colons_name_the_same():
    assert load_object("math.hypot") is load_object("math:hypot") is math.hypot


def test_a_file_is_executed_once(tmp_path):
    file = tmp_path / "forces.py"
    file.write_text("made = []\ndef make():\n    made.append(1)\n    return made\n")
    assert load_object(f"{file}:make")() == [1]
    assert load_object(f"{file}:make")() == [1, 1]
    other = tmp_path / "other" / "forces.py"
    other.parent.mkdir()
    other.write_text("def make():\n    return 'other'\n")
    assert load_object(f"{other}:make")() == "other"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("hypot", "'hypot' names no object; expected package.module.Name"),
        ("math.hypot()", "names no object"),
        ("__import__('os').getcwd", "cannot be imported"),
        ("no_such_package.Name", "cannot be imported .*install the package, or name a file"),
        ("math.hypott", "math has no 'hypott'; did you mean 'hypot'"),
        ("no_such_file.py:make", "there is no file .*no_such_file.py; give the path"),
    ],
)
def test_what_names_nothing(path, message):
    with pytest.raises(ConfigError, match=message):
        load_object(path)


def test_a_file_that_fails_is_not_half_loaded(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import math\nraise KeyError('parameters')\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="fails with KeyError: 'parameters'"):
            load_object(f"{file}:math")


def test_threads_are_limited_only_meanwhile():
    import numpy as np  # noqa: F401 - brings BLAS
    from threadpoolctl import ThreadpoolController, threadpool_limits

    def threads():
        return [pool["num_threads"] for pool in ThreadpoolController().info()]

    limit = pickle.loads(pickle.dumps(ThreadLimit(1)))
    with threadpool_limits(2):
        before = threads()
        assert 2 in before
        for _ in range(2):
            with limit:
                assert set(threads()) == {1}
            assert threads() == before
    with pytest.raises(ValueError, match="threads is 0; give a positive number"):
        ThreadLimit(0)
