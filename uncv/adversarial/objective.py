"""What an attack climbs: log U − Ē/k_BT − log Q, all in logarithms.

Source: Schwalbe-Koda, Tan, Gómez-Bombarelli, Nat. Commun. 12, 5104 (2021), whose product of
probability and uncertainty this is the logarithm of.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.cv import Prepared, UncertaintyCV
from uncv.data import Batch, Dataset
from uncv.errors import DataError
from uncv.features import stream


class Values(NamedTuple):
    """What is known of F structures, differentiable.

    Attributes
    ----------
    loss : torch.Tensor
        log U − Ē/k_BT − log Q (F,), to be maximised; U in the unit of its kind.
    energy : torch.Tensor
        Member mean of the interaction energy Ē (F,), eV.
    uncertainty : torch.Tensor
        U (F,).
    atomic : torch.Tensor or None
        Uncertainty of each atom (F, A).
    """

    loss: Tensor
    energy: Tensor
    uncertainty: Tensor
    atomic: Tensor | None


class Objective:
    """Gives the loss of a batch of structures.

    Parameters
    ----------
    cv : UncertaintyCV
        Energy and uncertainty.
    kt : float
        k_BT of the attack in eV.
    log_q : torch.Tensor
        Of each structure (F,); see `log_partition`.
    """

    def __init__(self, cv: UncertaintyCV, kt: float, log_q: Tensor) -> None:
        self.cv = cv
        self.kt = kt
        self.log_q = log_q

    def __call__(self, batch: Batch, prepared: Prepared | None = None) -> Values:
        """Return the values of a batch, differentiable in positions and cell."""
        out = self.cv(batch, prepared)
        loss = out.uncertainty.log() - out.energy / self.kt - self.log_q
        return Values(loss, out.energy, out.uncertainty, out.atomic)


def log_partition(cv: UncertaintyCV, known: Dataset, frames: Dataset, kt: float) -> Tensor:
    """Return log Q of each frame (F,), Q the mean of exp(−Ē/k_BT) over known frames like it.

    Energies are those of the potential, without the reference energies of the atoms: these are the
    same for all frames of a composition and cancel in the loss.

    Parameters
    ----------
    cv : UncertaintyCV
        Its potential gives the energies.
    known : Dataset
        As a rule the training data; for each frame those of its composition count.
    frames : Dataset
        F frames.
    kt : float
        In eV.

    Raises
    ------
    DataError
        If no known frame has the composition of a frame.
    """
    energies = torch.cat(
        [part.output.energies.mean(dim=0) for part in stream(cv.potential, known)]
    ).to(torch.float64)
    whose = _compositions(known)
    found: dict[bytes, Tensor] = {}
    wanted = _compositions(frames)
    for number, composition in enumerate(wanted):
        if composition in found:
            continue
        rows = np.array([other == composition for other in whose])
        if not rows.any():
            raise DataError(
                f"no reference frame has the composition of start frame {number} "
                f"({int(frames.frame_atoms[number])} atoms); give reference frames of it, or none"
            )
        chosen = -energies[torch.from_numpy(rows)] / kt
        found[composition] = torch.logsumexp(chosen, dim=0) - math.log(len(chosen))
    return torch.stack([found[composition] for composition in wanted])


def _compositions(frames: Dataset) -> list[bytes]:
    """Return what two frames share if they have as many atoms of each element."""
    sorted_numbers: NDArray[np.int64] = np.sort(frames.numbers, axis=1)
    return [numbers[numbers > 0].tobytes() for numbers in sorted_numbers]
