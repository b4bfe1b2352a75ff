"""How large the demonstration is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from uncv.config import CampaignConfig, make_config
from uncv.reference import ReferenceSettings

RUNS = ("unbiased", "biased")


@dataclass(frozen=True)
class DemoSettings:
    """Sizes of the demonstration; the default takes a few minutes on two cores.

    Parameters
    ----------
    campaign : dict
        Sections of the configuration that both campaigns share.
    bias : dict
        The bias section of the biased one.
    reference : ReferenceSettings
        The hot reference run, whose second half of frames is the test set.
    curve_frames : int
        Test frames for the learning curve.
    metadynamics_steps : int
        Steps of the PLUMED part.
    workers : int
        Processes for the two campaigns.
    """

    campaign: dict[str, Any]
    bias: dict[str, Any]
    reference: ReferenceSettings
    curve_frames: int = 250
    metadynamics_steps: int = 4000
    workers: int = 2

    def config(self, run: str, seed: int) -> CampaignConfig:
        """Return the configuration of one of the two campaigns; they differ in the bias alone."""
        bias = self.bias if run == "biased" else {"kind": "none"}
        return make_config({**self.campaign, "bias": bias, "seed": seed}, f"the {run} demo")


def demo_settings() -> DemoSettings:
    """Return the full demonstration, or a tiny one if the environment says ``UNCV_QUICK=1``."""
    return _quick() if os.environ.get("UNCV_QUICK") == "1" else _full()


def _full() -> DemoSettings:
    return DemoSettings(
        campaign={
            "potential": {
                "start": "ani1x",
                "members": 4,
                "epochs": 40,
                "epochs_warm": 8,
            },
            "sampling": {"steps_per_round": 1200, "stride": 25, "timestep_fs": 1.25},
            "stop": {"max_uncertainty": 5.0},
            "selection": {"method": "farthest_point", "batch_size": 24},
            "budget": {"labels": 160, "initial_labels": 16},
        },
        bias={"kind": "adaptive", "strength": 0.25},
        reference=ReferenceSettings(frames=2304, stride=250, timestep=1.0, hydrogen_mass=4.0),
    )


def _quick() -> DemoSettings:
    return DemoSettings(
        campaign={
            "potential": {"members": 2, "hidden": (8,), "epochs": 3, "epochs_warm": 2},
            "sampling": {"steps_per_round": 20, "stride": 5, "walkers": 2, "timestep_fs": 0.5},
            "selection": {"method": "farthest_point", "batch_size": 3},
            "budget": {"labels": 14, "initial_labels": 8},
        },
        bias={"kind": "adaptive", "strength": 0.25, "window": 5},
        reference=ReferenceSettings(frames=60, stride=10, equilibration=100),
        curve_frames=10,
        metadynamics_steps=40,
        workers=1,
    )
