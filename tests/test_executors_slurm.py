"""The example for Slurm is a configuration of Parsl, and the page on clusters is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("parsl")

from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider, SlurmProvider

from uncv.config import make_config, parse_config
from uncv.config.execution import ExecutionConfig
from uncv.errors import ConfigError, ExecutionError
from uncv.executors import open_executor
from uncv.executors.parsl_pool import ParslExecutor, local_config
from uncv.importing import load_object

PROJECT = Path(__file__).resolve().parents[1]
EXAMPLE = PROJECT / "examples" / "parsl_slurm.py"
PAGE = (PROJECT / "docs" / "clusters.md").read_text(encoding="utf-8")


def test_the_example_makes_a_configuration_without_slurm(tmp_path):
    config = load_object(f"{EXAMPLE}:slurm")(str(tmp_path))
    (executor,) = config.executors
    assert isinstance(executor, HighThroughputExecutor)
    assert isinstance(executor.provider, SlurmProvider)
    assert config.run_dir == str(tmp_path)
    assert executor.encrypted
    assert executor.provider.walltime == "04:00:00"
    assert executor.provider.max_blocks == 2
    assert executor.max_workers_per_node == 32


def test_the_example_says_what_it_would_ask_for():
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=True)
    assert "SlurmProvider" in done.stdout
    assert "partition='compute'" in done.stdout


def test_the_local_one_listens_to_this_machine_alone(tmp_path):
    config = local_config(tmp_path, workers=3, threads=2)
    (executor,) = config.executors
    assert isinstance(executor.provider, LocalProvider)
    assert executor.address == executor.loopback_address == "127.0.0.1"
    assert executor.encrypted
    assert executor.workers_per_node == 3
    assert "export OMP_NUM_THREADS=2" in executor.provider.worker_init


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_configurations_on_the_page_are_valid(block):
    config = parse_config(block)
    assert config.execution != ExecutionConfig()


def test_the_section_in_the_example_is_valid():
    text = EXAMPLE.read_text(encoding="utf-8")
    block = re.search(r"\n( {4}execution:\n(?: {6}.*\n)+)", text)[1]
    config = parse_config(re.sub("^ {4}", "", block, flags=re.MULTILINE))
    assert config.execution.parsl_config == "parsl_slurm.py:slurm"
    assert config.execution.workers == 2 * 32


def test_links_on_the_page_lead_somewhere():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        if link != "benchmarks/executors.md":  # written by the benchmark
            assert (PROJECT / "docs" / link).exists(), link


def test_the_python_on_the_page_runs(tmp_path):
    """With an oracle and frames put before it."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    script = tmp_path / "script.py"
    script.write_text(
        "from uncv.data import Dataset\nfrom uncv.oracles import XTBOracle\n"
        "oracle = XTBOracle()\nframes = Dataset([1, 1], [[[0, 0, 0], [0, 0, 0.74]]])\n" + block
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "2", "4"]


def test_a_function_that_is_not_there_is_told(tmp_path):
    given = ExecutionConfig(kind="parsl", parsl_config=f"{EXAMPLE}:slrum")
    with (
        pytest.raises(ConfigError, match=r"has no 'slrum'; did you mean 'slurm'"),
        open_executor(given, tmp_path),
    ):
        pass


def test_parsl_that_does_not_start_is_told(tmp_path):
    """Its folder for logs cannot be made."""
    (tmp_path / "parsl").write_text("a file")
    with pytest.raises(ExecutionError, match=r"Parsl does not start .*; correct its configuration"):
        ParslExecutor(lambda: local_config(tmp_path / "parsl", 1))


@pytest.mark.slow
def test_workers_that_never_start_are_an_error(tmp_path):
    """The job of the configuration ends at once: all blocks fail before a task is done."""
    config = tmp_path / "broken.py"
    config.write_text(
        "from uncv.executors.parsl_pool import local_config\n"
        "def broken(run_dir):\n"
        "    config = local_config(run_dir, 1)\n"
        "    config.executors[0].provider.worker_init = 'exit 3'\n"
        "    config.strategy_period = 1\n"
        "    return config\n"
    )
    given = ExecutionConfig(kind="parsl", parsl_config=f"{config}:broken")
    with open_executor(given, tmp_path) as executor:
        error = executor.submit(pow, 2, 3).exception(timeout=60)
    assert isinstance(error, ExecutionError)
    assert "no worker of Parsl has done anything" in str(error)
    assert "EXIT CODE: 3" in str(error)


def test_a_campaign_takes_the_section():
    values = {"execution": {"kind": "parsl", "workers": 4, "mode": "asynchronous"}}
    assert make_config(values).execution.workers == 4
