"""Which frames of a pool are candidates, and which of them are labelled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncv.acceptance import make_acceptance
from uncv.acceptance_spread import committee_spread
from uncv.anharmonicity import HarmonicModel, finite_displacements, read_harmonic, relaxed
from uncv.config import CampaignConfig
from uncv.config.selection import AcceptanceConfig, SelectionConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import CampaignError
from uncv.features_frames import frame_features
from uncv.learning.setup import Setup, seed_of
from uncv.learning.walkers import like
from uncv.selection import Method, select

FloatArray = NDArray[np.float64]
SAME = 6
"""Digits of positions in Å beyond which frames count as the same."""


def choose_frames(
    cv: UncertaintyCV,
    pool: Dataset,
    labelled: Dataset | None,
    size: int,
    given: SelectionConfig | Method,
    *,
    seed: int,
) -> NDArray[np.int64]:
    """Return which frames of a pool to label, by the features and uncertainty of a variable.

    Uncertainties are taken from the pool's column if it has one, as stored while sampling.

    Parameters
    ----------
    cv : UncertaintyCV
        Gives features and uncertainties.
    pool, labelled : Dataset
        Candidates, and what is labelled already if anything is.
    size : int
        How many to choose.
    given : SelectionConfig or str
        The section, or the method with the section's defaults.
    seed : int
        Of what is drawn.
    """
    how = given if isinstance(given, SelectionConfig) else SelectionConfig(method=given)
    scores = pool.info.get("uncertainty")
    if scores is None and how.method in ("top_u", "threshold"):
        scores = cv.predict(pool).uncertainty
    known = None if labelled is None else _features(cv, labelled, how)
    return select(
        _features(cv, pool, how),
        known,
        size,
        how.method,
        scores=scores,
        window=how.window,
        seed=seed,
    )


def candidates(
    config: CampaignConfig,
    setup: Setup,
    cv: UncertaintyCV,
    pool: Dataset,
    known: Dataset,
    round_: int,
) -> Dataset:
    """Return the frames of a pool that are worth a label: new, accepted, and inside the window.

    Parameters
    ----------
    config, setup : CampaignConfig, Setup
        The campaign.
    cv : UncertaintyCV
        The variable that the frames were sampled with.
    pool : Dataset
        Whole structures.
    known : Dataset
        Labelled frames; the acceptance is relative to the spread of uncertainty and energy of those
        that were not trained on, or of the test data if the campaign has any.
    round_ : int
        For the seed.

    Raises
    ------
    CampaignError
        If the acceptance cannot be judged by these frames.
    """
    given = config.selection
    pool = unlike(pool, like(setup.start, known))
    if given.window is not None:
        low, high = given.window
        values = pool.info["uncertainty"]
        pool = pool[np.flatnonzero((values >= low) & (values <= high))]
    if given.acceptance.kind == "none" or len(pool) == 0:
        return pool
    held_out = known[np.flatnonzero(known.info["split"] != "train")]
    reference = held_out if setup.test is None else setup.test
    try:
        harmonic = _harmonic(given.acceptance, setup, cv)
        acceptance = make_acceptance(
            given.acceptance,
            _quantity(given.acceptance, cv, reference, harmonic),
            _energy(cv, reference),
            config.sampling.temperature_k,
        )
    except ValueError as error:
        raise CampaignError(
            f"frames cannot be accepted by {given.acceptance.kind}: {error}; hold more frames out "
            "(potential.validation_share, calibration.held_out_share) or give system.test_data"
        ) from error
    if acceptance is None:
        return pool
    values = _quantity(given.acceptance, cv, pool, harmonic)
    taken = acceptance.accept(values, _energy(cv, pool), seed_of(config, round_, "accept"))
    return pool[np.flatnonzero(taken)]


def unlike(frames: Dataset, known: Dataset) -> Dataset:
    """Return the first of each frames that are the same, without those that are known."""
    seen = set(_contents(known))
    fresh = []
    for number, content in enumerate(_contents(frames)):
        if content not in seen:
            seen.add(content)
            fresh.append(number)
    return frames[fresh]


def _contents(frames: Dataset) -> list[bytes]:
    together = zip(frames.positions, frames.cell, strict=True)
    return [(x.round(SAME).tobytes() + cell.round(SAME).tobytes()) for x, cell in together]


def _harmonic(given: AcceptanceConfig, setup: Setup, cv: UncertaintyCV) -> HarmonicModel | None:
    if given.quantity != "anharmonicity":
        return None
    if given.force_constants is not None:
        return read_harmonic(given.force_constants, setup.start[:1])

    def forces(frames: Dataset) -> FloatArray:
        return cv.potential.evaluate(frames).forces

    return finite_displacements(relaxed(setup.start[:1], forces), forces)


def _quantity(
    given: AcceptanceConfig, cv: UncertaintyCV, frames: Dataset, harmonic: HarmonicModel | None
) -> FloatArray:
    if given.quantity == "uncertainty":
        return cv.predict(frames).uncertainty
    return committee_spread(cv.potential, frames, given.quantity, harmonic)


def _energy(cv: UncertaintyCV, frames: Dataset) -> FloatArray:
    energies: FloatArray = cv.potential.evaluate(frames).energies.mean(axis=0)
    return energies


def _features(cv: UncertaintyCV, frames: Dataset, given: SelectionConfig) -> FloatArray:
    return frame_features(
        cv.potential,
        frames,
        given.features,
        member=given.member,
        projection_dim=given.projection_dim,
    )
