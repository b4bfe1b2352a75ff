"""The campaigns that `alanine_dipeptide.py` compares, by name."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUICK = os.environ.get("UNCV_QUICK") == "1"
WALKERS = 2 if QUICK else 8
PLUMED = """\
# Well-tempered metadynamics on the uncertainty (kJ/mol), anew in each round; walkers share hills.
u: EXTRACV NAME=uncertainty
METAD ...
  LABEL=metad ARG=u SIGMA={sigma} HEIGHT={height} PACE=25 BIASFACTOR=20 TEMP=300
  WALKERS_N={walkers} WALKERS_RSTRIDE=25
... METAD
PRINT ARG=u,metad.bias STRIDE=25 FILE=COLVAR
"""


@dataclass(frozen=True)
class Method:
    """One way to drive a campaign.

    Parameters
    ----------
    says : str
        What it is, in a line.
    sections : dict
        What differs from the common configuration, section by section.
    metadynamics : (float, float), optional
        Width and height (kJ/mol) of the hills on u.
    attack : bool
        Frames come from adversarial attacks, not from dynamics.
    """

    says: str
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    metadynamics: tuple[float, float] | None = None
    attack: bool = False

    @property
    def biased(self) -> bool:
        """Whether dynamics at 300 K are biased."""
        return "bias" in self.sections or self.metadynamics is not None


def _hot(kelvin: float) -> dict[str, dict[str, Any]]:
    return {"sampling": {"temperature_k": kelvin}}


GMM: dict[str, Any] = {"kind": "gmm"}
POSTERIOR: dict[str, Any] = {"kind": "gradient"}
ADAPTIVE: dict[str, Any] = {"kind": "adaptive", "strength": 0.25}
METHODS: dict[str, Method] = {
    "unbiased-300": Method("no bias, 300 K"),
    "unbiased-600": Method("no bias, 600 K", _hot(600.0)),
    "unbiased-1200": Method("no bias, 1200 K", _hot(1200.0)),
    "linear": Method(
        "V = −τ u, spread of the energies", {"bias": {"kind": "linear", "strength": 3.0}}
    ),
    "udd": Method("saturating bias, spread of the energies", {"bias": {"kind": "udd"}}),
    "adaptive": Method("adaptive bias, spread of the energies", {"bias": ADAPTIVE}),
    "adaptive-gmm": Method(
        "adaptive bias, Gaussian mixture", {"bias": ADAPTIVE, "uncertainty": GMM}
    ),
    "adaptive-posterior": Method(
        "adaptive bias, posterior of gradient features",
        {"bias": ADAPTIVE, "uncertainty": POSTERIOR},
    ),
    "metadynamics-gmm": Method(
        "metadynamics on the Gaussian mixture", {"uncertainty": GMM}, metadynamics=(0.05, 1.0)
    ),
    "metadynamics-posterior": Method(
        "metadynamics on the posterior of gradient features",
        {"uncertainty": POSTERIOR},
        metadynamics=(0.0005, 1.0),
    ),
    "random-selection": Method(
        "adaptive bias, labels at random",
        {"bias": ADAPTIVE, "selection": {"method": "random"}},
    ),
    "attack": Method("adversarial attacks on the labelled frames, no dynamics", attack=True),
}
DEVIATIONS = (
    "at most 3,000 steps a walker and round (20,000), frames every 25 steps (200)",
    "an ensemble of four members, continued from round to round (one model); at each number of "
    "labels below, new networks are trained for 300 epochs, and the campaign goes on from them",
    "all labels train and the last epoch is taken (10 % of them choose it), unless the last "
    "training below says 10%",
    "walkers go on from their last frame of the round before",
    "walkers stop at broken bonds, contacts and forces past 30 eV/Å (1.5 eV/Å of uncertainty)",
)
"""How the protocol differs from the published one, in brackets."""


def common(labels: int) -> dict[str, dict[str, Any]]:
    """Return the sections that all methods share."""
    if QUICK:
        return {
            "potential": {
                "members": 2,
                "hidden": [8],
                "epochs": 2,
                "epochs_warm": 1,
                "epochs_final": 3,
            },
            "uncertainty": {},
            "calibration": {"method": "none"},
            "bias": {"kind": "none"},
            "sampling": {"steps_per_round": 20, "stride": 5, "walkers": 2, "timestep_fs": 0.5},
            "stop": {},
            "selection": {"batch_size": 2},
            "budget": {"labels": labels, "initial_labels": 8},
        }
    return {
        "potential": {
            "members": 4,
            "epochs": 200,
            "steps_warm": 500,
            "epochs_final": 300,
            "validation_share": 0.0,
            "weight_decay": 0.05,
            "descriptor": {"angular_eta": 4.0, "zeta": 16.0},
        },
        "uncertainty": {},
        "calibration": {"method": "none"},
        "bias": {"kind": "none"},
        "sampling": {
            "steps_per_round": 3000,
            "stride": 25,
            "walkers": WALKERS,
            "timestep_fs": 0.5,
            "hydrogen_mass_amu": None,
        },
        "stop": {},
        "selection": {"batch_size": 8},
        "budget": {
            "labels": labels,
            "initial_labels": 8,
            "initial_displacements_angstrom": [0.02],
        },
    }


def sections_of(method: str, seed: int, labels: int, out: Path) -> dict[str, Any]:
    """Return the configuration of a campaign; a PLUMED input is written into the folder."""
    chosen = METHODS[method]
    sections = common(labels)
    for name, own in chosen.sections.items():
        sections[name] = {**sections[name], **own}
    if chosen.metadynamics is not None:
        sigma, height = chosen.metadynamics
        script = out / f"{method}.dat"
        script.write_text(PLUMED.format(sigma=sigma, height=height, walkers=WALKERS))
        sections["sampling"]["plumed"] = str(script.resolve())
    return {**sections, "seed": seed}
