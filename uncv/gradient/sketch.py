"""Random projections of outer products, Σ_l (x̃_l P_l) ∘ (δ_l Q_l), derivative written out.

As a plain function, in the subset of Python that TorchScript compiles, and as a Function of
autograd, which is quicker.
"""

from typing import Any, List, NamedTuple  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor


class SketchLayer(NamedTuple):
    """The projections of one layer.

    Attributes
    ----------
    inward, bias, outward : torch.Tensor
        P (M, in, p), its row for the bias (M, 1, p), and Q (M, out, p).
    inward_back, outward_back : torch.Tensor
        P and Q transposed: products with them as they lie are quicker.
    """

    inward: Tensor
    bias: Tensor
    outward: Tensor
    inward_back: Tensor
    outward_back: Tensor


class SketchTables(NamedTuple):
    """The projections of all layers, one below the other (M, rows, p) and apart."""

    table: Tensor
    layers: List[SketchLayer]  # noqa: UP006


def tables_of(table: Tensor, inputs: List[Tensor], deltas: List[Tensor]) -> SketchTables:  # noqa: UP006
    """Return the projections layer by layer."""
    layers: List[SketchLayer] = []  # noqa: UP006
    begin = 0
    for x, delta in zip(inputs, deltas):  # noqa: B905  TorchScript has no strict
        middle, end = begin + x.shape[2], begin + x.shape[2] + 1 + delta.shape[2]
        inward, outward = table[:, begin:middle], table[:, middle + 1 : end]
        back = inward.transpose(1, 2).contiguous(), outward.transpose(1, 2).contiguous()
        layers.append(SketchLayer(inward, table[:, middle : middle + 1], outward, back[0], back[1]))
        begin = end
    return SketchTables(table, layers)


def sketch(inputs: List[Tensor], deltas: List[Tensor], table: Tensor) -> Tensor:  # noqa: UP006
    """Return the sketch (N, p), summed over layers and members.

    Parameters
    ----------
    inputs : list of torch.Tensor
        x of each layer (M or 1, N, in).
    deltas : list of torch.Tensor
        δ of each layer (M, N, out).
    table : torch.Tensor
        P, its row for the bias, and Q of each layer, one below the other (M, rows, p).
    """
    terms: List[Tensor] = []  # noqa: UP006
    begin = 0
    for x, delta in zip(inputs, deltas):  # noqa: B905  TorchScript has no strict
        middle, end = begin + x.shape[2], begin + x.shape[2] + 1 + delta.shape[2]
        inward = torch.matmul(x, table[:, begin:middle]) + table[:, middle : middle + 1]
        terms.append(inward * torch.matmul(delta, table[:, middle + 1 : end]))
        begin = end
    return torch.stack(terms).sum(dim=[0, 1])


class Sketch(torch.autograd.Function):
    """`sketch`: ``Sketch.apply(tables, *inputs, *deltas)``."""

    @staticmethod
    def forward(ctx: Any, tables: SketchTables, *tape: Tensor) -> Tensor:
        """Return the sketch."""
        members, number = len(tables.table), len(tables.layers)
        inward, outward = [], []
        whole = tape[0].new_zeros((members, tape[0].shape[1], tables.table.shape[2]))
        for layer, x, delta in zip(tables.layers, tape[:number], tape[number:], strict=True):
            inward.append(torch.baddbmm(layer.bias, x.expand(members, -1, -1), layer.inward))
            outward.append(torch.bmm(delta, layer.outward))
            whole.addcmul_(inward[-1], outward[-1])
        ctx.tables = tables
        ctx.save_for_backward(*tape, *inward, *outward)
        return whole.sum(dim=0) if members > 1 else whole.squeeze(0)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by inputs and slopes."""
        tables, number = ctx.tables, len(ctx.tables.layers)
        kept = ctx.saved_tensors
        tape, inward, outward = kept[: 2 * number], kept[2 * number : -number], kept[-number:]
        if torch.is_grad_enabled():  # to be differentiated once more
            wanted = [t for t in tape if t.requires_grad]
            again = sketch(list(tape[:number]), list(tape[number:]), tables.table)
            found = iter(torch.autograd.grad(again, wanted, bar, create_graph=True))
            return None, *(next(found) if t.requires_grad else None for t in tape)
        of_inputs: list[Tensor | None] = []
        of_deltas: list[Tensor | None] = []
        for index, layer in enumerate(tables.layers):
            of_x = torch.bmm(bar * outward[index], layer.inward_back)
            shared = len(tape[index]) < len(of_x)
            of_inputs.append(of_x.sum(dim=0, keepdim=True) if shared else of_x)
            if ctx.needs_input_grad[1 + number + index]:
                of_deltas.append(torch.bmm(bar * inward[index], layer.outward_back))
            else:
                of_deltas.append(None)
        return None, *of_inputs, *of_deltas
