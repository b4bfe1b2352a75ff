"""ANI potentials: against TorchANI, in a crystal, padded, on disk."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tiny
import torch
from ase.build import molecule

from uncv.data import concatenate
from uncv.errors import ElementError, FileFormatError
from uncv.models import AniPotential, AniSettings, load_potential
from uncv.models.aev import Aev, AevSettings
from uncv.models.neighbours import pair_vectors
from uncv.models.networks import ElementNetwork
from uncv.models.pretrained import _resources
from uncv.protocols import Potential
from uncv.units import HARTREE_IN_EV

MOLECULES = ("H2O", "NH3", "CH4", "CH3OH", "HCN", "CO2", "N2O", "C2H6", "CH3CONH2", "C5H5N")


@pytest.fixture(scope="module")
def torchani():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its optional CUDA parts and of pkg_resources
        import torchani

        return torchani


@pytest.fixture(scope="module")
def theirs(torchani):
    """TorchANI's AEV computer, its eight networks in float64, and its order of elements."""
    from torchani.neurochem import Constants, load_model_ensemble

    folder = _resources()
    constants = Constants(str(folder / "rHCNO-5.2R_16-3.5A_a4-8.params"))
    computer = torchani.AEVComputer(**constants).double()
    ensemble = load_model_ensemble(constants.species, str(folder / "train"), 8).double()
    return computer, ensemble, [{"H": 1, "C": 6, "N": 7, "O": 8}[s] for s in constants.species]


@pytest.fixture(scope="module")
def ani1x():
    return load_potential("ani1x")


@pytest.fixture(scope="module")
def ten():
    """Ten molecules, out of their minima."""
    random = np.random.default_rng(4)
    parts = []
    for name in MOLECULES:
        atoms = molecule(name)
        noise = 0.08 * random.normal(size=(1, len(atoms), 3))
        parts.append(tiny.Dataset(atoms.numbers, atoms.positions + noise))
    return parts


def torchani_says(theirs, data):
    """Energies (M,) in eV without reference energies, forces (M, A, 3) in eV/Å, AEV (A, D)."""
    computer, ensemble, order = theirs
    species = torch.tensor([[order.index(int(z)) for z in data.numbers[0]]])
    x = torch.tensor(data.positions, requires_grad=True)
    _, aev = computer((species, x))
    energies = torch.stack([member((species, aev)).energies[0] for member in ensemble])
    forces = [-torch.autograd.grad(e, x, retain_graph=True)[0][0] for e in energies]
    return (
        energies.detach().numpy() * HARTREE_IN_EV,
        torch.stack(forces).numpy() * HARTREE_IN_EV,
        aev[0].detach().numpy(),
    )


def interaction(potential, result, data):
    """Energies without the atomic reference energies (M, F)."""
    reference = potential.reference_energies(torch.as_tensor(data.numbers)).numpy()
    return result.energies - reference


def test_ani1x_is_torchanis_molecule_by_molecule_and_as_one_batch(ani1x, theirs, ten):
    batch = concatenate(ten)
    together = ani1x.evaluate(batch, member_forces=True)
    for frame, data in enumerate(ten):
        energies, forces, _ = torchani_says(theirs, data)
        atoms = data.positions.shape[1]
        alone = ani1x.evaluate(data, member_forces=True)
        for result, source, at in ((alone, data, 0), (together, batch, frame)):
            found = interaction(ani1x, result, source)[:, at]
            np.testing.assert_allclose(found, energies, atol=1e-5)
            np.testing.assert_allclose(result.member_forces[:, at, :atoms], forces, atol=1e-4)
            mean = forces.mean(axis=0)
            np.testing.assert_allclose(result.forces[at, :atoms], mean, atol=1e-4)
    padding = ~batch.mask
    assert padding.any()
    assert not together.forces[padding].any()
    assert not together.member_forces[:, padding].any()


def test_ani1x_total_energy_holds_the_reference_energies(ani1x, torchani, theirs, ten):
    from torchani.neurochem import load_sae

    lone = load_sae(str(_resources() / "sae_linfit.dat")).self_energies
    _, _, order = theirs
    data = ten[3]
    expected = sum(float(lone[order.index(int(z))]) for z in data.numbers[0]) * HARTREE_IN_EV
    energies, _, _ = torchani_says(theirs, data)
    found = ani1x.evaluate(data).energies[:, 0]
    np.testing.assert_allclose(found, energies + expected, atol=2e-5)
    assert expected < -1000


def test_descriptor_is_torchanis(theirs, ten):
    potential = load_potential("ani1x").to(torch.float64)
    for data in ten:
        _, _, aev = torchani_says(theirs, data)
        found = potential.evaluate(data).features[0]
        np.testing.assert_allclose(found, aev, atol=1e-12)
        plain = plain_descriptor(potential, data)
        np.testing.assert_allclose(plain, aev, atol=1e-12)


def plain_descriptor(potential, data):
    batch = data.to_batch()
    graph = potential.prepare(batch).graph
    return potential.aev(pair_vectors(batch.positions, batch.cell, graph.pairs), graph).numpy()


def test_a_small_descriptor_is_torchanis_too(torchani):
    """Other constants than ANI-1x, and a periodic cell."""
    settings = tiny.AEV
    computer = torchani.AEVComputer(
        settings.radial_cutoff,
        settings.angular_cutoff,
        torch.tensor([settings.radial_eta]),
        torch.tensor(settings.radial_shifts),
        torch.tensor([settings.angular_eta]),
        torch.tensor([settings.zeta]),
        torch.tensor(settings.angular_shifts),
        torch.tensor(settings.angle_shifts),
        4,
    ).double()
    potential = tiny.potential()
    data = tiny.Dataset(
        [6, 8, 1, 7, 1],
        7.3 * np.random.default_rng(3).random((1, 5, 3)) - 1.0,
        cell=7.3 * np.eye(3),
    )
    species = potential.species(torch.as_tensor(data.numbers))
    _, aev = computer(
        (species, torch.tensor(data.positions)),
        cell=torch.tensor(data.cell[0]),
        pbc=torch.tensor([True] * 3),
    )
    np.testing.assert_allclose(potential.evaluate(data).features, aev.numpy(), atol=1e-8)
    assert aev.abs().max() > 0.02


def supercell(data, times=(2, 1, 1)):
    images = np.array([(i, j, k) for i in range(times[0]) for j in range(times[1])
                       for k in range(times[2])])  # fmt: skip
    positions = np.concatenate([data.positions + image @ data.cell[0] for image in images], axis=1)
    return tiny.Dataset(
        np.tile(data.numbers[0], len(images)), positions, cell=data.cell * np.array(times)[:, None]
    )


@pytest.mark.parametrize("times", [(2, 1, 1), (1, 3, 1), (2, 1, 2)])
def test_a_supercell_has_as_many_times_the_energy(times):
    potential, data = tiny.potential(), tiny.crystal()
    one, large = potential.evaluate(data), potential.evaluate(supercell(data, times))
    copies = int(np.prod(times))
    np.testing.assert_allclose(large.energies, copies * one.energies, rtol=1e-10)
    np.testing.assert_allclose(large.forces, np.tile(one.forces, (1, copies, 1)), atol=1e-10)
    np.testing.assert_allclose(large.stress, one.stress, atol=1e-12)
    assert np.abs(one.stress).max() > 1e-4


def test_moving_atoms_by_cell_vectors_changes_nothing():
    potential, data = tiny.potential(), tiny.crystal()
    moved = data.positions.copy()
    moved[0, 1] += 2 * data.cell[0, 0] - data.cell[0, 2]
    moved[0, 3] -= data.cell[0, 1]
    one = potential.evaluate(data)
    two = potential.evaluate(tiny.Dataset(data.numbers, moved, cell=data.cell))
    np.testing.assert_allclose(two.energies, one.energies, rtol=1e-10)
    np.testing.assert_allclose(two.forces, one.forces, atol=1e-10)
    np.testing.assert_allclose(two.stress, one.stress, atol=1e-11)


def test_stress_is_the_derivative_by_a_strain():
    potential, data = tiny.potential(), tiny.crystal()

    def energy(strain):
        scale = np.eye(3) + 0.5 * (strain + strain.T)
        moved = tiny.Dataset(data.numbers, data.positions @ scale, cell=data.cell @ scale)
        return potential.evaluate(moved).energies.mean()

    slope = tiny.central_differences(energy, np.zeros((3, 3)), 1e-5)
    volume = np.linalg.det(data.cell[0])
    np.testing.assert_allclose(potential.evaluate(data).stress[0], slope / volume, atol=1e-8)


def test_only_fully_periodic_frames_have_a_stress():
    potential = tiny.potential()
    assert potential.evaluate(tiny.frames("H2O")).stress is None
    slab = tiny.crystal()
    slab = tiny.Dataset(slab.numbers, slab.positions, cell=slab.cell, pbc=[True, True, False])
    assert potential.evaluate(slab).stress is None


def test_member_forces_are_central_differences_of_member_energies():
    potential, data = tiny.potential(), tiny.frames("CH3OH")
    found = potential.evaluate(data, member_forces=True)
    for member in range(potential.members):
        slope = tiny.central_differences(
            lambda x, m=member: potential.evaluate(tiny.Dataset(data.numbers, x)).energies[m, 0],
            data.positions,
        )
        np.testing.assert_allclose(found.member_forces[member], -slope, atol=1e-7)
    np.testing.assert_allclose(found.member_forces.mean(axis=0), found.forces, atol=1e-12)


def test_atomic_energies_add_up_and_are_zero_on_padding():
    potential, data = tiny.potential(), tiny.mixed()
    out = potential(data.to_batch())
    np.testing.assert_allclose(out.atomic_energies.sum(dim=2), out.energies, atol=1e-12)
    assert not out.atomic_energies[:, ~data.mask].any()
    assert out.energies.dtype == torch.float64
    assert out.member_forces is None


def test_many_frames_are_evaluated_in_parts(monkeypatch):
    potential, data = tiny.potential(), tiny.frames("CH3OH", 9)
    whole = potential.evaluate(data, member_forces=True)
    monkeypatch.setattr("uncv.models.derivatives.CHUNK_ATOMS", 13)
    parts = potential.evaluate(data, member_forces=True)
    for one, two in zip(whole, parts, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            np.testing.assert_allclose(one, two, atol=1e-12)
    empty = potential.evaluate(data[:0], member_forces=True)
    assert empty.energies.shape == (3, 0)
    assert empty.forces.shape == (0, 6, 3)
    assert empty.member_forces.shape == (3, 0, 6, 3)


def test_initial_weights_have_unit_variance_per_input_and_follow_the_seed():
    one, two, three = (tiny.potential(hidden=((64, 64),) * 4, seed=s) for s in (1, 1, 2))
    assert one.fingerprint == two.fingerprint != three.fingerprint
    weight = one.networks[0].first.weight
    assert float(weight.var() * weight.shape[0]) == pytest.approx(1.0, rel=0.05)
    assert not one.networks[0].first.bias.any()


def test_a_saved_potential_is_the_same(tmp_path):
    potential, data = tiny.potential(reference_energies=(-1.1, -2.2, -3.3, -4.4)), tiny.mixed()
    potential.save(tmp_path / "p.pt")
    again = load_potential(tmp_path / "p.pt")
    assert again.fingerprint == potential.fingerprint
    assert again.settings == potential.settings
    assert again.dtype == torch.float64
    one, two = potential.evaluate(data), again.evaluate(data)
    np.testing.assert_array_equal(one.energies, two.energies)
    np.testing.assert_array_equal(one.forces, two.forces)
    assert [p.name for p in tmp_path.iterdir()] == ["p.pt"]


def test_fingerprint_knows_weights_and_settings():
    potential = tiny.potential()
    other = tiny.potential()
    with torch.no_grad():
        other.networks[2].rest[0].bias[1, 0, 0] += 1e-3
    prints = {
        p.fingerprint
        for p in (potential, other, tiny.potential(scale=2.0), tiny.potential(activation="celu"))
    }
    assert len(prints) == 4
    assert potential.fingerprint == tiny.potential().fingerprint


@pytest.mark.parametrize("damage", ["text", "cut", "kind", "version", "state"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "p.pt"
    tiny.potential().save(path)
    if damage == "text":
        path.write_text("not a potential")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        content = torch.load(path, weights_only=True)
        if damage == "state":
            content["state"].pop("networks.0.first.weight")
        else:
            content["format" if damage == "kind" else "version"] = {"kind": "x", "version": 99}[
                damage
            ]
        torch.save(content, path)
    message = {
        "text": "damaged or not a file of uncv",
        "cut": "damaged or not a file of uncv",
        "kind": "is of kind x; expected uncv-potential",
        "version": "format version 99",
        "state": "does not hold a complete potential",
    }[damage]
    with pytest.raises(FileFormatError, match=message):
        load_potential(path)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "p.pt"
    torch.save({"format": "uncv-potential", "version": 1, "metadata": Exception}, path)
    with pytest.raises(FileFormatError, match="damaged or not a file of uncv"):
        load_potential(path)


def test_an_unknown_name_is_an_error():
    with pytest.raises(FileNotFoundError, match="neither a known potential nor a file"):
        load_potential("ani3x")


def test_an_unknown_element_is_named(ani1x):
    with pytest.raises(ElementError, match="contains Cl, S but the potential knows H, C, N, O"):
        ani1x.evaluate(tiny.Dataset([17, 16, 1], np.eye(3)[None]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elements": (1, 1, 6, 8)}, "distinct atomic numbers"),
        ({"elements": (1, 6)}, "for 4 elements; expected 2"),
        ({"members": 0}, "members is 0"),
        ({"activation": "relu"}, "activation 'relu' is unknown"),
        ({"hidden": ((), (8,), (8,), (8,))}, "at least one width"),
    ],
)
def test_settings_are_checked(change, message):
    values = {"elements": (1, 6, 7, 8), "members": 2, "hidden": ((8,),) * 4, "aev": tiny.AEV}
    with pytest.raises(ValueError, match=message):
        AniPotential(AniSettings(**{**values, **change}))


def test_cutoffs_are_checked():
    with pytest.raises(ValueError, match="0 < angular <= radial"):
        AevSettings(radial_cutoff=3.0)


def test_what_was_promised_of_a_potential(ani1x):
    assert isinstance(ani1x, Potential)
    assert (ani1x.members, ani1x.elements, ani1x.cutoff) == (8, (1, 6, 7, 8), pytest.approx(5.2))
    assert ani1x.dtype == torch.float32
    assert not any(p.requires_grad for p in ani1x.parameters())
    assert Aev(4, AevSettings()).width == 384


def test_loading_gives_a_copy_of_its_own():
    one = load_potential("ani1x")
    before = one.fingerprint
    with torch.no_grad():
        one.networks[0].first.bias.add_(1.0)
    assert load_potential("ani1x").fingerprint == before != one.fingerprint


@pytest.mark.parametrize("activation", ["silu", "celu"])
def test_a_network_is_its_members_one_by_one(activation):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    function = getattr(torch.nn, {"silu": "SiLU", "celu": "CELU"}[activation])
    function = function() if activation == "silu" else function(alpha=0.1)
    network = ElementNetwork(3, 5, (6, 4), activation).to(torch.float64)
    network.initialise(generator)
    values = network(x).detach()
    for member in range(3):
        z = x @ network.first.weight[:, member] + network.first.bias[member]
        for layer in network.rest:
            z = function(z) @ layer.weight[member] + layer.bias[member]
        np.testing.assert_allclose(values[member], z[:, 0].detach(), atol=1e-12)


def test_one_member_is_a_potential_of_its_own():
    potential, data = tiny.potential(), tiny.mixed()
    together = potential.evaluate(data, member_forces=True)
    for index in range(potential.members):
        alone = potential.member(index)
        assert alone.members == 1
        found = alone.evaluate(data)
        np.testing.assert_allclose(found.energies[0], together.energies[index], rtol=1e-12)
        np.testing.assert_allclose(found.forces, together.member_forces[index], atol=1e-12)
    with pytest.raises(IndexError, match="member 3 was asked for, but the members are 0 to 2"):
        potential.member(3)
