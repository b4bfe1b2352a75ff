"""The campaign whose frames come from adversarial attacks in place of dynamics."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from alanine_dipeptide_methods import QUICK, sections_of

import uncv
from uncv.config import CampaignConfig, make_config
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.journal import replace_file
from uncv.learning.directory import RunDirectory
from uncv.learning.rounds import Round
from uncv.learning.setup import make_setup, seed_of

ATTACKS = 4 if QUICK else 64
STEPS = 3 if QUICK else 60
COLUMNS = ("uncertainty", "step", "stop_reason")


def attack_campaign(method: str, seed: int, labels: int, path: Path) -> None:
    """Train, attack all labelled frames, choose and label, until there are so many labels.

    The stages beside the attack are those of every campaign, and so are its files.
    """
    path.mkdir(parents=True, exist_ok=True)
    config = make_config(sections_of(method, seed, labels, path))
    setup = make_setup(config, path / "labels.jsonl")
    directory = RunDirectory(path)
    directory.open(config)

    def round_(number: int) -> Round:
        return Round(number, config, setup, directory, lambda stage, share: None)

    if directory.labelled_count() == 0:
        round_(0).acquisition.begin()
    while directory.labelled_count() < labels:
        now = round_(directory.next_round())
        cv = now.train()
        frames = attacked(cv, config, directory, now.number)
        now.acquisition.choose_and_label(cv, now.acquisition.pool(frames))
    directory.save_model(directory.final, round_(directory.next_round()).train(last=True))


def attacked(
    cv: UncertaintyCV, config: CampaignConfig, directory: RunDirectory, number: int
) -> Dataset:
    """Return the frames that attacks found in a round, or read them."""
    path = directory.frames(number)
    if path.exists():
        return uncv.read(path)
    begun = time.monotonic()
    known = directory.known().without_labels()
    seed = seed_of(config, number, "sample")
    order = np.random.default_rng(seed).permutation(len(known))[:ATTACKS]
    settings = uncv.AttackSettings(attacks=ATTACKS, steps=STEPS)
    found = uncv.attack(cv, known[order], settings, reference=known, seed=seed)
    frames = found.frames[np.sort(found.distinct)]
    frames = Dataset(frames.numbers, frames.positions, frames.cell, frames.pbc).with_info(
        walker=frames.info["attack"],
        energy=frames.info["predicted_energy"],
        round=np.full(len(frames), number),
        **{name: frames.info[name] for name in COLUMNS},
    )
    directory.record(
        "sampled",
        number,
        seconds=round(time.monotonic() - begun, 2),
        walker_steps=ATTACKS * STEPS,
        stops=sum(bool(reason) for reason in found.reasons),
    )
    replace_file(path, lambda part: uncv.write(part, frames))
    return uncv.read(path)
