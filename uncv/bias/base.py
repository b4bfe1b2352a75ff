"""What every conservative bias is: V(u) in torch, its slope, and the same as an expression."""

import math
from collections.abc import Hashable
from functools import cache
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from uncv.units import EV_IN_KJ_PER_MOL, Kind, uncertainty_in_openmm

FloatArray = NDArray[np.float64]


class Bias(nn.Module):
    """Base of the conservative biases: V depends on u alone, so static runs can be reweighted.

    A bias of your own defines ``forward`` in torch; `formula`, `scaled` and `max_slope` are needed
    only where a program other than uncv evaluates it, or its strength is to be chosen. Where
    `written_out` is defined too, a step makes no graph of it.
    """

    def energy_and_slope(self, uncertainty: Tensor) -> tuple[Tensor, Tensor]:
        """Return V (F,) in eV and dV/du (F,), detached."""
        with torch.enable_grad():
            u = uncertainty.detach().requires_grad_()
            energy = self(u)
            (slope,) = torch.autograd.grad(energy.sum(), u)
        return energy.detach(), slope

    def at(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V (F,) in eV and dV/du (F,) of uncertainties (F,), float64.

        As `energy_and_slope`, and in less time where the derivative is written out for the very
        ``forward`` that is in force: where no subclass changes that alone, and no hook.
        """
        hooked = self._forward_hooks or self._forward_pre_hooks or "forward" in self.__dict__
        if not hooked and _is_written_out(cast("Hashable", type(self))):
            return self.written_out(u)
        energy, slope = self.energy_and_slope(torch.from_numpy(u))
        return energy.numpy(), slope.numpy()

    def written_out(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V and dV/du in numpy, the same as ``forward`` and its derivative.

        Raises
        ------
        NotImplementedError
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no derivative written out; define written_out(u), V and "
            "dV/du in numpy, or take energy_and_slope(u)"
        )

    def formula(self, u: str) -> str:
        """Return V in eV as Lepton reads it, of a term ``u`` in uncv's unit.

        Raises
        ------
        NotImplementedError
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no formula; define formula(u), V in eV as text, to use it "
            "in expressions"
        )

    def scaled(self, factor: float) -> "Bias":
        """Return the bias factor · V(u).

        Raises
        ------
        NotImplementedError
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot be scaled; define scaled(factor) to choose its strength"
        )

    def max_slope(self) -> float:
        """Return a bound of |dV/du| over all u, in eV per unit of u; infinite if there is none."""
        return math.inf

    def expression(
        self, u: str = "u", *, energy_unit: float = 1.0, uncertainty_unit: float = 1.0
    ) -> str:
        """Return V(u) as an expression that Lepton, in OpenMM and PLUMED, evaluates the same.

        Parameters
        ----------
        u : str
            Name of the variable.
        energy_unit : float
            One eV in the unit of energy wanted.
        uncertainty_unit : float
            One unit of u inside uncv (eV, eV/Å or 1) in the unit that the variable will have.

        Examples
        --------
        >>> from uncv.bias import HarmonicBias
        >>> HarmonicBias(2.0, 0.5).expression("x")
        '1.0*(x-0.5)^2'
        """
        if not u.isidentifier():
            raise ValueError(f"the variable is called {u!r}; expected a name of letters and digits")
        scale = number(1.0 / uncertainty_unit)
        term = u if uncertainty_unit == 1.0 else f"({scale}*{u})"
        text = self.formula(term)
        return text if energy_unit == 1.0 else f"{number(energy_unit)}*({text})"

    def openmm_expression(self, kind: Kind, u: str = "u") -> str:
        """Return the expression in the units of OpenMM and PLUMED: kJ/mol, and u by its kind.

        Examples
        --------
        >>> from uncv.bias import LinearBias
        >>> LinearBias(0.5).openmm_expression("dimensionless")
        '96.48533212331*(-0.5*u)'
        """
        return self.expression(
            u, energy_unit=EV_IN_KJ_PER_MOL, uncertainty_unit=uncertainty_in_openmm(kind)
        )


@cache
def _is_written_out(kind: Hashable) -> bool:
    """Return whether the class that defines `written_out` has the last word on ``forward`` too."""
    order = cast("type", kind).__mro__
    names = ("written_out", "forward")
    written, forward = (next(c for c in order if name in vars(c)) for name in names)
    return written is not Bias and issubclass(written, forward)


def number(value: float) -> str:
    """Return a number for an expression, every digit kept and a negative one in brackets.

    >>> number(-0.25)
    '(-0.25)'
    """
    return repr(float(value)) if value >= 0 else f"({float(value)!r})"


def finite(name: str, value: float) -> float:
    """Return a number, refusing one that is not finite.

    Raises
    ------
    ValueError
    """
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}; expected a finite number")
    return float(value)


def positive(name: str, value: float) -> float:
    """Return a number, refusing one that is not positive and finite.

    Raises
    ------
    ValueError
    """
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}; expected a positive number")
    return float(value)
