"""Gaussian mixtures fitted to feature vectors, by scikit-learn; `uncv.mixture` evaluates them.

Source: Tan, Dietschreit, Gómez-Bombarelli, J. Chem. Phys. 162, 034114 (2025).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from ase.data import chemical_symbols

from uncv.errors import DataError
from uncv.mixture.model import Mixture
from uncv.mixture.space import ROWS_PER_AXIS, FloatArray, Space, fit_space

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

Covariance = Literal["full", "tied", "diag"]
SAME = 1e-6
"""Vectors that differ by less than this, relative to the largest feature, are the same."""


@dataclass(frozen=True)
class MixtureSettings:
    """How a mixture is fitted; see `uncv.uncertainty.GMMUncertainty` for what each means."""

    components: int | Sequence[int] = (1, 2, 4, 8)
    covariance: Covariance = "full"
    pca: float | None = 16
    reg_covar: float = 1e-6
    n_init: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts) < 1:
            raise ValueError(f"components is {self.components}; expected numbers of at least 1")
        if self.covariance not in get_args(Covariance):
            raise ValueError(
                f"covariance={self.covariance!r} is unknown; expected one of {get_args(Covariance)}"
            )
        if self.pca is not None and not (
            0.0 < self.pca < 1.0 or (self.pca >= 1 and float(self.pca).is_integer())
        ):
            raise ValueError(
                f"pca is {self.pca}; expected a number of axes, a share of the variance between 0 "
                "and 1, or None"
            )
        if not self.reg_covar > 0.0:
            raise ValueError(f"reg_covar is {self.reg_covar}; expected above 0, such as 1e-6")
        if self.n_init < 1:
            raise ValueError(f"n_init is {self.n_init}; expected at least 1, better 3")

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of components to choose from, rising."""
        several = (self.components,) if isinstance(self.components, int) else self.components
        return tuple(sorted(set(several)))


def fit_mixture(
    features: FloatArray, settings: MixtureSettings, start: FloatArray | None = None
) -> Mixture:
    """Fit a mixture to feature vectors.

    Parameters
    ----------
    features : numpy.ndarray
        (n, D), finite.
    settings : MixtureSettings
        How.
    start : numpy.ndarray, optional
        Means (K, D) from an earlier fit. Expectation maximisation then starts from them, and the
        next larger number of components is tried beside it.

    Raises
    ------
    DataError
        If fewer than two of the vectors differ.
    """
    distinct = _distinct(features)
    if distinct < 2:
        raise DataError(
            f"the {len(features)} feature vectors are the same, but a mixture needs two that "
            "differ; give frames that differ, and more than one"
        )
    space = fit_space(features, settings.pca, distinct)
    reduced = space.of(features)
    counts = _allowed(settings.counts, distinct, reduced.shape[1])
    if start is None or not _fits(len(start), distinct, reduced.shape[1]):
        models = [_model(reduced, settings, count) for count in counts]
    else:
        larger = [count for count in counts if count > len(start)][:1]
        models = [_model(reduced, settings, len(start), space.of(start))]
        models += [_model(reduced, settings, count) for count in larger]
    best = min(models, key=lambda model: model.bic(reduced))
    return _folded(best, space)


def _distinct(features: FloatArray) -> int:
    """Return how many vectors differ by more than the rounding of single precision."""
    grain = SAME * np.abs(features).max() or 1.0
    return len(np.unique(np.round(features / grain), axis=0))


def _fits(count: int, distinct: int, axes: int) -> bool:
    """Return whether there are vectors enough for each component; one alone always may."""
    return count == 1 or distinct >= ROWS_PER_AXIS * count * axes


def _allowed(counts: tuple[int, ...], distinct: int, axes: int) -> list[int]:
    """Return the counts that fit, or else the largest number that does."""
    fitting = [count for count in counts if _fits(count, distinct, axes)]
    return fitting or [max(1, distinct // (ROWS_PER_AXIS * axes))]


def _model(
    reduced: FloatArray, settings: MixtureSettings, count: int, start: FloatArray | None = None
) -> GaussianMixture:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        count,
        covariance_type=settings.covariance,
        reg_covar=settings.reg_covar,
        n_init=settings.n_init if start is None else 1,
        means_init=start,
        random_state=settings.seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # kept as `converged`
        return model.fit(reduced)


def _folded(model: GaussianMixture, space: Space) -> Mixture:
    factors = _factors(model)
    size = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    axes = space.axes / space.scale[:, None]
    return Mixture(
        axes,
        -space.mean @ axes,
        factors,
        -np.einsum("ka,kab->kb", model.means_, factors),
        np.log(model.weights_) + size - 0.5 * axes.shape[1] * math.log(2.0 * math.pi),
        space.back(model.means_),
        bool(model.converged_),
    )


def _factors(model: GaussianMixture) -> FloatArray:
    """Return P_k with Σ_k⁻¹ = P_k P_kᵀ (K, d, d), whatever the type of covariance."""
    found = model.precisions_cholesky_
    if model.covariance_type == "diag":
        return found[:, :, None] * np.eye(found.shape[1])
    if model.covariance_type == "tied":
        return np.tile(found, (model.n_components, 1, 1))
    return np.asarray(found)


def fit_elements(
    elements: Sequence[int],
    rows: Sequence[FloatArray],
    settings: MixtureSettings,
    starts: Mapping[int, FloatArray],
    *,
    shared: bool,
) -> list[Mixture | None]:
    """Return the mixture of each element, None for one without atoms.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers.
    rows : sequence of numpy.ndarray
        Features of the atoms of each (n_e, D).
    settings : MixtureSettings
        How.
    starts : mapping of int to numpy.ndarray
        Means to start from, by atomic number; see `fit_mixture`.
    shared : bool
        Whether all elements have one mixture.

    Raises
    ------
    DataError
        If fewer than two feature vectors of an element differ.
    """
    if shared:
        start = next(iter(starts.values()), None)
        together = fit_mixture(np.concatenate(rows), settings, start)
        return [together if len(own) > 0 else None for own in rows]
    fitted: list[Mixture | None] = []
    for number, own in zip(elements, rows, strict=True):
        try:
            made = fit_mixture(own, settings, starts.get(number)) if len(own) > 0 else None
        except DataError as error:
            raise DataError(f"no mixture for {chemical_symbols[number]}: {error}") from error
        fitted.append(made)
    return fitted
