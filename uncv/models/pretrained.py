"""The pretrained ANI-1x ensemble, read from the files that TorchANI ships.

Source: Smith, Nebgen, Lubbers, Isayev, Roitberg, J. Chem. Phys. 148, 241733 (2018).
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from uncv.errors import DependencyError
from uncv.models.aev import AevSettings
from uncv.models.ani import AniPotential
from uncv.models.ani_settings import AniSettings
from uncv.models.storage import unpack_ani
from uncv.units import HARTREE_IN_EV

ANI1X_ELEMENTS = (1, 6, 7, 8)
ANI1X_MEMBERS = 8


def load_ani1x() -> AniPotential:
    """Return the eight members of ANI-1x (ωB97X/6-31G(d); H, C, N, O)."""
    return unpack_ani(_read_ani1x().packed())


@lru_cache(maxsize=1)
def _read_ani1x() -> AniPotential:
    folder = _resources()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchani warns of its optional CUDA parts
        from torchani.neurochem import Constants, load_model_ensemble, load_sae

        constants = Constants(str(folder / "rHCNO-5.2R_16-3.5A_a4-8.params"))
        ensemble = load_model_ensemble(constants.species, str(folder / "train"), ANI1X_MEMBERS)
        lone = load_sae(str(folder / "sae_linfit.dat")).self_energies
    linear = [
        [[m for m in member[symbol] if isinstance(m, torch.nn.Linear)] for member in ensemble]
        for symbol in constants.species
    ]
    settings = AniSettings(
        elements=ANI1X_ELEMENTS,
        members=ANI1X_MEMBERS,
        hidden=tuple(tuple(m.out_features for m in of[0][:-1]) for of in linear),
        activation="celu",
        reference_energies=tuple(float(e) * HARTREE_IN_EV for e in lone),
        scale=HARTREE_IN_EV,
        aev=_aev_settings(constants),
    )
    potential = AniPotential(settings)
    with torch.no_grad():
        for network, members in zip(potential.networks, linear, strict=True):
            _copy(network, members)
    return potential


def _copy(network: Any, members: list[list[torch.nn.Linear]]) -> None:
    first = torch.stack([m[0].weight.T for m in members], dim=1)
    network.first.weight.copy_(first)
    network.first.bias.copy_(torch.stack([m[0].bias for m in members]))
    for depth, layer in enumerate(network.rest, start=1):
        layer.weight.copy_(torch.stack([m[depth].weight.T for m in members]))
        layer.bias.copy_(torch.stack([m[depth].bias for m in members])[:, None])


def _aev_settings(constants: Any) -> AevSettings:
    def values(name: str) -> tuple[float, ...]:
        return tuple(float(v) for v in getattr(constants, name))

    return AevSettings(
        radial_cutoff=constants.Rcr,
        angular_cutoff=constants.Rca,
        radial_eta=values("EtaR")[0],
        angular_eta=values("EtaA")[0],
        radial_shifts=values("ShfR"),
        angular_shifts=values("ShfA"),
        zeta=values("Zeta")[0],
        angle_shifts=values("ShfZ"),
    )


def _resources() -> Path:
    spec = importlib.util.find_spec("torchani")
    if spec is None or spec.origin is None:
        raise DependencyError(
            "torchani is not installed; expected 2.2.4: pip install torchani==2.2.4"
        )
    folder = Path(spec.origin).parent / "resources" / "ani-1x_8x"
    if not (folder / "train7").is_dir():
        raise DependencyError(
            f"{folder} does not hold the eight ANI-1x members; expected torchani 2.2.4: "
            "pip install torchani==2.2.4"
        )
    return folder
