"""How unlikely an atom is under a mixture of Gaussians fitted to the training atoms."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, get_args

import torch
from ase.data import chemical_symbols
from torch import Tensor

from uncv.data import Dataset
from uncv.errors import NotFittedError
from uncv.features_atoms import Draw, FloatArray, atom_features
from uncv.groups import AtomGroups
from uncv.mixture.fit import Covariance, MixtureSettings, fit_elements
from uncv.mixture.model import Mixtures
from uncv.protocols import MemberOutput, Potential
from uncv.scripting import is_scripting
from uncv.uncertainty.base import DELTA, TrainedUncertainty

Features = Literal["last_layer", "descriptor"]
ABSENT = 100.0
"""Uncertainty of an atom whose element was not in the training data."""


class MixtureOutcome(NamedTuple):
    """What the fit of one element gave.

    Attributes
    ----------
    number : int
        Atomic number.
    atoms : int
        Training atoms of the element that were used.
    axes : int
        Principal axes (or features) it lives on.
    components : int
        Gaussians in it; 0 for an element without training atoms.
    converged : bool
        Whether expectation maximisation ended by its tolerance.
    """

    number: int
    atoms: int
    axes: int
    components: int
    converged: bool


class GMMUncertainty(TrainedUncertainty):
    """Negative log-likelihood of an atom's features, counted from that of the training atoms.

    u = softplus((NLL − q_Z) / s_Z) + 1e-6 with NLL = −log p(φ), and q_Z and s_Z quantile and spread
    of NLL over the training atoms of element Z: positive, without unit, about 0.7 for a usual
    training atom, and growing as the square of the distance far from all of them. Bound the force
    of a bias on it by a bias that saturates.

    Parameters
    ----------
    features : str
        'last_layer': input of the last layer of one member's networks. 'descriptor': what the
        networks take. Both are rotation invariant.
    components : int or sequence of int
        Gaussians of a mixture. Of several numbers the Bayesian information criterion chooses. A
        number for which there are fewer than three distinct training atoms for each component and
        axis is not tried; where none remains, the largest that has them is taken, at least 1.
    covariance : str
        'full', 'tied' (one for all components) or 'diag'.
    pca : int, float or None
        Principal axes kept: their number, their share of the variance (below 1), or None for the
        whitened features themselves. Never more than one axis for three training atoms.
    per_element : bool
        One mixture for each element, or one for all.
    member : int
        Whose last layer.
    zero : float
        q_Z is this quantile of the training atoms' NLL.
    reg_covar : float
        Added to the variances of whitened features.
    n_init : int
        Starts of expectation maximisation, of which the best is kept.
    seed : int
        Of the starts, and of the atoms drawn.
    max_samples : int
        Atoms that a mixture is fitted to, drawn at random where there are more.

    Notes
    -----
    Features are whitened by mean and standard deviation. A feature that hardly varies in training
    is scaled by a thousandth of the largest deviation instead, so that it counts, and steeply, once
    it does vary; but principal axes leave out what did not vary: choose ``pca=None`` to be told of
    every such feature, at many times the cost. Away from training along the other axes, stretched
    or squeezed structures among them, u rises without it.

    An atom of an element that was not in the training data gets u = 100 and no force of its own,
    with a warning. NaN in features gives NaN for that atom. Where expectation maximisation runs out
    of steps its last state is used, and `outcomes` says so.

    Sources: Tan, Dietschreit, Gómez-Bombarelli, J. Chem. Phys. 162, 034114 (2025); Tan et al., npj
    Comput. Mater. 9, 225 (2023).

    Examples
    --------
    >>> GMMUncertainty(components=4).settings()["features"]
    'last_layer'
    """

    outcome: Tensor

    def __init__(
        self,
        features: Features = "last_layer",
        components: int | Sequence[int] = (1, 2, 4, 8),
        covariance: Covariance = "full",
        *,
        pca: float | None = 16,
        per_element: bool = True,
        member: int = 0,
        zero: float = 0.5,
        reg_covar: float = 1e-6,
        n_init: int = 3,
        seed: int = 0,
        max_samples: int = 5000,
    ) -> None:
        super().__init__()
        if features not in get_args(Features):
            raise ValueError(
                f"features={features!r} is unknown; expected one of {get_args(Features)}"
            )
        if not 0.0 < zero < 1.0:
            raise ValueError(f"zero is {zero}; expected a quantile between 0 and 1")
        if max_samples < 2:
            raise ValueError(f"max_samples is {max_samples}; expected at least 2, such as 5000")
        self.chosen = MixtureSettings(components, covariance, pca, reg_covar, n_init, seed)
        self.zero = zero
        self.per_element = per_element
        self.member = member
        self.max_samples = max_samples
        self.of_layer = features == "last_layer"
        self.extra = "last_layer" if self.of_layer else ""
        self.mixtures = Mixtures(DELTA)
        self.register_buffer("outcome", torch.zeros(0, 5, dtype=torch.int64))

    def settings(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        m = self.chosen
        return {
            "features": "last_layer" if self.of_layer else "descriptor",
            "components": m.components if isinstance(m.components, int) else list(m.components),
            "covariance": m.covariance,
            "pca": m.pca,
            "per_element": self.per_element,
            "member": self.member,
            "zero": self.zero,
            "reg_covar": m.reg_covar,
            "n_init": m.n_init,
            "seed": m.seed,
            "max_samples": self.max_samples,
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take buffers from a state; see `FittedModule.restore`."""
        super().restore(state)
        self.expect_warnings([row.components > 0 for row in self.outcomes()])

    def check(self, potential: Potential) -> None:
        """Refuse a potential without the member; see `UncertaintyBase.check`."""
        super().check(potential)
        self.check_member(potential, self.member)

    def fit(self, potential: Potential, data: Dataset) -> Self:
        """Fit to the training data of a potential and return self.

        Raises
        ------
        DataError
            If there are no frames, all atoms of an element have the same features (one frame, or
            frames that are the same), or features are NaN or infinite.
        ElementError
            If the potential does not know an element.
        ValueError
            If the potential does not give the last layer or the member.
        """
        return self._learn(potential, data, {})

    def refit(self, potential: Potential, data: Dataset) -> Self:
        """Fit to more data, or to a potential trained on, starting from the last fit.

        Whitening and axes are computed anew. Expectation maximisation starts once, from the
        components there are; the next larger number to choose from replaces them if the criterion
        prefers it. An element that had no mixture gets one as in `fit`.

        Raises
        ------
        NotFittedError
        ValueError
            If the features have another width than those fitted.
        """
        if not self.potential_:
            raise NotFittedError("GMMUncertainty is not fitted; call fit(potential, data) first")
        starts = {
            row.number: self.mixtures.centres[index, : row.components].numpy()
            for index, row in enumerate(self.outcomes())
            if row.components > 0
        }
        return self._learn(potential, data, starts)

    def outcomes(self) -> tuple[MixtureOutcome, ...]:
        """Return what the fit gave, for each element of the potential."""
        rows = self.outcome.tolist()
        return tuple(MixtureOutcome(n, a, d, k, bool(ended)) for n, a, d, k, ended in rows)

    def nll(self, features: Tensor, number: int) -> Tensor:
        """Return −log p of features (n, D) of atoms of one element (n,), float64.

        Raises
        ------
        ValueError
            If the element has no mixture, or the features have another width.
        """
        for index, row in enumerate(self.outcomes()):
            if row.number == number and row.components > 0:
                self.mixtures.check_width(features)
                return self.mixtures.nll(features, index)
        raise ValueError(
            f"there is no mixture for {chemical_symbols[number]}; fit to data that contain it"
        )

    def forward(self, output: MemberOutput, groups: AtomGroups) -> Tensor:
        """Return the uncertainty of each atom (F, A).

        Raises
        ------
        ValueError
            If the output lacks the last layer, or features have another width than those fitted.
        """
        if not is_scripting():
            self._warn(groups)
        return self.mixtures(self._look(output), groups)

    def _warn(self, groups: AtomGroups) -> None:
        self.warn_of_strangers(groups, f"is {ABSENT:g}, without forces of its own")

    def _look(self, output: MemberOutput) -> Tensor:
        if not self.of_layer:
            return output.features
        last = output.last_layer
        if last is None:
            raise ValueError("the last layer is missing; evaluate with extra='last_layer'")
        return last[self.member]

    def _learn(self, potential: Potential, data: Dataset, starts: dict[int, FloatArray]) -> Self:
        self.check_extra(potential)
        self.check_member(potential, self.member)
        draw = Draw(self.max_samples, per_element=self.per_element, seed=self.chosen.seed)
        rows = atom_features(potential, data, self._look, draw, self.extra)
        for start in starts.values():
            _check_width(start, rows[0])
        elements = potential.elements
        fitted = fit_elements(elements, rows, self.chosen, starts, shared=not self.per_element)
        self.mixtures.learn(fitted, ABSENT)
        found = []
        for index, (number, own, m) in enumerate(zip(elements, rows, fitted, strict=True)):
            if m is None:
                found.append([number, 0, 0, 0, 1])
                continue
            components, axes = m.offsets.shape
            self.mixtures.level(index, own, self.zero, axes)
            found.append([number, len(own), axes, components, int(m.converged)])
        self.outcome = torch.tensor(found)
        self.expect_warnings([row.components > 0 for row in self.outcomes()])
        return super().fit(potential, data)


def _check_width(start: FloatArray, rows: FloatArray) -> None:
    if start.shape[1] != rows.shape[1]:
        raise ValueError(
            f"features have width {rows.shape[1]} but the mixtures were fitted to width "
            f"{start.shape[1]}; use fit, not refit"
        )
