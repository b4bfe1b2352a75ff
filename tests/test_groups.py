"""Atoms by element and back, fitted modules, and compiled ones."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from uncv.errors import FileFormatError
from uncv.fitted import FittedModule
from uncv.groups import FixedGroups, group_atoms, ungroup, ungroup_members
from uncv.scripting import compile_module, from_bytes, load_module, save_module, to_bytes

NUMBERS = torch.tensor([[8, 1, 1, 0], [6, 8, 1, 1]])
ELEMENTS = (1, 6, 7, 8)


def test_rows_are_the_atoms_of_each_element():
    groups = group_atoms(NUMBERS, ELEMENTS)
    assert [row.tolist() for row in groups.rows] == [[1, 2, 6, 7], [4], [], [0, 5]]
    assert groups.mask.tolist() == [[True, True, True, False], [True] * 4]


def test_ungroup_undoes_the_grouping_and_leaves_padding_zero():
    groups = group_atoms(NUMBERS, ELEMENTS)
    values = torch.arange(1.0, 17.0, dtype=torch.float64).reshape(8, 2).requires_grad_()
    parts = [values.index_select(0, row) for row in groups.rows]
    together = ungroup(parts, groups)
    expected = values.detach().reshape(2, 4, 2).clone()
    expected[0, 3] = 0.0
    torch.testing.assert_close(together, expected)
    members = ungroup_members([torch.stack([p, 2 * p]) for p in parts], groups)
    torch.testing.assert_close(members, torch.stack([expected, 2 * expected]))
    together.square().sum().backward()
    torch.testing.assert_close(values.grad.reshape(2, 4, 2), 2 * expected)


def test_no_atoms_at_all():
    groups = group_atoms(torch.zeros(2, 3, dtype=torch.int64), ELEMENTS)
    empty = [torch.zeros(0, 5)] * 4
    assert torch.equal(ungroup(empty, groups), torch.zeros(2, 3, 5))
    nobody = [torch.zeros(7, 0, 5)] * 4
    assert torch.equal(ungroup_members(nobody, groups), torch.zeros(7, 2, 3, 5))


def test_fixed_groups_are_the_same_when_compiled():
    groups, fixed = group_atoms(NUMBERS, ELEMENTS), FixedGroups(NUMBERS, ELEMENTS)
    for found in (fixed(), compile_module(fixed)()):
        assert torch.equal(found.numbers, groups.numbers)
        assert torch.equal(found.mask, groups.mask)
        assert torch.equal(found.back, groups.back)
        assert [r.tolist() for r in found.rows] == [r.tolist() for r in groups.rows]


class Fitted(FittedModule):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(0))
        self.inner = nn.BatchNorm1d(2)


def test_restore_takes_tensors_of_any_shape():
    source, target = Fitted(), Fitted()
    source.mean = torch.arange(4.0)
    source.inner.running_mean += 3.0
    state = {k: v for k, v in source.state_dict().items() if "weight" not in k and "bias" not in k}
    target.restore(state)
    assert torch.equal(target.mean, source.mean)
    assert torch.equal(target.inner.running_mean, torch.full((2,), 3.0))
    source.mean += 1.0
    assert torch.equal(target.mean, torch.arange(4.0)), "the state is copied"
    with pytest.raises(KeyError, match=r"Fitted keeps .* but the state holds nothing"):
        target.restore({})


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_compiled_modules_in_files_and_tensors(tmp_path):
    module = compile_module(Doubled())
    assert compile_module(module) is module
    save_module(module, tmp_path / "d.pt", {"about": "doubles"})
    assert [p.name for p in tmp_path.iterdir()] == ["d.pt"]
    again, texts = load_module(tmp_path / "d.pt", ("about", "absent"))
    assert texts == ["doubles", ""]
    archive = to_bytes(again)
    assert archive.dtype == torch.uint8
    assert from_bytes(archive)(torch.tensor(3.0)) == 6.0


def test_damaged_archives_are_named(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match=r"x\.pt is not a TorchScript file"):
        load_module(tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError, match=r"absent\.pt does not exist; expected a TorchScri"):
        load_module(tmp_path / "absent.pt")
    with pytest.raises(FileFormatError, match="archive of a TorchScript module is damaged"):
        from_bytes(torch.zeros(9, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("activation", "tolerance"),
    [("silu", 1e-10), ("celu", 1e-7)],  # torch's own derivative of celu is right to 1e-7 only
)
def test_tape_and_last_layer_are_gradients_by_the_weights(activation, tolerance):
    """Of every layer's weights, held against autograd, atom by atom and member by member."""
    exact = {"rtol": tolerance, "atol": tolerance}
    potential = tiny.potential(hidden=((8, 5), (7,), (6,), (9,)), activation=activation, scale=1.7)
    batch = tiny.mixed().to_batch()
    tape = potential(batch, extra="layers").layers
    last = potential(batch, extra="last_layer").last_layer
    rows = group_atoms(batch.numbers, potential.elements).rows
    potential.requires_grad_(True)
    atomic = potential(batch).atomic_energies.flatten(1)
    place = -1
    for element, network in enumerate(potential.networks):
        weights = [network.first.weight, *(layer.weight for layer in network.rest)]
        for row in rows[element].tolist():
            place += 1
            for member in range(potential.members):
                found = torch.autograd.grad(atomic[member, row], weights, retain_graph=True)
                for layer, gradient in enumerate(found):
                    own = gradient[:, member] if layer == 0 else gradient[member]
                    x = tape.inputs[layer][0 if layer == 0 else member, place]
                    delta = tape.deltas[layer][member, place]
                    whole = torch.zeros(len(x), len(delta), dtype=torch.float64)
                    whole[: own.shape[0], : own.shape[1]] = own
                    torch.testing.assert_close(torch.outer(x, delta), whole, **exact)
                for layer in range(len(found), len(tape.deltas)):
                    assert not tape.deltas[layer][member, place].any()
                width = weights[-1].shape[1]
                frame, atom = divmod(row, batch.numbers.shape[1])
                mine = last[member, frame, atom]
                torch.testing.assert_close(mine[:width], found[-1][member, :, 0])
                assert not mine[width:].any()
    assert not last[:, ~(batch.numbers > 0)].any()


def test_tape_is_the_same_evaluation():
    """Asking for more changes no energy, and an unknown element is refused as before."""
    potential, batch = tiny.potential(), tiny.mixed().to_batch()
    plain = potential(batch)
    assert potential.extras == ("member_forces", "last_layer", "layers")
    for extra in ("last_layer", "layers"):
        said = potential(batch, extra=extra)
        torch.testing.assert_close(said.energies, plain.energies, rtol=1e-12, atol=1e-14)
        assert torch.equal(said.features, plain.features)
    assert plain.last_layer is plain.layers is plain.heads is None
    np.testing.assert_array_equal(plain.energies, plain.atomic_energies.sum(dim=2))
