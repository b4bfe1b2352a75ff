"""Second derivatives of the compiled descriptor against autograd, differences and symmetry."""

from __future__ import annotations

import ctypes

import pytest
import torch
from test_kernel import (
    CAPABILITIES,
    CASES,
    TOLERANCE,
    Case,
    assert_same,
    cotangents,
    exact_aev,
    make_case,
    needs_kernel,
    random_case,
    small_case,
    tangents,
    variant,
)
from torch import Tensor

from uncv.models import kernel, library
from uncv.models.descriptor import KernelDescriptor, PullBack

pytestmark = needs_kernel


@pytest.fixture(params=[torch.float64, torch.float32], ids=["double", "single"])
def dtype(request) -> torch.dtype:
    return request.param


@pytest.fixture(params=list(CASES))
def case(request, dtype) -> Case:
    return random_case(dtype=dtype, **CASES[request.param])


@pytest.fixture(params=["compiled", "plain torch"])
def path(request, monkeypatch) -> str:
    if request.param == "plain torch":
        monkeypatch.setattr(library, "available", lambda: False)
        for name in ("describe", "pull_back", "push_forward", "curve"):
            monkeypatch.setattr(kernel, name, None)  # a call would fail
    return request.param


def changes_by_autograd(case: Case, g: Tensor, v: Tensor) -> Tensor:
    """Expected H v of each cotangent, in float64."""
    aev, leaf = exact_aev(case), case.vectors.double().clone().requires_grad_()
    rows = []
    for weights, along in zip(g.double(), v.double(), strict=True):
        described = aev(leaf, case.graph)
        (pulled,) = torch.autograd.grad(described, leaf, weights, create_graph=True)
        rows.append(torch.autograd.grad(pulled, leaf, along)[0])
    return torch.stack(rows)


@pytest.mark.parametrize("count", [1, 3])
def test_equals_autograd_twice(case, dtype, count):
    g, v = cotangents(case, count), tangents(case, count)
    found = kernel.curve(case.aev, g, v, *case.pairs)
    assert_same(found, changes_by_autograd(case, g, v).to(dtype), dtype)


@pytest.mark.parametrize("name", CASES)
def test_is_the_central_difference_of_pull_back(name):
    case, step = random_case(**CASES[name]), 1e-5
    g, v = cotangents(case, 2), tangents(case, 2)
    distance = case.vectors.norm(dim=1)
    for cutoff in (case.aev.radial_cutoff, case.aev.angular_cutoff):
        v[:, (distance - cutoff).abs() < 10 * step] = 0.0  # the switches' curvature jumps there
    ahead, behind = (
        [
            kernel.pull_back(case.aev, w[None], case.vectors + s * t, *case.pairs[1:])[0]
            for w, t in zip(g, v, strict=True)
        ]
        for s in (step, -step)
    )
    wanted = (torch.stack(ahead) - torch.stack(behind)) / (2 * step)
    found = kernel.curve(case.aev, g, v, *case.pairs)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-7 * float(wanted.abs().max()))


def test_is_symmetric(case, dtype):
    g, v, w = cotangents(case, 3), tangents(case, 3), tangents(case, 3, seed=5)
    one = (kernel.curve(case.aev, g, v, *case.pairs) * w).double().sum(dim=(1, 2))
    other = (kernel.curve(case.aev, g, w, *case.pairs) * v).double().sum(dim=(1, 2))
    scale = float(one.abs().max())
    torch.testing.assert_close(one, other, rtol=0, atol=10 * TOLERANCE[dtype] * scale)


def test_linear_angles_too(dtype):
    """Three atoms in a line, where the sine of the angle is small, and pairs past the cutoffs."""
    positions = torch.tensor([[[0.0, 0, 0], [1.1, 0, 0], [2.3, 0, 0], [5.0, 0, 0]]], dtype=dtype)
    case = make_case(torch.tensor([[0, 1, 0, 2]]), positions, skin=2.0)
    assert case.vectors.norm(dim=1).max() < case.aev.radial_cutoff
    g, v = cotangents(case, 2), tangents(case, 2)
    found = kernel.curve(case.aev, g, v, *case.pairs)
    assert_same(found, changes_by_autograd(case, g, v).to(dtype), dtype)


def test_threads_do_not_change_a_bit(monkeypatch):
    case = random_case(edge=4.3, skin=3.0)
    assert len(case.vectors) > 4000  # enough that the kernel uses more than one thread
    g, v = cotangents(case, 2), tangents(case, 2)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(kernel.torch, "get_num_threads", lambda n=threads: n)
        found.append(kernel.curve(case.aev, g, v, *case.pairs))
    assert torch.equal(*found)
    beyond = case.vectors.norm(dim=1) >= case.aev.radial_cutoff
    assert beyond.any()
    assert not found[0][:, beyond].any()


def test_lone_atom_and_no_atoms(dtype):
    case = make_case(torch.tensor([[2]]), torch.zeros((1, 1, 3), dtype=dtype))
    g, v = cotangents(case, 2), tangents(case, 2)
    assert kernel.curve(case.aev, g, v, *case.pairs).shape == (2, 0, 3)
    case = random_case(dtype=dtype)
    assert kernel.curve(case.aev, cotangents(case, 0), tangents(case, 0), *case.pairs).shape[0] == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, 1e30])
def test_strange_vectors_do_not_crash_and_nan_shows(dtype, bad):
    case = random_case(dtype=dtype)
    case.vectors[::3] = bad
    found = kernel.curve(case.aev, cotangents(case, 2), tangents(case, 2), *case.pairs)
    assert found.shape == (2, len(case.vectors), 3)
    if bad != bad:
        assert found[:, ::3].isnan().all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda g, v, x, o: (g[:, 1:], v, x, o), r"cotangents are .* expected"),
        (lambda g, v, x, o: (g, v[:1], x, o), r"tangents are .* expected"),
        (lambda g, v, x, o: (g, v.float(), x, o), r"tangents are .*float32.* expected"),
        (lambda g, v, x, o: (g.half(), v.half(), x.half(), o), "expected float32 or float64"),
        (lambda g, v, x, o: (g, v, x, o + 1), "Aev.graph"),
    ],
)
def test_wrong_arguments_are_refused(change, match):
    case = random_case()
    vectors, begin, other = case.pairs
    g, v, x, o = change(cotangents(case, 2), tangents(case, 2), vectors, other)
    with pytest.raises(ValueError, match=match):
        kernel.curve(case.aev, g, v, x, begin, o)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_built_variant_gives_the_same(capability):
    built: ctypes.CDLL = variant(capability)
    case = random_case(**CASES["blocks that are no whole vectors"])
    g, v = cotangents(case, 2), tangents(case, 2)
    found, (vectors, begin, other) = torch.empty_like(v), case.pairs
    built.uncv_curve.argtypes = kernel._calls().uncv_curve.argtypes
    pointers = [t.data_ptr() for t in (begin, other, vectors, g, v, found)]
    status = built.uncv_curve(
        kernel._pack(case.aev).reference, 1, case.graph.atoms, len(vectors), 2, *pointers, 1
    )
    assert status == 0
    assert_same(found, changes_by_autograd(case, g, v), torch.float64)


# Differentiation, with the compiled code and without


def test_pull_back_passes_gradcheck_by_cotangents_and_vectors(path):
    case = small_case()
    given = cotangents(case, 2).requires_grad_(), case.vectors.clone().requires_grad_()

    def multiplied(factor: Tensor, vectors: Tensor) -> Tensor:
        return PullBack.apply(factor, vectors, case.aev, case.graph)

    assert torch.autograd.gradcheck(multiplied, given)
    assert torch.autograd.gradgradcheck(multiplied, given, fast_mode=True)


def test_cotangents_that_depend_on_the_vectors_are_counted_once(path):
    """Forces of a bent energy, differentiated twice more, as plain autograd has them."""
    case = small_case()

    def derivatives(forces) -> list[Tensor]:
        leaf = case.vectors.clone().requires_grad_()
        pulled = forces(leaf)
        (second,) = torch.autograd.grad(pulled.square().sum(), leaf, create_graph=True)
        return [pulled, second, torch.autograd.grad(second.square().sum(), leaf)[0]]

    def products(leaf: Tensor) -> Tensor:
        slopes = KernelDescriptor.apply(leaf, case.aev, case.graph).cos()
        return PullBack.apply(slopes.unsqueeze(0), leaf, case.aev, case.graph)[0]

    def plain(leaf: Tensor) -> Tensor:
        energy = case.aev(leaf, case.graph).sin().sum()
        return torch.autograd.grad(energy, leaf, create_graph=True)[0]

    found, wanted = ([t.detach() for t in derivatives(f)] for f in (products, plain))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10 * float(other.abs().max()))
