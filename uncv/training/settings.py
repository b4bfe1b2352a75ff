"""What determines a training run, and what is told of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ase.data import chemical_symbols

from uncv.heads import HEADS
from uncv.models.aev import AevSettings
from uncv.models.networks import ACTIVATIONS

GIGABYTE = 10**9


class EpochLog(NamedTuple):
    """What is known after an epoch.

    Attributes
    ----------
    epoch : int
        Number of epochs done, from 1.
    train_loss : float
        Mean over members and batches of the loss during the epoch; with a head that learns, another
        loss than before, and perhaps negative.
    energy_rmse : float
        Of the member mean on the validation frames, meV per atom; NaN without energies.
    force_rmse : float
        Of the member mean on the validation frames, per component, eV/Å; NaN without forces.
    learning_rate : float
        At the end of the epoch.
    """

    epoch: int
    train_loss: float
    energy_rmse: float
    force_rmse: float
    learning_rate: float


@dataclass(frozen=True)
class TrainSettings:
    """How an ensemble is trained.

    The loss of one member and frame is energy_weight · (ΔE/N)² + force_weight · mean ΔF² +
    stress_weight · mean Δσ², in eV, Å and the N atoms of the frame. The learning rate rises over
    the first steps and falls along a cosine, so that few and many epochs work alike. Weights are
    averaged exponentially over the steps, and each member keeps its averaged weights of the epoch
    with its lowest validation loss.

    With a head, networks also learn how far off their forces are. After a warm-up with the loss
    above, the squared error of the forces gives way to the negative logarithm of their likelihood,
    over half its mean precision, so that the weights keep their meaning; heads start with the
    variance of the errors on the validation frames, element by element. From then on each member
    keeps the weights of its most likely validation forces.

    Parameters
    ----------
    members : int
        Size of the ensemble.
    hidden : tuple of int, or dict of str to tuple of int
        Widths of the hidden layers of new networks, for all elements or by chemical symbol. A
        start from a potential keeps that potential's networks.
    activation : str
        Of new networks: 'silu' (smooth) or 'celu'.
    descriptor : AevSettings
        Constants of the descriptor of new networks. Wider Gaussians, in angles above all, see less
        and generalise better from few frames.
    epochs : int
        Passes through the training frames, at most.
    batch_size : int
        Frames a step.
    learning_rate : float, optional
        Largest step of AdamW; by default 0.01 for new networks, 0.003 for those continued, and
        0.001 for networks with CELU, those of ANI-1x among them.
    energy_weight, force_weight, stress_weight : float
        Weights of the loss (per (eV/atom)², (eV/Å)² and (eV/Å³)²).
    weight_decay : float
        Of AdamW, on the networks' weights as they act on standardised descriptors.
    averaging : float
        Share of the old average kept at each step, in [0, 1); 0 takes the weights as they are.
    patience : int
        Epochs without a lower validation loss of any member after which training ends.
    valid_fraction : float
        Share of the frames held out for validation where none are given, in [0, 1).
    subset_fraction : float
        Share of the training frames that each member sees, in (0, 1]; its own draw by its seed.
    start : str
        'scratch' (new networks) or 'ani1x' (the first members of the pretrained ensemble).
    memory_budget : int
        Bytes for descriptor Jacobians kept from epoch to epoch; forces of the frames past it are
        computed from their pairs each time.
    head : str
        '' (none), 'mean_variance' (the variance of a force component; for `MVEUncertainty`) or
        'evidential' (a distribution of its mean and variance; for `EvidentialUncertainty`). A
        potential to start from keeps its head, or is given one.
    head_warm_up : float
        Share of the epochs before a new head learns, in [0, 1); it also ends when the validation
        loss has not fallen for ``patience`` epochs. Shorter ones give a head that ranks errors
        better, at a higher price in accuracy.
    beta_nll : float
        Of a mean-variance head, in [0, 1]: the likelihood of a force counts variance^beta. With 0,
        atoms of large errors are neglected; with 1, the forces learn from their squared error.
    evidential_weight : float
        Of the regulariser |ΔF| (2ν + α) of an evidential head, Å/eV.
    """

    members: int = 4
    hidden: tuple[int, ...] | Mapping[str, tuple[int, ...]] = (64, 48)
    activation: str = "silu"
    descriptor: AevSettings = field(default_factory=AevSettings)
    epochs: int = 100
    batch_size: int = 8
    learning_rate: float | None = None
    energy_weight: float = 20.0
    force_weight: float = 1.0
    stress_weight: float = 0.0
    weight_decay: float = 1e-4
    averaging: float = 0.98
    patience: int = 40
    valid_fraction: float = 0.1
    subset_fraction: float = 1.0
    start: Literal["scratch", "ani1x"] = "scratch"
    memory_budget: int = 2 * GIGABYTE
    head: Literal["", "mean_variance", "evidential"] = ""
    head_warm_up: float = 0.5
    beta_nll: float = 0.5
    evidential_weight: float = 0.2

    def __post_init__(self) -> None:
        for name in ("members", "epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; expected more than 0")
        for name in ("energy_weight", "force_weight", "stress_weight", "weight_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if self.energy_weight + self.force_weight + self.stress_weight == 0:
            raise ValueError("all weights of the loss are 0; expected one above 0")
        for name in ("averaging", "valid_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to below 1")
        if not 0 < self.subset_fraction <= 1:
            raise ValueError(f"subset_fraction is {self.subset_fraction}; expected above 0 to 1")
        self._check_networks()
        self._check_head()

    def _check_networks(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation {self.activation!r} is unknown; expected one of {ACTIVATIONS}"
            )
        if self.start not in ("scratch", "ani1x"):
            raise ValueError(f"start is {self.start!r}; expected 'scratch' or 'ani1x'")
        if self.memory_budget < 0:
            raise ValueError(f"memory_budget is {self.memory_budget} bytes; expected 0 or more")
        given = self.hidden
        widths = [*given.values()] if isinstance(given, Mapping) else [given]
        if any(not w or min(w) < 1 for w in widths):
            raise ValueError(f"hidden is {self.hidden}; expected widths of at least 1")

    def _check_head(self) -> None:
        if self.head not in HEADS:
            raise ValueError(f"head {self.head!r} is unknown; expected one of {tuple(HEADS)}")
        if self.head and self.force_weight == 0:
            raise ValueError(
                f"the head {self.head!r} learns the errors of forces but force_weight is 0; "
                "give a force_weight above 0"
            )
        if not 0 <= self.head_warm_up < 1:
            raise ValueError(f"head_warm_up is {self.head_warm_up}; expected 0 to below 1")
        if not 0 <= self.beta_nll <= 1:
            raise ValueError(f"beta_nll is {self.beta_nll}; expected 0 to 1")
        if not 0 <= self.evidential_weight < float("inf"):
            raise ValueError(f"evidential_weight is {self.evidential_weight}; expected 0 or more")

    def hidden_of(self, number: int) -> tuple[int, ...]:
        """Return the hidden layers of an element by its atomic number."""
        if not isinstance(self.hidden, Mapping):
            return tuple(self.hidden)
        symbol = chemical_symbols[number]
        if symbol not in self.hidden:
            raise ValueError(
                f"hidden names {', '.join(self.hidden)} but the data contain {symbol}; add it"
            )
        return tuple(self.hidden[symbol])
