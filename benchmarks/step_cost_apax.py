"""Worker of `step_cost_peers.py` that runs apax, in an environment of its own.

    VENV/bin/python step_cost_apax.py MOLECULE.xyz FOLDER MEMBERS

Makes an ensemble of apax's default model (Gaussian moments, two layers of 256) with drawn weights
and prints one line of JSON about it; then, for each line ``NAME STEPS`` on standard input, makes
steps of 0.5 fs and prints the seconds they took by the clock and by the processor. Nothing of uncv
is needed here. What XLA compiles is compiled before the first line is answered.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apax  # noqa: F401  first: it switches JAX to double precision, as with its users
import ase
import ase.io
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import yaml
from apax.config import parse_config
from apax.md.ase_calc import ASECalculator
from apax.md.function_transformations import UncertaintyDrivenDynamics
from apax.md.simulate import create_energy_fn
from apax.train.checkpoints import canonicalize_energy_model_parameters, create_params
from apax.utils.jax_md_reduced import partition, simulate, space
from ase import units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

SKIN = 0.5
"""Of apax's neighbour lists in Å, its default."""
PLAIN, DRIVEN, OWN = "apax in ASE", "apax in ASE, uncertainty-driven dynamics", "apax's own engine"


def untrained(folder: Path, atoms: ase.Atoms, members: int) -> tuple[Any, Any]:
    """Write a model directory as training leaves it; return configuration and weights."""
    settings = {
        "n_epochs": 1,
        "data": {"directory": str(folder.parent), "experiment": folder.name, "data_path": "none"},
        "model": {"name": "gmnn", "ensemble": {"kind": "full", "n_members": members}},
        "loss": [{"name": "energy"}, {"name": "forces"}],
        "metrics": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    config = parse_config(folder / "config.yaml")
    builder = config.model.get_builder()(config.model.model_dump())
    model = builder.build_energy_derivative_model(
        scale=0.001, apply_mask=True, init_box=np.zeros(3)
    )  # so that drawn weights move nothing away
    inputs = (
        jnp.asarray(atoms.positions), jnp.asarray(atoms.numbers), jnp.array([[0, 1], [1, 0]]),
        jnp.zeros((3, 3)), jnp.zeros((2, 3)),
    )  # fmt: skip
    weights, _ = create_params(model, jax.random.PRNGKey(0), inputs, members)
    with ocp.CheckpointManager((folder / "best").resolve()) as manager:
        kept = {"model": {"params": weights}, "epoch": 0}
        manager.save(0, args=ocp.args.StandardSave(jax.tree.map(np.asarray, kept)))
    return config, weights


def in_ase(folder: Path, atoms: ase.Atoms, **settings: Any) -> Callable[[int], None]:
    """Return dynamics by ASE with apax's calculator."""
    moving = atoms.copy()
    moving.calc = ASECalculator(folder, **settings)
    MaxwellBoltzmannDistribution(moving, temperature_K=1, rng=np.random.default_rng(0))
    dynamics = VelocityVerlet(moving, 0.5 * units.fs)
    return lambda steps: dynamics.run(steps)


def own_engine(config: Any, weights: Any, atoms: ase.Atoms) -> Callable[[int], None]:
    """Return dynamics as ``apax md`` makes them: a loop that XLA compiles, without output.

    Steps are made in loops of ten, as many as `in_ase` is asked for being a multiple of it.
    """
    numbers = jnp.asarray(atoms.numbers)
    displacement, shift = space.free()
    builder = config.model.get_builder()(config.model.model_dump())
    model = builder.build_energy_model(
        apply_mask=True, init_box=np.zeros(3), inference_disp_fn=displacement
    )
    lists = partition.neighbor_list(
        displacement, np.zeros(3), config.model.basis.r_max, SKIN,
        fractional_coordinates=False, format=partition.Sparse, disable_cell_list=True,
    )  # fmt: skip
    params = canonicalize_energy_model_parameters(weights)
    members = config.model.ensemble.n_members
    energy = create_energy_fn(model.apply, params, numbers, members)
    energy = partial(energy, box=jnp.zeros(3))
    begin, move = simulate.nve(energy, shift, 0.0, 0.5 * units.fs)
    near = lists.allocate(jnp.asarray(atoms.positions))
    state = begin(
        jax.random.PRNGKey(0), jnp.asarray(atoms.positions), mass=jnp.asarray(atoms.get_masses()),
        neighbor=near,
    )  # fmt: skip

    def one(_: int, both: tuple[Any, Any]) -> tuple[Any, Any]:
        state, near = both
        state = move(state, neighbor=near, kT=0.0)
        return state, near.update(state.position)

    @jax.jit
    def ten(state: Any, near: Any) -> tuple[Any, Any]:
        return jax.lax.fori_loop(0, 10, one, (state, near))

    def run(steps: int) -> None:
        nonlocal state, near
        for _ in range(steps // 10):
            state, near = ten(state, near)
        jax.block_until_ready(state.position)

    return run


def about(config: Any, weights: Any) -> dict[str, Any]:
    """Return what the model is."""
    members = config.model.ensemble.n_members
    leaves = jax.tree_util.tree_flatten_with_path(weights)[0]
    named = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    readout = {name: leaf for name, leaf in named.items() if "readout" in name}
    first = next(leaf for name, leaf in readout.items() if "dense_0" in name and leaf.ndim == 3)
    return {
        "apax": version("apax"),
        "jax": jax.__version__,
        "cutoff": config.model.basis.r_max,
        "layers": list(config.model.nn),
        "descriptor": int(first.shape[1]),
        "network_weights": int(sum(leaf.size for leaf in readout.values()) / members),
        "parameters": int(sum(leaf.size for leaf in named.values()) / members),
    }


def main() -> None:
    """Answer lines until there are none."""
    molecule, folder, members = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # apax may print
    atoms = ase.io.read(molecule)
    config, weights = untrained(Path(folder), atoms, int(members))
    driven = [UncertaintyDrivenDynamics(height=0.1, width=1.0)]
    runs = {
        PLAIN: in_ase(Path(folder), atoms),
        DRIVEN: in_ase(Path(folder), atoms, transformations=driven),
        OWN: own_engine(config, weights, atoms),
    }
    for run in runs.values():
        run(10)
        run(10)
    print(json.dumps(about(config, weights)), file=answers, flush=True)
    for line in sys.stdin:
        name, _, steps = line.strip().rpartition(" ")
        clock, processor = time.perf_counter(), time.process_time()
        runs[name](int(steps))
        took = (time.perf_counter() - clock, time.process_time() - processor)
        print(json.dumps(took), file=answers, flush=True)


if __name__ == "__main__":
    main()
