"""Calibration of a few uncertainties, and the way back through it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from uncv.calibration import Calibrator, ScaleCalibrator
from uncv.cv import check_connected

FloatArray = NDArray[np.float64]


class Scaled(NamedTuple):
    """Calibrated uncertainties of walkers (W,) or atoms (W, A).

    Attributes
    ----------
    values : numpy.ndarray
        As they come out.
    factor : float or None
        What all were multiplied by; None where it takes the graph.
    graph : tuple of torch.Tensor or None
        What came out and what went in, connected.
    """

    values: FloatArray
    factor: float | None
    graph: tuple[Tensor, Tensor] | None = None

    def back(self, weights: Any) -> FloatArray:
        """Return the gradient of Σ weights · values by what went in.

        Raises
        ------
        GradientError
            If no gradient leads through the calibrator.
        """
        if self.graph is None:
            return weights * self.factor
        self.check()
        value, leaf = self.graph
        given = torch.from_numpy(np.broadcast_to(weights, self.values.shape).copy())
        (found,) = torch.autograd.grad(value, leaf, given, retain_graph=True)
        return found.numpy()

    def check(self) -> None:
        """Refuse a calibrator that no gradient leads through.

        Raises
        ------
        GradientError
        """
        if self.graph is not None:
            check_connected(self.graph[0])


def scaled(values: FloatArray, calibrator: Calibrator | None, numbers: Tensor) -> Scaled:
    """Calibrate uncertainties.

    Parameters
    ----------
    values : numpy.ndarray
        (W,) or (W, A).
    calibrator : Calibrator or None
        As of the collective variable.
    numbers : torch.Tensor
        Atomic numbers (W, A).
    """
    if calibrator is None:
        return Scaled(values, 1.0)
    if isinstance(calibrator, ScaleCalibrator) and not has_a_say(calibrator, ScaleCalibrator):
        factor = calibrator.factor
        if factor is not None:
            return Scaled(values * factor, factor)
    leaf = torch.from_numpy(values).requires_grad_()
    with torch.enable_grad():
        value = calibrator(leaf, numbers)
    return Scaled(value.detach().numpy(), None, (value, leaf))


def has_a_say(module: nn.Module, base: type[nn.Module]) -> bool:
    """Return whether a hook, or a ``forward`` of its own, makes a module more than its base."""
    hooked = module._forward_hooks or module._forward_pre_hooks  # noqa: SLF001
    return bool(hooked) or type(module).forward is not base.forward or "forward" in vars(module)
