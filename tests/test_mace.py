"""Models of MACE: their own values, the contracts, last layers against autograd, files."""

from __future__ import annotations

import copy
import importlib.util
import os
import subprocess
import sys
from functools import lru_cache

import contracts
import numpy as np
import pytest
import tiny
import tiny_mace
import torch
from contracts import UncertaintyCase

from uncv.cv import UncertaintyCV
from uncv.errors import DependencyError, FileFormatError
from uncv.models import ModulePotential, load_mace, load_potential
from uncv.models.mace import import_mace
from uncv.uncertainty import EnsembleUncertainty, GMMUncertainty, GradientUncertainty

# TorchScript remarks on annotations inside the constructors of e3nn, when a model is made.
pytestmark = pytest.mark.filterwarnings("ignore:The TorchScript type system:UserWarning")
installed = pytest.mark.skipif(
    importlib.util.find_spec("mace") is None, reason="mace-torch is not installed"
)


@lru_cache(maxsize=1)
def loaded() -> ModulePotential:
    return load_mace(tiny_mace.trained())


def potential() -> ModulePotential:
    """Two trained members, in float64."""
    once = loaded()
    with torch.no_grad():
        return copy.deepcopy(once)


CASES = [
    UncertaintyCase("energy", lambda: EnsembleUncertainty("energy"), "mean", potential),
    UncertaintyCase("forces", lambda: EnsembleUncertainty("forces"), "mean", potential),
    UncertaintyCase("posterior", lambda: GradientUncertainty("posterior"), "rms", potential),
    UncertaintyCase(
        "mixture", lambda: GMMUncertainty("descriptor", (1, 2), pca=4), "mean", potential
    ),
]


@installed
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("check", contracts.POTENTIAL_CHECKS, ids=lambda c: c.__name__)
def test_contract(check, case, tmp_path):
    check(case, tmp_path)


@installed
@pytest.mark.slow
@pytest.mark.parametrize("engine", contracts.ENGINES, ids=lambda c: c.name)
def test_engine(engine):
    contracts.check_engine(engine, CASES[0], contracts.BIASES[0])


@installed
def test_training_went_somewhere():
    for member in tiny_mace.trained():
        assert member.losses[-1] < 0.5 * member.losses[0]


@installed
@pytest.mark.parametrize("data", [tiny.mixed(), tiny.crystal(2)], ids=["molecules", "crystal"])
def test_values_are_those_of_mace(data):
    """Energies, forces and stress with MACE's own neighbours; E0 apart."""
    said = potential().evaluate(data, member_forces=True)
    batch = tiny_mace.batch_of(tiny_mace.atoms_of(data))
    periodic = bool(data.pbc.all())
    own = [m(batch.to_dict(), compute_stress=periodic) for m in tiny_mace.trained()]
    for index, one in enumerate(own):
        np.testing.assert_allclose(said.energies[index], one["energy"].detach(), rtol=1e-14)
        found = said.member_forces[index][data.mask]
        np.testing.assert_allclose(found, one["forces"].detach(), atol=1e-12)
    if periodic:
        stress = torch.stack([one["stress"].detach() for one in own]).mean(dim=0)
        np.testing.assert_allclose(said.stress, stress, atol=1e-12)
    e0 = np.append(tiny_mace.E0, 0.0)[np.searchsorted(tiny_mace.ELEMENTS, data.numbers)]
    expected = np.where(data.mask, e0, 0.0).sum(axis=1)
    numbers = torch.tensor(data.numbers)
    np.testing.assert_allclose(potential().reference_energies(numbers), expected, rtol=1e-14)


@installed
def test_features_are_the_scalars_of_every_interaction():
    """8x0e + 8x1o of the first interaction, 8x0e of the second."""
    data = tiny.mixed()
    batch = tiny_mace.batch_of(tiny_mace.atoms_of(data))
    own = tiny_mace.trained()[0](batch.to_dict())["node_feats"].detach()
    assert own.shape[1] == 8 + 24 + 8
    expected = torch.cat([own[:, :8], own[:, 32:]], dim=1)
    found = potential().evaluate(data).features
    np.testing.assert_allclose(found[data.mask], expected, atol=1e-13)
    assert not found[~data.mask].any()


def variant(name: str) -> torch.nn.Module:
    """Models of several shapes, random weights."""
    from e3nn import o3
    from mace import modules

    heads = {
        "heads": ["a", "b"],
        "MLP_irreps": o3.Irreps("6x0e"),
        "atomic_energies": np.stack([tiny_mace.E0, tiny_mace.E0 + 1.0]),
        "atomic_inter_scale": [1.3, 0.7],
        "atomic_inter_shift": [0.4, -0.2],
    }
    settings = {
        "scaled": {},
        "plain": {"kind": "MACE"},
        "one interaction": {"num_interactions": 1},
        "last readout only": {"use_last_readout_only": True},
        "two heads": heads,
        "hidden layer with bias": {"readout_cls": modules.NonLinearBiasReadoutBlock},
        "pseudoscalars": {"hidden_irreps": o3.Irreps("4x0e+4x0o+4x1o+4x1e")},
        "repulsion": {"pair_repulsion": True, "distance_transform": "Agnesi"},
    }
    return tiny_mace.model(3, **settings[name])


VARIANTS = {
    "scaled": 8 + 6,
    "plain": 8 + 6,
    "one interaction": 8,
    "last readout only": 6,
    "two heads": 8 + 6,
    "hidden layer with bias": 8 + 6,
    "pseudoscalars": 4 + 6,
    "repulsion": 8 + 6,
}


@installed
@pytest.mark.parametrize("name", VARIANTS)
def test_last_layer_is_the_gradient_by_the_weights(name):
    """By autograd through MACE itself, its own neighbours, to 1e-10."""
    import_mace()
    model, data = variant(name), tiny.crystal()
    head = "b" if name == "two heads" else None
    mine = load_mace(model, head=head)
    output = mine(data.to_batch(), extra="last_layer")
    assert output.last_layer.shape == (1, 1, 4, VARIANTS[name])
    batch = tiny_mace.batch_of(tiny_mace.atoms_of(data)).to_dict()
    if head is not None:
        batch["head"] = torch.tensor([1])
    said = model(batch, compute_force=False)
    energies = said["node_energy"]
    weights = [getattr(r, "linear_2", getattr(r, "linear", None)).weight for r in model.readouts]
    own = mine.reference_energies(torch.tensor(data.numbers)) + output.energies[0]
    np.testing.assert_allclose(own.detach(), said["energy"].detach(), rtol=1e-13)
    for atom in range(4):
        slopes = torch.autograd.grad(energies[atom], weights, retain_graph=True)
        expected = torch.cat([s[s != 0] for s in slopes])
        found = output.last_layer[0, 0, atom]
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@installed
def test_a_readout_that_is_not_known_costs_the_last_layer_alone():
    import_mace()
    model = tiny_mace.model()
    type(model.readouts[1]).__name__, before = "OtherReadout", type(model.readouts[1]).__name__
    try:
        mine = load_mace(model)
    finally:
        type(model.readouts[1]).__name__ = before
    assert mine.extras == ("member_forces",)
    data = tiny.frames("CH3OH")
    np.testing.assert_array_equal(
        mine.evaluate(data).energies, load_mace(model).evaluate(data).energies
    )


@installed
def test_single_precision_does_not_drown_in_lone_atoms():
    """A plain MACE in float32 adds its E0 atom by atom; here they are apart, in float64."""
    double = tiny_mace.model(1, "MACE", num_interactions=1)
    single = copy.deepcopy(double).float()
    data = tiny.frames("CH3OH", 3)
    batch = data.to_batch()
    fine, coarse = load_mace(double), load_mace(single)
    assert coarse.dtype == torch.float32
    assert load_mace(single, dtype=torch.float64).dtype == torch.float64
    difference = (coarse(batch).energies - fine(batch).energies).abs().max()
    assert 0 < difference < 1e-6 * len(data.numbers[0])
    e0 = coarse.reference_energies(batch.numbers)
    torch.testing.assert_close(e0, fine.reference_energies(batch.numbers), rtol=1e-7, atol=0)


@installed
def test_members_with_other_lone_atoms():
    """The mean is the reference; the rest stays with the members."""
    shift = np.array([0.3, -0.2, 0.0, 1.0])
    models = [
        tiny_mace.model(num_interactions=1, atomic_energies=e0)
        for e0 in (tiny_mace.E0, tiny_mace.E0 + shift)
    ]
    both, data = load_mace(models), tiny.frames("CH3OH")
    batch = tiny_mace.batch_of(tiny_mace.atoms_of(data)).to_dict()
    own = [float(m(batch)["energy"].detach()) for m in models]
    np.testing.assert_allclose(both.evaluate(data).energies[:, 0], own, rtol=1e-13)
    spread = both(data.to_batch()).energies.detach()
    np.testing.assert_allclose(spread[1] - spread[0], 4 * 0.3 - 0.2 + 1.0, rtol=1e-12)


@installed
def test_model_files(tmp_path, capfd):
    member = tiny_mace.trained()[0]
    torch.save(member, tmp_path / "run.model")
    setting = os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    one = load_mace(tmp_path / "run.model")
    assert os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD") == setting
    data = tiny.frames("NH3", 2)
    expected = loaded().evaluate(data).energies[:1]
    np.testing.assert_array_equal(one.evaluate(data).energies, expected)
    both = load_mace([str(tmp_path / "run.model"), member])
    assert both.members == 2
    np.testing.assert_array_equal(both.evaluate(data).energies[1:], expected)
    assert capfd.readouterr().out == ""
    with pytest.raises(FileNotFoundError, match=r"no\.model does not exist; expected a .model"):
        load_mace(tmp_path / "no.model")
    (tmp_path / "bad.model").write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match=r"bad.model is not a .model file of MACE"):
        load_mace(tmp_path / "bad.model")


@installed
def test_the_model_is_left_alone():
    model = tiny_mace.trained()[0]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    frozen = [p.requires_grad for p in model.parameters()]
    load_mace(model)
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == frozen
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@installed
@pytest.mark.slow
def test_saved_file_needs_no_mace(tmp_path):
    """In a process where mace and e3nn cannot be imported."""
    cv = UncertaintyCV(potential(), EnsembleUncertainty("energy"))
    data = tiny.frames("CH3OH")
    cv.save(tmp_path / "mace.uncv")
    potential().save(tmp_path / "potential.uncv")
    assert load_potential(tmp_path / "potential.uncv").fingerprint == cv.potential.fingerprint
    np.save(tmp_path / "x.npy", data.positions)
    code = (
        "import sys; sys.modules['mace'] = sys.modules['e3nn'] = None\n"
        "import numpy as np, uncv\n"
        "data = uncv.Dataset([6, 8, 1, 1, 1, 1], np.load('x.npy'))\n"
        "print(repr(float(uncv.UncertaintyCV.load('mace.uncv').evaluate(data).uncertainty[0])))"
    )
    assert list(data.numbers[0]) == [6, 8, 1, 1, 1, 1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(cv.evaluate(data).uncertainty[0], rel=1e-12)


def test_without_mace(monkeypatch):
    monkeypatch.setitem(sys.modules, "mace.modules", None)
    with pytest.raises(DependencyError, match=r"pip install uncv\[mace\]"):
        load_mace("run.model")


@installed
@pytest.mark.slow
def test_what_is_refused():
    import_mace()
    from e3nn.util import jit

    model = tiny_mace.model(num_interactions=1)
    two = variant("two heads")
    with pytest.raises(TypeError, match=r"compiled already; expected the \.model file"):
        load_mace(jit.script(copy.deepcopy(model)))
    with pytest.raises(TypeError, match="is a Linear; expected MACE or ScaleShiftMACE"):
        load_mace(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="no model is given"):
        load_mace([])
    with pytest.raises(ValueError, match="head is None; expected one of a, b"):
        load_mace(two)
    with pytest.raises(ValueError, match="head is 'c'; expected one of a, b"):
        load_mace(two, head="c")
    with pytest.raises(ValueError, match="differ in elements or cutoff"):
        load_mace([model, tiny_mace.model(num_interactions=1, r_max=3.0)])
    model.joint_embedding = torch.nn.Identity()
    with pytest.raises(ValueError, match="properties of a frame"):
        load_mace(model)
