"""The programs that measure the cost of a step, in small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import uncv

ROOT = Path(uncv.__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
pytest.importorskip("torchani", reason="the contenders of these programs need torchani")


def test_operations_of_the_networks_are_those_that_torch_counts():
    """In plain torch, forward and backward by the descriptor."""
    from step_cost_systems import drawn, structure
    from step_cost_work import work

    potential, frame = drawn((1, 6, 7, 8), 2), structure(22)
    with FlopCounterMode(display=False) as counted:
        for index, network in enumerate(potential.networks):
            count = int((frame.numbers[0] == potential.elements[index]).sum())
            x = torch.rand(count, potential.aev.width, requires_grad=True)
            network(x).sum().backward()
    needs = work(potential, frame, 3)
    assert needs.network_operations == 3 * counted.get_total_flops()
    assert needs.weights == 4 * sum(
        value.numel() for name, value in potential.named_parameters() if "weight" in name
    )


def test_products_at_the_shapes_at_hand_are_as_many_operations():
    from step_cost_machine import AsNetworks
    from step_cost_systems import drawn, structure
    from step_cost_work import work

    potential, frame = drawn((1, 6, 7, 8), 2), structure(22)
    counts = {z: int((frame.numbers[0] == z).sum()) for z in potential.elements}
    shapes = AsNetworks(potential, counts)
    with FlopCounterMode(display=False) as counted:
        shapes()
    assert shapes.operations == counted.get_total_flops()
    assert shapes.operations == work(potential, frame, 1).network_operations


@pytest.mark.parametrize("atoms", [22, 40])
def test_pairs_and_triples_are_those_of_the_descriptor(atoms):
    from step_cost_systems import drawn, structure
    from step_cost_work import pairs_and_triples

    potential, frame = drawn((1, 6, 7, 8), 2), structure(atoms)
    graph = potential.prepare(frame.to_batch()).graph
    found = pairs_and_triples(frame, potential.settings)
    assert found == (len(graph.other_species), len(graph.triples.first))


def test_a_box_has_the_density_of_its_liquids_and_atoms_apart():
    from ase import Atoms
    from ase.neighborlist import neighbor_list
    from step_cost_systems import structure

    frame = structure(200)
    box = Atoms(frame.numbers[0], frame.positions[0], cell=frame.cell[0], pbc=True)
    assert sorted(set(box.symbols)) == ["C", "H", "N", "O"]
    assert len(box) == 200
    apart = 32.042 / 0.79 + 17.031 / 0.68  # molar masses over densities: cm^3 a mole of pairs
    assert box.get_volume() == pytest.approx(20 * apart / 0.602214, rel=0.01)
    assert neighbor_list("d", box, 1.2).min() > 0.95
    np.testing.assert_array_equal(structure(200).positions, frame.positions)


def test_parts_of_a_step_add_up_and_go_where_they_belong(monkeypatch):
    """By a clock that rises by one whenever it is asked."""
    import step_cost_spans
    from step_cost_stepper import Stepper

    asked = []
    clock = SimpleNamespace(perf_counter=lambda: asked.append(0) or float(len(asked)))
    stepper = Stepper(22, 1)
    stepper()
    monkeypatch.setattr(step_cost_spans, "time", clock)
    with step_cost_spans.Spans() as spans:
        stepper()
    seconds = spans.seconds
    assert sum(seconds.values()) == len(asked) - 1
    for part in ("descriptor", "networks", "descriptor, backward", "networks, backward"):
        assert seconds[part] >= 1, part
    assert seconds["PLUMED"] == seconds["neighbours"] == 0
    count = len(asked)
    stepper()
    assert len(asked) == count  # nothing is watched any more


def test_ratios_are_medians_of_neighbouring_turns():
    from step_cost_turns import Contender, Took, processor_ratio, ratio, take_turns

    # The first turn of each is warming up, and in every other turn b comes first.
    drift = iter([9.0, 9.0, 1.0, 2.0, 20.0, 10.0, 100.0, 300.0])

    def run():
        return Took(next(drift), 6.0)

    times = take_turns({"a": Contender(run, 2), "b": Contender(run, 3)}, 3, warm=1)
    assert times["a"].clock.tolist() == [0.5, 5.0, 50.0]
    assert ratio(times["b"], times["a"]) == pytest.approx(4 / 3)
    assert processor_ratio(times["b"], times["a"]) == pytest.approx(2 / 3)


def test_evaluation_on_a_device_is_that_of_the_step():
    """On the CPU; the same runs on CUDA where there is one."""
    from step_cost_cuda import OnDevice, cuda

    one = OnDevice(22, 2, "cpu")
    out = one.cv(one.batch, one.prepared)
    assert out.uncertainty[0] == pytest.approx(float(out.uncertainty[1]))
    assert cuda(quick=True, device="cpu")["ms"]["22 atoms, 1 walkers"] > 0


def test_a_worker_that_cannot_work_says_why():
    """As one does whose environment has no apax."""
    if find_spec("apax") is not None:
        pytest.skip("apax is installed here")
    from step_cost_apax_process import Apax, ApaxError
    from step_cost_systems import structure

    with pytest.raises(ApaxError, match=r"ended: ModuleNotFoundError: No module named 'apax'"):
        Apax(Path(sys.executable), structure(22), 2, 1)


@pytest.mark.parametrize(("value", "met"), [(0.5, True), (0.49, False)])
def test_targets_are_judged(value, met):
    from step_cost_targets import targets

    case = {"walkers": 64, "networks_of_matrix_rate": value}
    (one,) = targets({"limit": [{"cases": [{"walkers": 1}, case]}]})
    assert (one.value, one.goal, one.met) == (value, "at least 0.5", met)
    sizes = [{"spread": 1.0 + value, "rows": [{}, {}]}]
    (one,) = targets({"scaling": sizes})
    assert not one.met


@pytest.mark.slow
def test_the_whole_program_in_small(tmp_path):
    environment = {**os.environ, "UNCV_QUICK": "1"}
    command = [sys.executable, ROOT / "benchmarks" / "step_cost.py", "--json", "--report", tmp_path]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found = json.loads(said.stdout[said.stdout.index("{") :])
    assert found == json.loads((tmp_path / "step_cost.json").read_text())
    for row in found["profile"]:
        assert sum(row["shares"].values()) == pytest.approx(1.0)
    for case in found["limit"][0]["cases"]:
        assert case["over_limit"] > 1.0
        assert case["networks_ms"] + case["descriptor_ms"] < 2 * case["step_ms"]
    names = {row["name"] for row in found["peers"][0]["rows"]}
    assert {"TorchANI in ASE", "uncv in OpenMM, TorchForce"} <= names
    page = (tmp_path / "step_cost.md").read_text()
    assert "Without apax: no folder was given" in page
    assert (tmp_path / "step_cost.png").stat().st_size > 10_000
