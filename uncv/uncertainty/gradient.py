"""How far an atom's gradient features are from those of the training data."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Self, get_args

import torch
from torch import Tensor

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.features import Part, stream
from uncv.gradient.features import ALL, LastLayerFeatures, SketchedFeatures
from uncv.gradient.layout import by_element
from uncv.gradient.nearest import Nearest
from uncv.gradient.posterior import Posterior
from uncv.groups import AtomGroups
from uncv.protocols import MemberOutput, Potential
from uncv.scripting import is_scripting
from uncv.uncertainty.base import TrainedUncertainty

Method = Literal["posterior", "distance"]
Features = Literal["last_layer", "sketched"]
ABSENT = 10.0
"""Uncertainty of an atom whose element was not in the training data.

Ten times what the posterior gives an atom of mean features before it has seen any data.
"""


class GradientUncertainty(TrainedUncertainty):
    """Posterior variance or distance in the space of gradient features; without unit.

    Features φ are gradients of an atom's energy by the weights of its element's network, scaled to
    mean square 1 over the training atoms of the element (`uncv.gradient.features`).

    Parameters
    ----------
    kind : str
        'posterior': u = sqrt(σ² φᵀ (ΦᵀΦ + σ²)⁻¹ φ) with the training features Φ: how little the
        training data say of the weights that matter here (`uncv.gradient.posterior`). At most |φ|,
        and for more data never larger while the scale of the features is the same.
        'distance': from φ to the nearest training features, as a soft minimum
        (`uncv.gradient.nearest`); `hard_distance` gives the minimum itself, for stopping.
    features : str
        'last_layer': by the weights and bias of the last layer. 'sketched': by all weights, in
        random projections; its derivatives take second derivatives of the networks.
    projection_dim : int
        Number of random projections p.
    sigma : float
        σ of the posterior, relative to features of mean square 1.
    member : int or str
        Whose features: a member, or 'all' for the mean of the members' kernels.
    seed : int
        Of the projections.
    per_atom : bool
        True: values of atoms, to be reduced. False: values of frames, from the mean of the features
        of their atoms, which are compared with those of the training frames.

    Notes
    -----
    An atom of an element that was not in the training data gets u = 10 and no force of its own,
    with a warning; values of frames feel it by its share in the mean.

    Sources: Zaverkin et al., npj Comput. Mater. 10, 83 (2024); Holzmüller et al., JMLR 24 (2023).

    Examples
    --------
    >>> GradientUncertainty(features="sketched", projection_dim=256).settings()["kind"]
    'posterior'
    """

    method: Final[str]

    def __init__(
        self,
        kind: Method = "posterior",
        features: Features = "last_layer",
        projection_dim: int = 512,
        sigma: float = 0.01,
        *,
        member: int | Literal["all"] = 0,
        seed: int = 0,
        per_atom: bool = True,
    ) -> None:
        super().__init__()
        self._settings: dict[str, Any] = {
            "kind": kind,
            "features": features,
            "projection_dim": projection_dim,
            "sigma": sigma,
            "member": member,
            "seed": seed,
            "per_atom": per_atom,
        }
        _check_settings(**self._settings)
        self.method = kind
        self.per_atom = per_atom
        self.extra = "last_layer" if features == "last_layer" else "layers"
        which = ALL if member == "all" else int(member)
        self.features = (
            LastLayerFeatures(which, per_atom=per_atom)
            if features == "last_layer"
            else SketchedFeatures(which, projection_dim, seed, per_atom=per_atom)
        )
        layout = self.features.layout
        self.model = Posterior(sigma, layout) if kind == "posterior" else Nearest(layout)
        self.register_buffer("trained", torch.zeros(0, dtype=torch.bool))

    def settings(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return dict(self._settings)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take buffers from a state; see `FittedModule.restore`."""
        super().restore(state)
        self.expect_warnings(self.trained.tolist())

    def check(self, potential: Potential) -> None:
        """Refuse a potential without the member; see `UncertaintyBase.check`."""
        super().check(potential)
        self.check_member(potential, self._settings["member"])

    def fit(self, potential: Potential, data: Dataset) -> Self:
        """Fit to the training data of a potential and return self.

        Raises
        ------
        DataError
            If there are no frames, or features are NaN or infinite.
        ElementError
            If the potential does not know an element.
        ValueError
            If the potential does not give the layers or the member, or σ is too small for float64.
        """
        self.check_extra(potential)
        self.check_member(potential, self._settings["member"])
        self._warn_of_kinks(potential)
        first = next(stream(potential, data[:1], extra=self.extra))
        self.features.prepare(first.output, first.groups, potential.last_bias)
        constant = self.features.constant
        self.model.learn(self._blocks(potential, data), potential.elements, constant, ABSENT)
        known = [bool((data.numbers == number).any()) for number in potential.elements]
        self.trained = torch.tensor(known)
        self.expect_warnings(self.trained.tolist())
        return super().fit(potential, data)

    def _blocks(self, potential: Potential, data: Dataset) -> Iterator[list[Tensor]]:
        """Evaluate the data part by part: features of each element, with the constant ones."""
        for part in stream(potential, data, extra=self.extra):
            features = self.features(part.output, part.groups)
            _check_finite(features, part)
            constant = self.features.constant.expand(len(features), -1)
            whole = torch.cat([features, constant], dim=1).to(torch.float64)
            yield by_element(whole, part.groups, self.features.layout)

    def forward(self, output: MemberOutput, groups: AtomGroups) -> Tensor:
        """Return the uncertainty of each atom (F, A) or frame (F,).

        Raises
        ------
        ValueError
            If the output lacks the layers, or has them in another width than those fitted.
        """
        if not is_scripting():
            self._warn(groups)
        return self.model(self.features(output, groups), groups)

    def hard_distance(self, output: MemberOutput, groups: AtomGroups) -> Tensor:
        """Return the distance of each atom (F, A) or frame (F,) to the nearest training point.

        Its gradient jumps from point to point: for stopping and selection only.

        Raises
        ------
        ValueError
            If this is a posterior.
        """
        if not isinstance(self.model, Nearest):
            raise ValueError("a posterior has no nearest point; choose kind='distance'")
        return self.model.smallest(self.features(output, groups), groups)

    def _warn(self, groups: AtomGroups) -> None:
        alone = f"is {ABSENT:g}, without forces of its own"
        self.warn_of_strangers(groups, alone if self.per_atom else "is large")

    def _warn_of_kinks(self, potential: Potential) -> None:
        if self.extra == "layers" and not potential.smooth:
            warnings.warn(
                "the activation of this potential has a jump in its second derivative, so sketched "
                "gradients have kinks and forces from them jump; use features='last_layer', or a "
                "potential with activation='silu'",
                stacklevel=3,
            )


def _check_finite(features: Tensor, part: Part) -> None:
    if not bool(torch.isfinite(features).all()):
        raise DataError(
            f"gradient features among frames {part.frames[0]} to {part.frames[-1]} are NaN or "
            "infinite; look for atoms on top of each other, or for broken weights of the potential"
        )


def _check_settings(
    kind: str, features: str, projection_dim: int, sigma: float, member: int | str, **_: Any
) -> None:
    if kind not in get_args(Method):
        raise ValueError(f"kind={kind!r} is unknown; expected one of {get_args(Method)}")
    if features not in get_args(Features):
        raise ValueError(f"features={features!r} is unknown; expected one of {get_args(Features)}")
    if projection_dim < 1:
        raise ValueError(f"projection_dim is {projection_dim}; expected at least 1, such as 512")
    if not sigma > 0.0:
        raise ValueError(f"sigma is {sigma}; expected above 0, such as 0.01")
    if isinstance(member, str) and member != "all":
        raise ValueError(f"member={member!r} is unknown; expected a number or 'all'")
