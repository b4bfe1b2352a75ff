"""The compiled descriptor against plain torch, TorchANI, finite differences and its own adjoint."""

from __future__ import annotations

import ctypes
import gc
import pickle
import subprocess
import sys
import warnings
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from uncv.errors import DependencyError
from uncv.models import kernel, library
from uncv.models.aev import Aev, AevSettings, Graph
from uncv.models.descriptor import KernelDescriptor, PullBack, PushForward
from uncv.models.neighbours import pair_vectors

needs_kernel = pytest.mark.skipif(not library.available(), reason=library.why_not() or "built")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


class Case(NamedTuple):
    aev: Aev
    vectors: Tensor
    graph: Graph

    @property
    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.vectors, self.graph.begin, self.graph.other_species


def make_case(
    species: Tensor,
    positions: Tensor,
    *,
    edge: float = 0.0,
    skin: float = 0.6,
    settings: AevSettings | None = None,
    elements: int = 4,
) -> Case:
    """Neighbours of frames (F, A); a cubic cell if an edge is given."""
    aev = Aev(elements, settings or AevSettings()).to(positions.dtype)
    frames = len(species)
    cell = edge * torch.eye(3, dtype=positions.dtype).repeat(frames, 1, 1)
    pbc = torch.full((frames, 3), edge > 0)
    graph = aev.graph(species, positions, cell, pbc, skin)
    return Case(aev, pair_vectors(positions, cell, graph.pairs).contiguous(), graph)


def random_case(seed: int = 0, dtype: torch.dtype = torch.float64, **options) -> Case:
    """Three frames of up to 14 atoms, of which the last ones are padding."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.cartesian_prod(*[torch.arange(3.0, dtype=torch.float64)] * 3)[:14] * 1.4
    noise = 0.3 * torch.randn((3, 14, 3), generator=generator, dtype=torch.float64)
    elements = options.get("elements", 4)
    species = torch.randint(0, elements, (3, 14), generator=generator)
    species[1, 11:] = -1
    species[2, 1:] = -1
    return make_case(species, (grid + noise).to(dtype), **options)


CASES = {
    "molecules": {},
    "small periodic cell": {"edge": 4.3},
    "blocks that are no whole vectors": {
        "settings": AevSettings(
            radial_shifts=(1.0, 2.0, 3.0, 3.5, 4.0),
            angular_shifts=(1.0, 1.7, 2.4),
            angle_shifts=(0.3, 1.2, 2.2),
            zeta=7.0,
        ),
        "elements": 3,
    },
    "power that is no whole number": {"settings": AevSettings(zeta=14.1)},
}


@pytest.fixture(params=[torch.float64, torch.float32], ids=["double", "single"])
def dtype(request) -> torch.dtype:
    return request.param


@pytest.fixture(params=list(CASES))
def case(request, dtype) -> Case:
    return random_case(dtype=dtype, **CASES[request.param])


def assert_same(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    assert found.dtype is dtype
    assert found.shape == wanted.shape
    scale = float(wanted.abs().max())
    assert scale > 0
    assert float((found - wanted).abs().max()) < TOLERANCE[dtype] * scale


def cotangents(case: Case, count: int, seed: int = 1) -> Tensor:
    shape = (count, case.graph.atoms, case.aev.width)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(case.vectors.dtype)


def tangents(case: Case, count: int, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *case.vectors.shape)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(case.vectors.dtype)


def exact_aev(case: Case) -> Aev:
    """The case's descriptor in plain torch, in float64 whatever the case's precision."""
    aev = Aev(case.aev.species, AevSettings()).to(torch.float64)
    for name, value in vars(case.aev).items():
        if isinstance(value, float):
            setattr(aev, name, value)
    aev.radial_width, aev.angular_width = case.aev.radial_width, case.aev.angular_width
    for name, value in case.aev.named_buffers():
        setattr(aev, name, value.double() if value.is_floating_point() else value)
    return aev


def gradients_by_autograd(case: Case, weights: Tensor) -> Tensor:
    """Expected Jᵀg, in float64 whatever the case's precision."""
    leaf = case.vectors.double().clone().requires_grad_()
    described = exact_aev(case)(leaf, case.graph)
    rows = [torch.autograd.grad(described, leaf, w, retain_graph=True)[0] for w in weights.double()]
    return torch.stack(rows)


@needs_kernel
def test_descriptor_equals_plain_torch(case, dtype):
    wanted = case.aev.double()(case.vectors.double(), case.graph)
    assert_same(kernel.describe(case.aev.to(dtype), *case.pairs), wanted.to(dtype), dtype)


@needs_kernel
def test_descriptor_equals_torchani():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchani
    settings = AevSettings()
    theirs = torchani.AEVComputer(
        settings.radial_cutoff,
        settings.angular_cutoff,
        torch.tensor([settings.radial_eta], dtype=torch.float64),
        torch.tensor(settings.radial_shifts, dtype=torch.float64),
        torch.tensor([settings.angular_eta], dtype=torch.float64),
        torch.tensor([settings.zeta], dtype=torch.float64),
        torch.tensor(settings.angular_shifts, dtype=torch.float64),
        torch.tensor(settings.angle_shifts, dtype=torch.float64),
        4,
    )
    species = torch.tensor([[0, 1, 2, 3, 0, 0, 1]])
    positions = 1.8 * torch.randn((1, 7, 3), generator=torch.Generator().manual_seed(4)).double()
    case = make_case(species, positions)
    wanted = theirs((species, positions)).aevs[0]
    assert_same(kernel.describe(case.aev, *case.pairs), wanted, torch.float64)


@needs_kernel
@pytest.mark.parametrize("count", [1, 5])
def test_pull_back_equals_autograd(case, dtype, count):
    weights = cotangents(case, count)
    wanted = gradients_by_autograd(case, weights)
    assert_same(kernel.pull_back(case.aev, weights, *case.pairs), wanted.to(dtype), dtype)


@needs_kernel
def test_push_forward_equals_central_differences():
    case = random_case(edge=4.3)
    v = tangents(case, 2)
    step = 1e-5
    ahead, behind = (
        [kernel.describe(case.aev, case.vectors + s * t, *case.pairs[1:]) for t in v]
        for s in (step, -step)
    )
    wanted = (torch.stack(ahead) - torch.stack(behind)) / (2 * step)
    found = kernel.push_forward(case.aev, v, *case.pairs)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


@needs_kernel
def test_products_are_adjoint(case, dtype):
    g, v = cotangents(case, 3), tangents(case, 3)
    forward = (kernel.push_forward(case.aev, v, *case.pairs) * g).double().sum(dim=(1, 2))
    backward = (kernel.pull_back(case.aev, g, *case.pairs) * v).double().sum(dim=(1, 2))
    scale = float(backward.abs().max())
    torch.testing.assert_close(forward, backward, rtol=0, atol=10 * TOLERANCE[dtype] * scale)


@needs_kernel
def test_threads_do_not_change_a_bit(monkeypatch):
    case = random_case(edge=4.3, skin=3.0)
    assert len(case.vectors) > 4000  # enough that the kernel uses more than one thread
    g, v = cotangents(case, 2), tangents(case, 2)

    def everything() -> tuple[Tensor, ...]:
        return (
            kernel.describe(case.aev, *case.pairs),
            kernel.pull_back(case.aev, g, *case.pairs),
            kernel.push_forward(case.aev, v, *case.pairs),
        )

    alone, together = [], []
    for threads, results in ((1, alone), (3, together)):
        monkeypatch.setattr(kernel.torch, "get_num_threads", lambda n=threads: n)
        results.extend(everything())
    for one, many in zip(alone, together, strict=True):
        assert torch.equal(one, many)


@needs_kernel
def test_many_neighbours_of_one_atom():
    positions = torch.rand((1, 8, 3), generator=torch.Generator().manual_seed(3)).double() * 2
    species = torch.zeros((1, 8), dtype=torch.int64)
    settings = AevSettings(angular_cutoff=1.5)
    case = make_case(species, positions, edge=2.0, settings=settings, elements=1)
    assert int(case.graph.begin.diff().min()) > 512  # the kernel's usual number of pairs at once
    wanted = case.aev(case.vectors, case.graph)
    assert_same(kernel.describe(case.aev, *case.pairs), wanted, torch.float64)


@needs_kernel
def test_lone_atom_and_no_atoms(dtype):
    case = make_case(torch.tensor([[2]]), torch.zeros((1, 1, 3), dtype=dtype))
    assert torch.equal(kernel.describe(case.aev, *case.pairs), torch.zeros((1, 384), dtype=dtype))
    assert kernel.pull_back(case.aev, cotangents(case, 2), *case.pairs).shape == (2, 0, 3)
    assert not kernel.push_forward(case.aev, tangents(case, 2), *case.pairs).any()
    assert kernel.pull_back(case.aev, cotangents(case, 0), *case.pairs).shape == (0, 0, 3)
    empty = make_case(torch.zeros((1, 0), dtype=torch.int64), torch.zeros((1, 0, 3), dtype=dtype))
    assert kernel.describe(empty.aev, *empty.pairs).shape == (0, 384)


@needs_kernel
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, 1e30])
def test_strange_vectors_do_not_crash_and_nan_shows(dtype, bad):
    case = random_case(dtype=dtype)
    case.vectors[::3] = bad
    described = kernel.describe(case.aev, *case.pairs)
    pulled = kernel.pull_back(case.aev, cotangents(case, 2), *case.pairs)
    pushed = kernel.push_forward(case.aev, tangents(case, 2), *case.pairs)
    assert described.shape == (42, 384)
    if bad != bad:
        assert all(result.isnan().any() for result in (described, pulled, pushed))
        centres = case.graph.pairs.centre[::3].unique()
        assert described[centres].isnan().any(dim=1).all()


@needs_kernel
def test_terms_past_the_cutoffs_are_zero():
    near = random_case(edge=4.3, skin=0.0)
    far = random_case(edge=4.3, skin=2.0)
    assert len(far.vectors) > len(near.vectors)
    wanted = kernel.describe(near.aev, *near.pairs)
    assert_same(kernel.describe(far.aev, *far.pairs), wanted, torch.float64)
    pulled = kernel.pull_back(far.aev, cotangents(far, 1), *far.pairs)[0]
    beyond = far.vectors.norm(dim=1) >= far.aev.radial_cutoff
    assert beyond.any()
    assert not pulled[beyond].any()


@needs_kernel
def test_other_layouts_of_memory():
    case = random_case()
    wanted = kernel.describe(case.aev, *case.pairs)
    turned = case.vectors.T.contiguous().T
    assert torch.equal(kernel.describe(case.aev, turned, *case.pairs[1:]), wanted)
    g = cotangents(case, 1)
    repeated = kernel.pull_back(case.aev, g.expand(3, -1, -1), *case.pairs)
    assert torch.equal(repeated[2], kernel.pull_back(case.aev, g, *case.pairs)[0])


@needs_kernel
def test_constants_follow_the_module():
    case = random_case()
    before = kernel.describe(case.aev, *case.pairs)
    single = case.aev.to(torch.float32)
    assert torch.equal(
        kernel.describe(single, *case.pairs),
        kernel.describe(pickle.loads(pickle.dumps(single)), *case.pairs),
    )
    assert not torch.equal(kernel.describe(single, *case.pairs), before)  # constants were rounded
    size = len(kernel._packed)
    case = single = None
    gc.collect()
    assert len(kernel._packed) < size


@needs_kernel
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda v, b, o: (v.half(), b, o), "expected float32 or float64"),
        (lambda v, b, o: (v.to("meta"), b, o), "works on the CPU"),
        (lambda v, b, o: (v, b.int(), o), "expected int64"),
        (lambda v, b, o: (v[:, :2], b, o), r"expected \(P, 3\)"),
        (lambda v, b, o: (v, b, o[:-1]), r"expected \(P, 3\)"),
        (lambda v, b, o: (v, b, o + 1), "Aev.graph"),
        (lambda v, b, o: (v, b, o - 1), "Aev.graph"),
        (lambda v, b, o: (v, b.flip(0), o), "Aev.graph"),
        (lambda v, b, o: (v[:-1], b, o[:-1]), "Aev.graph"),
    ],
)
def test_wrong_pairs_are_refused(change, match):
    case = random_case()
    with pytest.raises(ValueError, match=match):
        kernel.describe(case.aev, *change(*case.pairs))


@needs_kernel
def test_wrong_products_are_refused():
    case = random_case()
    with pytest.raises(ValueError, match=r"cotangents are .* expected"):
        kernel.pull_back(case.aev, cotangents(case, 1)[:, 1:], *case.pairs)
    with pytest.raises(ValueError, match=r"tangents are .*float32.* expected"):
        kernel.push_forward(case.aev, tangents(case, 1).float(), *case.pairs)


CAPABILITIES = list(library.VARIANTS)


def variant(capability: str) -> ctypes.CDLL:
    """The library for a processor, if this one can run it."""
    here = torch.backends.cpu.get_cpu_capability()
    if here not in CAPABILITIES[CAPABILITIES.index(capability) :]:
        pytest.skip(f"this processor has no {capability}")
    built = ctypes.CDLL(library.library_file(capability))
    assert built.uncv_kernel_version() == library.VERSION
    return built


@needs_kernel
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_built_variant_gives_the_same(capability):
    built = variant(capability)
    case = random_case()
    found = torch.empty((case.graph.atoms, case.aev.width), dtype=torch.float64)
    vectors, begin, other = case.pairs
    built.uncv_aev.argtypes = kernel._calls().uncv_aev.argtypes
    pointers = [t.data_ptr() for t in (begin, other, vectors)]
    status = built.uncv_aev(
        kernel._pack(case.aev).reference, 0, 1, case.graph.atoms, len(vectors), 1, *pointers, None,
        found.data_ptr(), 1,
    )  # fmt: skip
    assert status == 0
    assert_same(found, case.aev(vectors, case.graph), torch.float64)


@needs_kernel
def test_loading_leaves_tiny_numbers_alone():
    code = (
        "import torch; from uncv.models import library; assert library.available(); "
        "tiny = torch.tensor([5e-324], dtype=torch.float64); print(float(tiny * 1.0))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "5e-324"


# Differentiation, with the compiled code and without


@pytest.fixture(params=["compiled", "plain torch"])
def path(request, monkeypatch) -> str:
    if request.param == "plain torch":
        monkeypatch.setattr(library, "available", lambda: False)
        monkeypatch.setattr(kernel, "describe", None)  # a call would fail
        monkeypatch.setattr(kernel, "pull_back", None)
        monkeypatch.setattr(kernel, "push_forward", None)
        monkeypatch.setattr(kernel, "curve", None)
    elif not library.available():
        pytest.skip(library.why_not())
    return request.param


def small_case() -> Case:
    positions = torch.tensor([[[0.0, 0, 0], [1.1, 0.1, 0], [-0.2, 1.2, 0.3]]], dtype=torch.float64)
    settings = AevSettings(
        radial_shifts=(0.9, 1.5), angular_shifts=(0.9, 1.4), angle_shifts=(0.4, 1.3), zeta=4.0
    )
    return make_case(torch.tensor([[0, 1, 0]]), positions, settings=settings, elements=2)


def test_descriptor_passes_gradcheck(path):
    case = small_case()
    leaf = case.vectors.clone().requires_grad_()

    def described(vectors: Tensor) -> Tensor:
        return KernelDescriptor.apply(vectors, case.aev, case.graph)

    assert torch.autograd.gradcheck(described, (leaf,))
    assert torch.autograd.gradgradcheck(described, (leaf,), fast_mode=True)


def test_descriptor_and_gradients_equal_plain_autograd(path, dtype):
    case = random_case(dtype=dtype)
    leaf = case.vectors.clone().requires_grad_()
    weights = cotangents(case, 1)
    described = KernelDescriptor.apply(leaf, case.aev, case.graph)
    assert_same(described.detach(), case.aev(case.vectors, case.graph), dtype)
    wanted = gradients_by_autograd(case, weights).to(dtype)
    (one,) = torch.autograd.grad(described, leaf, weights[0], retain_graph=True)
    assert_same(one, wanted[0], dtype)
    (twice,) = torch.autograd.grad(described, leaf, weights[0], create_graph=True)
    assert twice.requires_grad
    assert_same(twice.detach(), wanted[0], dtype)


@pytest.mark.parametrize("product", [PullBack, PushForward])
def test_products_pass_gradcheck(path, product):
    case = small_case()
    given = (cotangents if product is PullBack else tangents)(case, 2).requires_grad_()

    def multiplied(factor: Tensor) -> Tensor:
        return product.apply(factor, case.vectors, case.aev, case.graph)

    assert torch.autograd.gradcheck(multiplied, (given,), fast_mode=True)
    assert torch.autograd.gradgradcheck(multiplied, (given,), fast_mode=True)


def test_products_equal_plain_autograd(path, dtype):
    case = random_case(dtype=dtype)
    g, v = cotangents(case, 2), tangents(case, 2)
    wanted = gradients_by_autograd(case, g)
    assert_same(PullBack.apply(g, case.vectors, case.aev, case.graph), wanted.to(dtype), dtype)
    _, jacobian_product = torch.func.jvp(
        lambda x: case.aev.double()(x, case.graph), (case.vectors.double(),), (v[1].double(),)
    )
    case.aev.to(dtype)
    pushed = PushForward.apply(v, case.vectors, case.aev, case.graph)
    assert_same(pushed[1], jacobian_product.to(dtype), dtype)


def test_training_on_forces_gives_the_gradient_of_the_double_backward(path):
    case = random_case()
    weights = cotangents(case, 1)[0].requires_grad_()
    target = tangents(case, 1)[0]
    loss = PullBack.apply(weights[None].tanh(), case.vectors, case.aev, case.graph)[0] - target
    (found,) = torch.autograd.grad(loss.square().sum(), weights)
    leaf = case.vectors.clone().requires_grad_()
    energy = (case.aev(leaf, case.graph) * weights.tanh()).sum()
    (force,) = torch.autograd.grad(energy, leaf, create_graph=True)
    (wanted,) = torch.autograd.grad((force - target).square().sum(), weights)
    assert_same(found, wanted, torch.float64)


def test_push_forward_refuses_vectors_that_need_a_gradient(path):
    case = small_case()
    leaf = case.vectors.clone().requires_grad_()
    with pytest.raises(ValueError, match="detach them, or use KernelDescriptor"):
        PushForward.apply(tangents(case, 1), leaf, case.aev, case.graph)


# The library's absence


@pytest.fixture
def fresh_library():
    library.load.cache_clear()
    kernel._calls.cache_clear()
    yield
    library.load.cache_clear()
    kernel._calls.cache_clear()


def test_absent_library_is_explained(monkeypatch, fresh_library):
    case = small_case()
    monkeypatch.setattr(library, "EXTENSION_SUFFIXES", [".absent"])
    assert not library.available()
    assert "install uncv again" in library.why_not()
    with pytest.raises(DependencyError, match=r"is not in .*install uncv again"):
        kernel.describe(case.aev, *case.pairs)
    described = KernelDescriptor.apply(case.vectors, case.aev, case.graph)
    assert torch.equal(described, case.aev(case.vectors, case.graph))


@needs_kernel
def test_library_of_another_version_is_refused(monkeypatch, fresh_library):
    monkeypatch.setattr(library, "VERSION", -1)
    assert "of version" in library.why_not()


def test_damaged_library_is_explained(monkeypatch, fresh_library, tmp_path):
    (tmp_path / "_kernel.so").write_text("not a library")
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    monkeypatch.setattr(library, "EXTENSION_SUFFIXES", [".so"])
    assert "does not load" in library.why_not()


class Described(torch.nn.Module):
    """Pair vectors and descriptors from positions, as an exported model computes them."""

    def __init__(self, aev: Aev) -> None:
        super().__init__()
        self.aev = aev

    def forward(
        self, species: Tensor, positions: Tensor, cell: Tensor, pbc: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        graph = self.aev.graph(species, positions, cell, pbc, 0.5)
        vectors = pair_vectors(positions, cell, graph.pairs)
        return self.aev(vectors, graph), graph.begin, graph.other_species


def test_graph_and_descriptor_compile_to_torchscript():
    module = Described(Aev(2, AevSettings()))
    species = torch.tensor([[0, 1, -1]])
    positions = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    cell, pbc = torch.zeros((1, 3, 3), dtype=torch.float64), torch.zeros((1, 3), dtype=torch.bool)
    scripted = torch.jit.script(module)(species, positions, cell, pbc)
    described, begin, other_species = module(species, positions, cell, pbc)
    assert begin.tolist() == scripted[1].tolist() == [0, 1, 2, 2]
    assert other_species.tolist() == scripted[2].tolist() == [1, 0]
    assert_same(scripted[0], described, torch.float64)
