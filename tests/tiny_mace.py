"""Small models of MACE, trained on energies and forces of ASE's effective medium theory."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import tiny
import torch
from ase import Atoms
from ase.calculators.emt import EMT

from uncv.data import Dataset
from uncv.models.mace import import_mace

ELEMENTS = (1, 6, 7, 8)
CUTOFF = 3.6
E0 = np.array([-13.5, -1030.0, -1485.0, -2042.0])
STEPS = 25


def atoms_of(data: Dataset) -> list[Atoms]:
    """The frames as ASE has them."""
    made = []
    for frame, count in enumerate(data.frame_atoms):
        atoms = Atoms(data.numbers[frame, :count], data.positions[frame, :count])
        atoms.cell, atoms.pbc = data.cell[frame], data.pbc[frame]
        made.append(atoms)
    return made


def labelled(data: Dataset) -> list[Atoms]:
    """The frames with energies (lone atoms included) and forces."""
    frames = atoms_of(data)
    for atoms in frames:
        atoms.calc = EMT()
        lone = E0[np.searchsorted(ELEMENTS, atoms.numbers)].sum()
        atoms.info["energy"] = atoms.get_potential_energy() + lone
        atoms.arrays["forces"] = atoms.get_forces()
        atoms.calc = None
    return frames


def model(seed: int = 0, kind: str = "ScaleShiftMACE", dtype=torch.float64, **settings):
    """Random weights."""
    import_mace()
    from e3nn import o3
    from mace import modules

    values = {
        "r_max": CUTOFF,
        "num_bessel": 4,
        "num_polynomial_cutoff": 5,
        "max_ell": 1,
        "interaction_cls": modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        "interaction_cls_first": modules.interaction_classes["RealAgnosticInteractionBlock"],
        "num_interactions": 2,
        "num_elements": len(ELEMENTS),
        "hidden_irreps": o3.Irreps("8x0e+8x1o"),
        "MLP_irreps": o3.Irreps("6x0e"),
        "atomic_energies": E0,
        "avg_num_neighbors": 5.0,
        "atomic_numbers": list(ELEMENTS),
        "correlation": 2,
        "gate": torch.nn.functional.silu,
        "radial_MLP": [12],
        **({"atomic_inter_scale": 1.3, "atomic_inter_shift": 0.4} if "Shift" in kind else {}),
        **settings,
    }
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        torch.manual_seed(seed)
        return getattr(modules, kind)(**values)
    finally:
        torch.set_default_dtype(before)


def batch_of(frames: list[Atoms], dtype=torch.float64):
    """MACE's own batch, with its own neighbours."""
    from mace import data, tools
    from mace.tools.torch_geometric.batch import Batch

    keys = data.KeySpecification({"energy": "energy"}, {"forces": "forces"})
    table = tools.AtomicNumberTable(list(ELEMENTS))
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return Batch.from_data_list(
            [
                data.AtomicData.from_config(
                    data.config_from_atoms(a, key_specification=keys), z_table=table, cutoff=CUTOFF
                )
                for a in frames
            ]
        )
    finally:
        torch.set_default_dtype(before)


@lru_cache(maxsize=1)
def trained() -> tuple[torch.nn.Module, ...]:
    """Two members."""
    data = [*labelled(tiny.frames("CH3OH", 6, 0.1)), *labelled(tiny.frames("NH3", 4, 0.1, seed=3))]
    return tuple(_train(model(seed), data) for seed in range(2))


def _train(member: torch.nn.Module, frames: list[Atoms]) -> torch.nn.Module:
    from mace.modules import WeightedEnergyForcesLoss

    batch = batch_of(frames)
    loss = WeightedEnergyForcesLoss(energy_weight=1.0, forces_weight=10.0).double()
    optimiser = torch.optim.Adam(member.parameters(), lr=0.01)
    member.losses = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        value = loss(batch, member(batch.to_dict(), training=True))
        value.backward()
        optimiser.step()
        member.losses.append(float(value.detach()))
    return member
