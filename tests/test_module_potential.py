"""Potentials made of torch modules: the contracts, files, and what is refused."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Tuple  # noqa: UP035  TorchScript wants typing's names

import contracts
import numpy as np
import pytest
import tiny
import torch
from contracts import UncertaintyCase
from torch import Tensor, nn

import uncv
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import ElementError, FileFormatError, GradientError
from uncv.models import ModulePotential, load_potential
from uncv.scripting import compile_module, save_module
from uncv.uncertainty import EnsembleUncertainty, GradientUncertainty

CUTOFF = 3.6
WIDTH = 6


class Toy(nn.Module):
    """Sums of Gaussians over neighbours, weighed by element, into one hidden layer."""

    def __init__(self, members: int = 1, seed: int = 0, elements: int = 4) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.register_buffer("centres", torch.linspace(0.8, 3.0, WIDTH, dtype=torch.float64))
        self.charge = nn.Parameter(torch.rand(elements, generator=random, dtype=torch.float64))
        self.hidden = nn.Parameter(
            torch.randn(members, WIDTH, 5, generator=random, dtype=torch.float64)
        )
        self.out = nn.Parameter(torch.randn(members, 5, 1, generator=random, dtype=torch.float64))

    def features(self, species: Tensor, centre: Tensor, other: Tensor, vectors: Tensor) -> Tensor:
        distance = vectors.square().sum(dim=1).sqrt()
        window = torch.cos(distance * (torch.pi / 7.2)) ** 3  # zero at the cutoff of 3.6 Å
        gauss = torch.exp(-2.0 * (distance.unsqueeze(1) - self.centres) ** 2)
        terms = gauss * (window * (0.5 + self.charge[species[other]])).unsqueeze(1)
        start = (0.2 * self.charge[species]).unsqueeze(1).repeat(1, self.centres.shape[0])
        return start.index_add(0, centre, terms.to(start.dtype))

    def forward(
        self, species: Tensor, frame: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor]:  # noqa: UP006
        features = self.features(species, centre, other, vectors)
        hidden = torch.tanh(torch.matmul(features, self.hidden))
        return torch.matmul(hidden, self.out).squeeze(2), features, hidden


class ToyEnergies(Toy):
    """The same without its last layer."""

    def forward(  # type: ignore[override]
        self, species: Tensor, frame: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        features = self.features(species, centre, other, vectors)
        hidden = torch.tanh(torch.matmul(features, self.hidden))
        return torch.matmul(hidden, self.out).squeeze(2), features


def together(**settings) -> ModulePotential:
    """One module of three members."""
    return ModulePotential(Toy(3), tiny.ELEMENTS, CUTOFF, **settings)


def one_by_one(**settings) -> ModulePotential:
    """Three modules, which do not give their last layer."""
    modules = [ToyEnergies(1, seed) for seed in range(3)]
    return ModulePotential(modules, tiny.ELEMENTS, CUTOFF, **settings)


CASES = [
    UncertaintyCase("energy", lambda: EnsembleUncertainty("energy"), "mean", together),
    UncertaintyCase("atomic", lambda: EnsembleUncertainty("atomic_energy"), "rms", one_by_one),
    UncertaintyCase("forces", lambda: EnsembleUncertainty("forces"), "softmax", together),
    UncertaintyCase("forces, list", lambda: EnsembleUncertainty("forces"), "mean", one_by_one),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("check", contracts.POTENTIAL_CHECKS, ids=lambda c: c.__name__)
def test_contract(check, case, tmp_path):
    check(case, tmp_path)


@pytest.mark.parametrize("engine", contracts.ENGINES, ids=lambda c: c.name)
def test_engine(engine):
    contracts.check_engine(engine, CASES[0], contracts.BIASES[0])


def ask(potential, data: Dataset, **extra):
    batch = data.to_batch()
    batch.positions.requires_grad_()
    return batch, potential(batch, **extra)


def test_a_list_is_one_module_of_its_members():
    separate = [Toy(1, seed) for seed in range(3)]
    joint = Toy(3)
    with torch.no_grad():
        joint.charge.copy_(separate[0].charge)
        for index, module in enumerate(separate):
            module.charge.copy_(separate[0].charge)
            joint.hidden[index], joint.out[index] = module.hidden[0], module.out[0]
    both = [ModulePotential(m, tiny.ELEMENTS, CUTOFF) for m in (separate, joint)]
    one, two = (ask(p, tiny.mixed(), extra="last_layer")[1] for p in both)
    for name in ("energies", "atomic_energies", "features", "last_layer"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name), rtol=1e-13, atol=1e-13)
    assert both[0].members == both[1].members == 3


def test_energies_are_the_modules_and_padding_is_zero():
    """Each frame against the module asked by hand, all pairs within the cutoff."""
    data, toy = tiny.mixed(), Toy(3)
    _, output = ask(together(), data, extra="last_layer")
    for frame, count in enumerate(data.frame_atoms):
        x = torch.tensor(data.positions[frame, :count])
        centre, other = [], []
        for i in range(count):
            for j in range(count):
                if i != j and (x[i] - x[j]).norm() < CUTOFF:
                    centre.append(i)
                    other.append(j)
        species = torch.tensor([tiny.ELEMENTS.index(z) for z in data.numbers[frame, :count]])
        pairs = torch.tensor(centre), torch.tensor(other)
        said = toy(species, torch.zeros_like(species), *pairs, x[pairs[1]] - x[pairs[0]])
        torch.testing.assert_close(output.atomic_energies[:, frame, :count], said[0])
        torch.testing.assert_close(output.features[frame, :count], said[1])
        torch.testing.assert_close(output.last_layer[:, frame, :count], said[2])
        for values in (output.atomic_energies, output.last_layer, output.features.unsqueeze(0)):
            assert not values[:, frame, count:].any()


def test_last_layer_is_the_gradient_by_its_weights():
    potential, data = together(), tiny.frames("CH3OH")
    potential.requires_grad_(True)
    _, output = ask(potential, data, extra="last_layer")
    weights = dict(potential.named_parameters())["models.0.out"]
    for atom in range(6):
        (slope,) = torch.autograd.grad(
            output.atomic_energies[:, 0, atom].sum(), weights, retain_graph=True
        )
        torch.testing.assert_close(
            slope.squeeze(2), output.last_layer[:, 0, atom], rtol=1e-10, atol=1e-12
        )


class Counting(Toy):
    """Features that jump where a pair appears: the number of pairs of each atom."""

    def forward(  # type: ignore[override]
        self, species: Tensor, frame: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        features = self.features(species, centre, other, vectors)
        counts = torch.zeros_like(features).index_add(0, centre, torch.ones_like(features[other]))
        return torch.matmul(features, self.hidden).sum(dim=2), counts


@pytest.mark.parametrize(
    "data", [tiny.frames("CH3CH2OH"), tiny.crystal()], ids=["molecule", "cell"]
)
def test_pairs_are_those_within_the_cutoff_whatever_the_skin(data):
    potential = ModulePotential(Counting(1), tiny.ELEMENTS, 2.2)
    batch = data.to_batch()
    there = potential.prepare(batch, 1.0)
    moved = batch._replace(positions=batch.positions + 0.2 * torch.sin(7.0 * batch.positions))
    assert len(there.pairs.centre) > len(potential.prepare(moved).pairs.centre)
    listed, fresh = potential(moved, there), potential(moved)
    torch.testing.assert_close(listed.features, fresh.features, rtol=0, atol=0)
    torch.testing.assert_close(listed.energies, fresh.energies)
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    atoms = Atoms(data.numbers[0], moved.positions[0].numpy(), cell=data.cell[0], pbc=data.pbc[0])
    expected = np.bincount(neighbor_list("i", atoms, 2.2), minlength=len(atoms))
    np.testing.assert_array_equal(fresh.features[0, :, 0], expected)


def test_reference_energies_come_last_and_in_float64():
    lone = (-13.6, -1030.0, -1486.0, -2043.0)
    plain, shifted = together(), together(reference_energies=lone)
    data = tiny.frames("CH3OH", 2)
    difference = shifted.evaluate(data).energies - plain.evaluate(data).energies
    np.testing.assert_allclose(difference, 4 * lone[0] + lone[1] + lone[3], rtol=1e-13)
    single = ModulePotential(Toy(3), tiny.ELEMENTS, CUTOFF, dtype=torch.float32)
    assert single.dtype == torch.float32
    _, output = ask(single, data)
    assert output.features.dtype == torch.float32
    assert output.energies.dtype == torch.float64
    torch.testing.assert_close(output.energies, ask(plain, data)[1].energies, rtol=1e-5, atol=1e-5)


def test_atoms_without_pairs():
    numbers, positions = [1, 8], np.array([[[0.0, 0, 0], [9.0, 0, 0]]])
    result = together().evaluate(Dataset(numbers, positions))
    np.testing.assert_array_equal(result.forces, 0.0)
    none = torch.zeros(0, dtype=torch.int64)
    species, frame = torch.tensor([0, 3]), torch.tensor([0, 0])
    alone = Toy(3)(species, frame, none, none, torch.zeros(0, 3, dtype=torch.float64))
    np.testing.assert_allclose(result.energies[:, 0], alone[0].sum(dim=1).detach())


def test_saved_and_loaded(tmp_path):
    potential = together(reference_energies=(-1.0, -2.0, -3.0, -4.0))
    potential.save(tmp_path / "toy.uncv")
    again = load_potential(tmp_path / "toy.uncv")
    assert isinstance(again, ModulePotential)
    for name in ("elements", "cutoff", "members", "dtype", "extras", "fingerprint"):
        assert getattr(again, name) == getattr(potential, name)
    data = tiny.crystal(2)
    for one, two in zip(potential.evaluate(data), again.evaluate(data), strict=True):
        np.testing.assert_array_equal(one, two)


def test_torchscript_file(tmp_path):
    save_module(compile_module(Toy(3)), tmp_path / "toy.pt", {})
    potential = ModulePotential(tmp_path / "toy.pt", tiny.ELEMENTS, CUTOFF)
    data = tiny.frames("NH3", 2)
    np.testing.assert_array_equal(
        potential.evaluate(data).energies, together().evaluate(data).energies
    )
    (tmp_path / "bad.pt").write_bytes(b"no archive")
    with pytest.raises(FileFormatError, match="is not a TorchScript file"):
        ModulePotential(tmp_path / "bad.pt", tiny.ELEMENTS, CUTOFF)


def test_damaged_files(tmp_path):
    packed = together().packed()
    from uncv.models.storage import unpack

    with pytest.raises(FileFormatError, match="does not hold a complete potential"):
        unpack({**packed, "archives": [packed["archives"][0][:900]]}, "x.uncv")
    with pytest.raises(FileFormatError, match="architecture 'painn'; this uncv knows"):
        unpack({**packed, "architecture": "painn"}, "x.uncv")


def test_the_module_is_copied():
    toy = Toy(3).train()
    potential = ModulePotential(toy, tiny.ELEMENTS, CUTOFF)
    data, fingerprint = tiny.frames("CH3OH"), potential.fingerprint
    before = potential.evaluate(data).energies
    assert toy.training
    assert toy.out.requires_grad
    with torch.no_grad():
        toy.out.zero_()
    np.testing.assert_array_equal(potential.evaluate(data).energies, before)
    assert potential.fingerprint == fingerprint


class Scaled(ToyEnergies):
    """A constant that is no tensor."""

    def __init__(self, factor: float) -> None:
        super().__init__(2)
        self.factor = factor

    def forward(  # type: ignore[override]
        self, species: Tensor, frame: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        features = self.features(species, centre, other, vectors)
        return torch.matmul(features, self.hidden).sum(dim=2) * self.factor, features


def test_fingerprint_tells_weights_settings_and_constants():
    def fingerprint(module, elements=tiny.ELEMENTS, cutoff=CUTOFF, **settings):
        return ModulePotential(module, elements, cutoff, **settings).fingerprint

    found = [
        fingerprint(Toy(3)),
        fingerprint(Toy(3, seed=1)),
        fingerprint(Toy(3), elements=(6, 1, 7, 8)),
        fingerprint(Toy(3), cutoff=3.0),
        fingerprint(Toy(3), reference_energies=(1.0, 2.0, 3.0, 4.0)),
        fingerprint(Scaled(1.0)),
        fingerprint(Scaled(1.1)),
    ]
    assert len(set(found)) == len(found)
    assert fingerprint(Toy(3)) == found[0]
    assert fingerprint(Scaled(1.1)) == found[-1]


class Wrong(Toy):
    """Answers in one of many wrong ways."""

    def __init__(self, how: str) -> None:
        super().__init__(2)
        self.how = how

    def forward(  # type: ignore[override]
        self, species: Tensor, frame: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor]:  # noqa: UP006
        if self.how == "detached":
            vectors = vectors.detach()
        features = self.features(species, centre, other, vectors)
        last = torch.tanh(torch.matmul(features, self.hidden))
        energies = torch.matmul(last, self.out).squeeze(2)
        if self.how == "summed":
            energies = energies.sum(dim=1)
        if self.how == "one member missing":
            last = last[:1]
        if self.how == "nan":
            energies = energies / (energies - energies)
        if self.how == "infinite slope":
            energies = energies + (vectors[:, 0] - vectors[:, 0]).abs().sqrt().sum()
        if self.how == "vectors in features":
            features = features.index_add(0, centre, vectors.repeat(1, 2))
        if self.how == "direction":
            energies = energies + vectors[0, 0]
        if self.how == "no features":
            features = features[:, :0]
        if self.how == "integers":
            features = features.to(torch.int64)
        return energies, features, last


class One(Toy):
    """Returns a single tensor."""

    def forward(  # type: ignore[override]
        self, species: Tensor, frame: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tensor:
        return self.features(species, centre, other, vectors)


class Uncompilable(Toy):
    """Uses what TorchScript has not."""

    def forward(self, species, frame, centre, other, vectors):  # type: ignore[override]
        return {name: getattr(self, name) for name in ("out",)}


@pytest.mark.parametrize(
    ("module", "error", "match"),
    [
        (Wrong("summed"), ValueError, r"atomic_energies are \(2,\).*expected \(M, N\)"),
        (Wrong("one member missing"), ValueError, r"last_layer are \(1, 7, 5\).*\(2, 7, any\)"),
        (Wrong("no features"), ValueError, r"features are \(7, 0\).*expected \(N, D\)"),
        (Wrong("integers"), ValueError, "features are .* of torch.int64; expected"),
        (Wrong("nan"), ValueError, "energies are not finite"),
        (Wrong("detached"), GradientError, "do not depend on the pair vectors"),
        (Wrong("infinite slope"), GradientError, "gradient of member 0 .* not finite"),
        (Wrong("vectors in features"), ValueError, "features change by .* invariant parts alone"),
        (Wrong("direction"), ValueError, "energies change by"),
        (One(), TypeError, "returned Tensor; expected a tuple"),
        (Uncompilable(), TypeError, "TorchScript cannot compile Uncompilable"),
        ([Toy(), ToyEnergies()], ValueError, "some of the modules return two tensors"),
        ([], ValueError, "no module is given"),
    ],
    ids=lambda v: getattr(v, "how", None) or type(v).__name__,
)
def test_wrong_modules(module, error, match):
    with pytest.raises(error, match=match):
        ModulePotential(module, tiny.ELEMENTS, CUTOFF)


class Wider(ToyEnergies):
    """More features than the others."""

    def forward(  # type: ignore[override]
        self, species: Tensor, frame: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        features = self.features(species, centre, other, vectors)
        energies = torch.matmul(features, self.hidden).sum(dim=2)
        return energies, torch.cat([features, features], dim=1)


def test_modules_of_different_shape():
    with pytest.raises(ValueError, match="disagree in the width of their features: 12 and 6"):
        ModulePotential([ToyEnergies(), Wider()], tiny.ELEMENTS, CUTOFF)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"elements": (1, 1)}, "expected distinct atomic numbers"),
        ({"elements": ()}, "expected distinct atomic numbers"),
        ({"elements": (1, 119)}, r"elements are \(1, 119\); expected distinct atomic numbers"),
        ({"cutoff": 0.0}, "expected a positive distance"),
        ({"reference_energies": (1.0,)}, "1 reference energies are given for 4 elements"),
    ],
)
def test_wrong_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        ModulePotential(**{"modules": Toy(), "elements": tiny.ELEMENTS, "cutoff": 4.0, **settings})


def test_unknown_element():
    with pytest.raises(ElementError, match="contains S but the potential knows H, C, N, O"):
        together().evaluate(Dataset([16, 1], [[[0.0, 0, 0], [1.3, 0, 0]]]))


def test_an_uncertainty_that_needs_more_is_refused():
    with pytest.raises(ValueError, match="needs last_layer of the potential"):
        GradientUncertainty().fit(one_by_one(), tiny.frames("CH3OH", 4))


def test_recipe_runs(tmp_path, monkeypatch):
    """The example of docs/potentials.md, from a file: TorchScript reads sources."""
    text = (Path(uncv.__file__).parents[1] / "docs" / "potentials.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 36
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.py").write_text(example)
    names = runpy.run_path("recipe.py", run_name="__main__")
    assert names["potential"].extras == ("member_forces", "last_layer")
    loaded = UncertaintyCV.load("shells.uncv")
    np.testing.assert_array_equal(
        loaded.evaluate(names["train"]).uncertainty,
        names["cv"].evaluate(names["train"]).uncertainty,
    )
    assert names["system"].getNumForces() > 0
