"""Steps of alanine dipeptide with eight members beside other programs, each as its users run it.

All take turns in one run. A turn of dynamics is a few steps of 0.5 fs: ASE's VelocityVerlet, or
OpenMM's Langevin integrator on the Reference platform. TorchANI's weights never require a gradient.
Its ensemble is made from the files that come with the package, as `torchani.models.ANI1x()` makes
it from the same files when it may download them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import torch
from ase import Atoms, units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from openmm import app
from step_cost_simulation import STRENGTH, simulation, started
from step_cost_stepper import Stepper
from step_cost_systems import ani1x, ensemble, structure, topology
from step_cost_turns import Contender, Times, processor_ratio, ratio, repeated, take_turns

import uncv
from uncv.bias import LinearBias
from uncv.dependencies import import_openmmtorch
from uncv.models.pretrained import _resources
from uncv.units import EV_IN_KJ_PER_MOL, HARTREE_IN_EV

OURS = "uncv in OpenMM, Python backend"
NOTES = {
    "uncv, its step alone": "E, forces, u, bias",
    OURS: "E, forces, u, bias",
    "uncv in OpenMM, TorchForce": "E, forces, u, bias",
    "uncv in ASE": "E, forces, u, bias",
    "TorchANI, its ensemble called": "E, forces",
    "TorchANI in ASE": "E, forces",
    "TorchANI in OpenMM, TorchForce": "E, forces",
    "apax in ASE": "E, forces, σ of both",
    "apax in ASE, uncertainty-driven dynamics": "E, forces, σ of both, bias",
    "apax's own engine": "E, forces",
}
"""Contenders and what they give."""


def torchani_model() -> torch.nn.Module:
    """Return ANI-1x as `torchani.models.ANI1x(periodic_table_index=True)`, without a download."""
    folder = _resources()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchani
        from torchani import neurochem

        constants = neurochem.Constants(str(folder / "rHCNO-5.2R_16-3.5A_a4-8.params"))
        shifter, alone = neurochem.load_sae(str(folder / "sae_linfit.dat"), return_dict=True)
        networks = neurochem.load_model_ensemble(constants.species, str(folder / "train"), 8)
        converter = torchani.nn.SpeciesConverter(constants.species)
        aev = torchani.AEVComputer(**constants)
    return torchani.models.BuiltinEnsemble(
        converter, aev, networks, shifter, constants.species_to_tensor, constants, alone, True
    ).requires_grad_(False)


def torchani_call(numbers: np.ndarray) -> Callable[[np.ndarray], None]:
    """Return energy and forces of TorchANI's own ensemble, in single precision, alone."""
    whole = torchani_model()
    model = torch.nn.Sequential(whole.aev_computer, whole.neural_networks)
    species = torch.tensor([[ani1x().elements.index(int(z)) for z in numbers]])

    def step(positions: np.ndarray) -> None:
        x = torch.tensor(positions, dtype=torch.float32, requires_grad=True)
        torch.autograd.grad(model((species, x)).energies.sum(), x)

    return step


class TorchAniForce(torch.nn.Module):
    """What openmm-torch's users write around TorchANI: positions in nm to kJ/mol."""

    def __init__(self, model: torch.nn.Module, numbers: np.ndarray) -> None:
        super().__init__()
        self.model = model
        self.factor = HARTREE_IN_EV * EV_IN_KJ_PER_MOL
        self.register_buffer("numbers", torch.from_numpy(numbers[None].astype(np.int64)))

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the energy."""
        x = (positions * 10.0).to(torch.float32).unsqueeze(0)
        return self.model((self.numbers, x)).energies.sum() * self.factor


def torchani_simulation(frame: uncv.Dataset) -> app.Simulation:
    """Return a simulation with TorchANI's ensemble as a TorchForce."""
    force = TorchAniForce(torchani_model(), frame.numbers[0])
    system = openmm.System()
    for atom in topology(frame).atoms():
        system.addParticle(atom.element.mass)
    system.addForce(import_openmmtorch().TorchForce(torch.jit.script(force)))
    return started(system, topology(frame), frame.positions[0] * 0.1)


def in_ase(calculator: Any, frame: uncv.Dataset) -> VelocityVerlet:
    """Return dynamics of ASE."""
    atoms = Atoms(frame.numbers[0], frame.positions[0], calculator=calculator)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    return VelocityVerlet(atoms, 0.5 * units.fs)


def peers(apax: Any, threads: int, turns: int, steps: int) -> dict[str, Any]:
    """Return milliseconds of a step of each contender, and ratios to ours in OpenMM.

    Parameters
    ----------
    apax : mapping
        Contenders of apax; empty without it.
    threads, turns, steps : int
        Of torch; that count; of a turn.
    """
    torch.set_num_threads(threads)
    contenders = {**mine(steps), **torchanis(steps), **apax}
    times = take_turns(contenders, turns)
    return {"threads": threads, "rows": rows(times)}


def mine(steps: int) -> dict[str, Contender]:
    """Return our contenders."""
    frame, cv = structure(22), ensemble(ani1x())
    stepper = Stepper(22, 1)
    python, exported = (simulation(cv, frame, backend=b) for b in ("python", "torchforce"))
    dynamics = in_ase(uncv.ase.UncertaintyCalculator(cv, LinearBias(STRENGTH)), frame)
    return {
        "uncv, its step alone": repeated(stepper, steps),
        OURS: Contender(lambda: python.step(steps), steps),
        "uncv in OpenMM, TorchForce": Contender(lambda: exported.step(steps), steps),
        "uncv in ASE": Contender(ran(dynamics, steps), steps),
    }


def torchanis(steps: int) -> dict[str, Contender]:
    """Return TorchANI's contenders."""
    frame = structure(22)
    call = torchani_call(frame.numbers[0])
    simulated = torchani_simulation(frame)
    dynamics = in_ase(torchani_model().ase(), frame)
    return {
        "TorchANI, its ensemble called": repeated(lambda: call(frame.positions), steps),
        "TorchANI in ASE": Contender(ran(dynamics, steps), steps),
        "TorchANI in OpenMM, TorchForce": Contender(lambda: simulated.step(steps), steps),
    }


def ran(dynamics: VelocityVerlet, steps: int) -> Callable[[], None]:
    """Return a call that makes steps of ASE's dynamics."""

    def run() -> None:
        dynamics.run(steps)

    return run


def rows(times: dict[str, Times]) -> list[dict[str, Any]]:
    """Return a row for each contender."""
    ours = times[OURS]
    return [
        {
            "name": name,
            "gives": NOTES[name],
            "ms": found.milliseconds,
            "processor_ms": found.processor_milliseconds,
            "over_ours": ratio(found, ours),
            "over_ours_processor": processor_ratio(found, ours),
        }
        for name, found in times.items()
    ]
