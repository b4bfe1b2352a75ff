"""Gradients of an atom's energy by the weights of its network, as features of atoms or frames.

Two atoms are alike to a network if a change of its weights moves both energies the same way: the
product of these features is the neural tangent kernel. Written in the subset of Python that
TorchScript compiles.

Sources: Zaverkin et al., npj Comput. Mater. 10, 83 (2024); Holzmüller, Zaverkin, Kästner,
Steinwart, JMLR 24 (2023).
"""

from abc import abstractmethod
from typing import Final, List  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor

from uncv.fitted import FittedModule
from uncv.gradient.sketch import Sketch, SketchTables, sketch, tables_of
from uncv.groups import AtomGroups
from uncv.protocols import LayerTape, MemberOutput
from uncv.scripting import is_scripting

ALL = -1
"""Of ``member``: the average of all members' kernels."""


class GradientFeatures(FittedModule):
    """Base of the features.

    Parameters
    ----------
    member : int
        Which member, or `ALL`.
    layout : str
        'frames' for the mean over the atoms of each frame (F, D); otherwise in which order those of
        atoms come (`uncv.gradient.layout`).

    Attributes
    ----------
    constant : torch.Tensor
        Features (c,) beside these D that are the same for all; learnt from, but not computed.
    """

    constant: Tensor
    member: Final[int]
    layout: Final[str]

    def __init__(self, member: int, layout: str) -> None:
        super().__init__()
        self.member = member
        self.layout = layout
        self.register_buffer("constant", torch.zeros(0))

    @abstractmethod
    def prepare(self, output: MemberOutput, groups: AtomGroups, scale: float) -> None:
        """Learn shapes from what a potential says, and the scale of its output in eV."""

    @abstractmethod
    def forward(self, output: MemberOutput, groups: AtomGroups) -> Tensor:
        """Return the features (F·A, D), (N, D) or (F, D), by their layout.

        Raises
        ------
        ValueError
            If the output lacks what they are made of, or has it in another width than before.
        """


class LastLayerFeatures(GradientFeatures):
    """Gradient by the weights and the bias of the last layer, s [x, 1] with the output scale s.

    It is zero outside the block of the atom's own element: atoms carry that block alone, frames
    have the blocks side by side. Of all members, the features are side by side over √M, so that the
    kernel is the mean of their kernels; the M equal columns of their biases are one.

    Parameters
    ----------
    member : int
        See `GradientFeatures`.
    per_atom : bool
        Whether of atoms or of frames.
    """

    bias: Tensor

    def __init__(self, member: int, *, per_atom: bool) -> None:
        super().__init__(member, "atoms" if per_atom else "frames")
        self.register_buffer("bias", torch.zeros((0, 0)))

    def prepare(self, output: MemberOutput, groups: AtomGroups, scale: float) -> None:
        """Take the scale; 0 stands for a last layer without a bias."""
        bias = output.features.new_full((1 if scale else 0,), scale)
        self.constant = bias[: 0 if self.layout == "frames" else 1]
        self.bias = bias.unsqueeze(0)

    def forward(self, output: MemberOutput, groups: AtomGroups) -> Tensor:
        """Return the features."""
        last = output.last_layer
        if last is None:
            raise ValueError("the last layer is missing; evaluate with extra='last_layer'")
        if self.member >= 0:
            features = last[self.member].flatten(0, 1)
        else:
            features = last.permute(1, 2, 0, 3).flatten(2).flatten(0, 1) * last.shape[0] ** -0.5
        if self.layout == "atoms":
            return features
        features = features.index_select(0, torch.cat(groups.rows))
        bias = self.bias.to(features.dtype).expand(features.shape[0], self.bias.shape[1])
        return mean_of_frames(torch.cat([features, bias], dim=1), groups, blocks=True)


class SketchedFeatures(GradientFeatures):
    """Random projections of the gradient by all weights and biases of the readout network.

    φ = p^(−1/2) Σ_l (x̃_l P_l) ∘ (δ_l Q_l) with the inputs x̃ = [x, 1] of layer l, the slopes δ of
    the energy by its outputs, and P, Q standard normal: φ·φ' is the neural tangent kernel
    Σ_l (x̃·x̃')(δ·δ') on average, with an error that falls as 1/√p. Elements share P and Q, each with
    random signs of its own on the p columns: within an element the signs drop out, and between
    elements, whose weights have nothing in common, the kernel is 0 on average, as it must be.

    Of all members: projections of their own, summed over √M; on average the kernel is the mean of
    their kernels.

    Parameters
    ----------
    member : int
        See `GradientFeatures`.
    projection_dim : int
        p.
    seed : int
        Of the projections.
    per_atom : bool
        Whether of atoms or of frames.
    """

    projections: Tensor
    signs: Tensor
    projection_dim: Final[int]

    def __init__(self, member: int, projection_dim: int, seed: int, *, per_atom: bool) -> None:
        super().__init__(member, "elements" if per_atom else "frames")
        self.projection_dim = projection_dim
        self.seed = seed
        self.register_buffer("projections", torch.zeros((0, 0, 0)))
        self.register_buffer("signs", torch.zeros((0, 0)))
        self._made: SketchTables | None = None

    def prepare(self, output: MemberOutput, groups: AtomGroups, scale: float) -> None:
        """Draw, for each layer, P, its row for the bias, and Q; and the signs of the elements."""
        tape = tape_of(output, self.member)
        generator = torch.Generator().manual_seed(self.seed)
        shape = (tape.deltas[0].shape[0], rows_of(tape), self.projection_dim)
        normal = torch.randn(shape, generator=generator, dtype=torch.float64)
        signs = torch.randint(0, 2, (len(groups.rows), shape[2]), generator=generator)
        self.projections = (normal * (shape[0] * shape[2]) ** -0.25).to(output.features.dtype)
        self.signs = (2 * signs - 1).to(output.features.dtype)
        self.constant = output.features.new_zeros(0)

    def forward(self, output: MemberOutput, groups: AtomGroups) -> Tensor:
        """Return the features."""
        tape = tape_of(output, self.member)
        table = self.projections.to(tape.deltas[0].dtype)
        if rows_of(tape) != table.shape[1] or len(tape.deltas[0]) != len(table):
            raise ValueError(
                f"the layers take {rows_of(tape)} rows of projections for {len(tape.deltas[0])} "
                f"members, but {table.shape[1]} for {len(table)} were drawn; fit again"
            )
        if is_scripting():
            features = sketch(tape.inputs, tape.deltas, table)
        else:
            features = Sketch.apply(self._tables(table, tape), *tape.inputs, *tape.deltas)
        if self.layout == "elements":
            return features
        signs = torch.cat([s.expand(len(r), -1) for s, r in zip(self.signs, groups.rows)])  # noqa: B905
        return mean_of_frames(features * signs.to(features.dtype), groups, blocks=False)

    def _tables(self, table: Tensor, tape: LayerTape) -> SketchTables:
        """Return the projections layer by layer, made when first used."""
        if self._made is None or self._made.table is not table:
            self._made = tables_of(table, tape.inputs, tape.deltas)
        return self._made


def tape_of(output: MemberOutput, member: int) -> LayerTape:
    """Return the part of the tape that belongs to one member, or all of it."""
    tape = output.layers
    if tape is None:
        raise ValueError("the layers are missing; evaluate with extra='layers'")
    if member < 0 or tape.deltas[0].shape[0] == 1:
        return tape
    inputs = [x if x.shape[0] == 1 else x[member : member + 1] for x in tape.inputs]
    return LayerTape(inputs, [d[member : member + 1] for d in tape.deltas])


def rows_of(tape: LayerTape) -> int:
    """Return the number of rows of P, of the biases and of Q of all layers together."""
    rows = len(tape.inputs)
    for x in tape.inputs:
        rows += x.shape[2]
    for delta in tape.deltas:
        rows += delta.shape[2]
    return rows


def mean_of_frames(features: Tensor, groups: AtomGroups, *, blocks: bool) -> Tensor:
    """Return the mean of the features (N, D) of the atoms of each frame.

    Either all in one (F, D), or in one block for each element (F, E·D).
    """
    frames, width, elements = len(groups.numbers), groups.numbers.shape[1], len(groups.rows)
    places: List[Tensor] = []  # noqa: UP006
    for element, row in enumerate(groups.rows):
        frame = torch.div(row, width, rounding_mode="floor")
        places.append(frame * elements + element if blocks else frame)
    count = frames * elements if blocks else frames
    zeros = torch.zeros((count, features.shape[1]), dtype=features.dtype, device=features.device)
    sums = zeros.index_add(0, torch.cat(places), features).reshape(frames, -1)
    return sums / groups.mask.sum(dim=1, keepdim=True).clamp(min=1).to(features.dtype)
