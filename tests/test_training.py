"""Training: its gradients, its data handling, its files."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from uncv.data import Dataset, concatenate
from uncv.errors import DataError, ElementError, FileFormatError, TrainingError
from uncv.models import AniPotential, AniSettings, load_potential
from uncv.models.aev import AevSettings
from uncv.models.derivatives import differentiable
from uncv.training import TrainSettings, hold_out, train
from uncv.training.centring import centre, fit_centring, uncentre
from uncv.training.frames import LabelledFrames
from uncv.training.loss import frame_losses, predict, squared_errors
from uncv.training.members import some_members
from uncv.training.networks import copied_networks, gradients_by_member, networks_of
from uncv.training.start import starting_potential
from uncv.training.train import subsets

QUICK = TrainSettings(members=2, hidden=(6, 5), epochs=3, batch_size=4, learning_rate=3e-3)
SMALL_AEV = AevSettings(
    radial_cutoff=4.0,
    angular_cutoff=3.0,
    radial_shifts=(0.9, 1.6, 2.3),
    angular_shifts=(0.9, 1.8),
    angle_shifts=(0.4, 1.6, 2.7),
)


def molecules(frames: int, numbers: tuple[int, ...], seed: int) -> Dataset:
    """Atoms on a jittered grid with a pair potential of Morse type and its exact forces."""
    rng = np.random.default_rng(seed)
    grid = np.array(
        [(i, j, k) for i in range(3) for j in range(3) for k in range(3)][: len(numbers)]
    )
    positions = 1.1 * grid + rng.normal(0.0, 0.08, (frames, len(numbers), 3))
    energy, forces = np.zeros(frames), np.zeros(positions.shape)
    for a in range(len(numbers)):
        for b in range(len(numbers)):
            if a == b:
                continue
            vector = positions[:, b] - positions[:, a]
            r = np.linalg.norm(vector, axis=1)
            decay = np.exp(-2.0 * (r - 1.1))
            energy += 0.5 * 0.5 * (1.0 - decay) ** 2
            slope = 0.5 * 2.0 * (1.0 - decay) * 2.0 * decay
            forces[:, a] += (slope / r)[:, None] * vector
    energy += -10.0 * np.sum(np.array(numbers) == 8) - 1.0 * np.sum(np.array(numbers) == 1)
    return Dataset(numbers=numbers, positions=positions, energy=energy, forces=forces)


def mixed() -> Dataset:
    """Two compositions, one of its frames without energy and one without forces."""
    both = concatenate([molecules(3, (8, 1, 1), 0), molecules(3, (8, 8, 1, 1, 1), 1)])
    energy, forces = both.energy.copy(), both.forces.copy()
    energy[1], forces[4] = np.nan, np.nan
    return replace(both, energy=energy, forces=forces)


def crystal() -> Dataset:
    """A triclinic cell of four atoms with made-up stress labels."""
    rng = np.random.default_rng(5)
    cell = np.array([[3.6, 0.0, 0.0], [0.5, 3.9, 0.0], [0.3, -0.4, 4.2]])
    fractions = np.array([[0.1, 0.1, 0.1], [0.6, 0.5, 0.2], [0.2, 0.6, 0.6], [0.7, 0.1, 0.7]])
    positions = fractions @ cell + rng.normal(0, 0.1, (2, 4, 3))
    stress = rng.normal(0, 0.01, (2, 3, 3))
    return Dataset(
        numbers=[8, 8, 1, 1],
        positions=positions,
        cell=cell,
        energy=rng.normal(0, 1, 2),
        forces=rng.normal(0, 1, (2, 4, 3)),
        stress=0.5 * (stress + stress.transpose(0, 2, 1)),
    )


def small_potential(activation: str = "silu", members: int = 2) -> AniPotential:
    """A float64 potential of H and O with weights drawn at random."""
    settings = AniSettings(
        (1, 8), members, ((5, 4), (6,)), activation, (-1.0, -10.0), 0.7, SMALL_AEV
    )
    potential = AniPotential(settings).to(torch.float64)
    generator = torch.Generator().manual_seed(7)
    for network in networks_of(potential):
        network.initialise(generator)
        for layer in [network.first, *network.rest]:
            layer.bias.data.normal_(0.0, 0.3, generator=generator)
    return potential.requires_grad_(False)


def double_backward_loss(potential: AniPotential, data: Dataset, settings: TrainSettings):
    """The loss written down from its definition, with forces by autograd through the descriptor."""
    total = 0.0
    for i in range(len(data)):
        strained = differentiable(data[i].to_batch(), strain=bool(data.pbc.all()))
        n = int(data.frame_atoms[i])
        out = potential(strained.batch)
        reference = potential.reference_energies(strained.batch.numbers)
        for energy in out.energies[:, 0]:
            gradients = torch.autograd.grad(energy, strained.leaves, create_graph=True)
            if np.isfinite(data.energy[i]):
                error = (energy + reference[0] - data.energy[i]) / n
                total = total + settings.energy_weight * error**2
            if np.isfinite(data.forces[i]).all():
                error = -gradients[0][0, :n] - torch.as_tensor(data.forces[i, :n])
                total = total + settings.force_weight * error.square().mean()
            if data.stress is not None:
                volume = abs(np.linalg.det(data.cell[i]))
                error = gradients[1][0] / volume - torch.as_tensor(data.stress[i])
                voigt = error[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
                total = total + settings.stress_weight * voigt.square().mean()
    return total


@pytest.mark.parametrize("activation", ["silu", "celu"])
@pytest.mark.parametrize("kind", ["mixed", "crystal"])
@pytest.mark.parametrize("kept", ["all", "none", "some"])
def test_loss_and_its_gradient_equal_double_backward(activation, kind, kept):
    # torch holds the constants of its CELU in float32, whatever the type of the input.
    exact = 1e-10 if activation == "silu" else 1e-8
    data = mixed() if kind == "mixed" else crystal()
    settings = TrainSettings(
        energy_weight=3.0, force_weight=2.0, stress_weight=500.0 if kind == "crystal" else 0.0
    )
    potential = small_potential(activation)

    plain = copied_networks(networks_of(potential))
    potential_plain = small_potential(activation)
    potential_plain.requires_grad_(True)
    expected = double_backward_loss(potential_plain, data, settings)
    expected.backward()

    frames = LabelledFrames(potential, data, strain=kind == "crystal")
    one = frames.counts[0] * potential.aev.width * (3 * frames.counts[0] + 6) * 8
    taken = frames.keep_jacobians({"all": 10**9, "none": 0, "some": int(one)}[kept])
    assert (taken > 0) == (kept != "none")
    for network in plain:
        network.requires_grad_(True)
    batch = frames.batch(torch.arange(len(data)))
    loss = frame_losses(
        squared_errors(predict(plain, potential.scale, frames, batch), batch), settings
    ).sum()
    loss.backward()

    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=exact)
    found = gradients_by_member(plain)
    wanted = gradients_by_member(networks_of(potential_plain))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=100 * exact, atol=exact)


def test_batches_in_any_order_give_the_same_as_frames_alone():
    data, potential = mixed(), small_potential()
    frames = LabelledFrames(potential, data)
    networks = networks_of(potential)
    together = predict(networks, 1.0, frames, frames.batch(torch.tensor([5, 0, 3])))
    alone = [predict(networks, 1.0, frames, frames.batch(torch.tensor([i]))) for i in (5, 0, 3)]
    torch.testing.assert_close(together.energies, torch.cat([p.energies for p in alone], dim=1))
    torch.testing.assert_close(together.forces, torch.cat([p.forces for p in alone], dim=1))


def test_centring_changes_inputs_and_networks_together():
    data, potential = mixed(), small_potential()
    frames = LabelledFrames(potential, data)
    centring = fit_centring(frames.inputs, frames.species, 2)
    oxygen = frames.inputs[frames.species == 1].numpy()
    np.testing.assert_allclose(centring.mean[1], oxygen.mean(axis=0), atol=1e-12)
    assert float(centring.spread[1]) == pytest.approx(np.sqrt(oxygen.var(axis=0).mean()))
    networks = copied_networks(networks_of(potential))
    batch = frames.batch(torch.arange(6))
    before = predict(networks, 1.0, frames, batch)
    centre(networks, centring)
    frames.centre(centring)
    after = predict(networks, 1.0, frames, frames.batch(torch.arange(6)))
    torch.testing.assert_close(after.energies, before.energies)
    torch.testing.assert_close(after.forces, before.forces)
    uncentre(networks, centring)
    for a, b in zip(networks, networks_of(potential), strict=True):
        torch.testing.assert_close(a.first.bias, b.first.bias)


def test_training_learns_energies_and_forces():
    data = molecules(40, (8, 1, 1), 3)
    test = molecules(20, (8, 1, 1), 4)
    settings = replace(QUICK, hidden=(12, 12), epochs=30, batch_size=10, learning_rate=2e-2)
    history = []
    trained = train(data, settings, seed=1, progress=history.append)
    out = trained.evaluate(test)
    assert np.sqrt(np.mean((out.forces - test.forces) ** 2)) < 0.25 * test.forces.std()
    assert np.std(out.energies.mean(axis=0) - test.energy) < 0.5 * test.energy.std()
    assert history[-1].train_loss < 0.2 * history[0].train_loss
    assert [h.epoch for h in history] == list(range(1, len(history) + 1))
    assert trained.elements == (1, 8)
    assert not np.allclose(out.energies[0], out.energies[1])


def test_logged_errors_are_those_of_the_potential():
    data, held = molecules(8, (8, 1, 1), 0), molecules(5, (8, 1, 1), 1)
    history = []
    settings = replace(QUICK, epochs=1)
    trained = train(data, settings, validation=held, progress=history.append)
    out = trained.evaluate(held)
    force_rmse = np.sqrt(np.mean((out.forces - held.forces) ** 2))
    energy_rmse = 1000 * np.sqrt(np.mean(((out.energies.mean(axis=0) - held.energy) / 3) ** 2))
    assert history[0].force_rmse == pytest.approx(force_rmse, rel=1e-3)
    assert history[0].energy_rmse == pytest.approx(energy_rmse, rel=1e-2)


def test_reference_energies_are_the_least_squares_of_the_compositions():
    data = concatenate([molecules(6, (8, 1, 1), 0), molecules(6, (8, 8, 1, 1, 1), 1)])
    potential = starting_potential(data, QUICK, 0, None)
    counts = np.array([[2, 1]] * 6 + [[3, 2]] * 6, dtype=float)
    expected = np.linalg.pinv(counts) @ data.energy
    np.testing.assert_allclose(potential.settings.reference_energies, expected, rtol=1e-9)
    degenerate = starting_potential(data[:6], QUICK, 0, None)
    # One composition leaves one equation, 2 h + o = mean energy, of smallest norm.
    mean = data.energy[:6].mean()
    expected = [2 * mean / 5, mean / 5]
    np.testing.assert_allclose(degenerate.settings.reference_energies, expected, rtol=1e-9)


def test_same_seed_same_weights_other_seed_others():
    data = molecules(8, (8, 1, 1), 0)
    first, again, other = (train(data, QUICK, seed=s) for s in (3, 3, 4))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_inputs_are_left_alone():
    data = mixed()
    copies = data.positions.copy(), data.energy.copy(), data.forces.copy()
    start = train(data, QUICK)
    before = start.fingerprint
    train(data, QUICK, start=start)
    assert start.fingerprint == before
    np.testing.assert_array_equal(data.positions, copies[0])
    np.testing.assert_array_equal(data.energy, copies[1])
    np.testing.assert_array_equal(data.forces, copies[2])


def test_missing_labels_do_not_matter():
    data = mixed()
    garbage = replace(data, forces=np.where(np.isnan(data.forces), np.nan, data.forces))
    garbage.forces[4, 0] = 7.0  # the rest of the frame is NaN: it counts as having no forces
    assert train(data, QUICK).fingerprint == train(garbage, QUICK).fingerprint


def test_frames_without_any_label_are_left_out():
    data = molecules(6, (8, 1, 1), 0)
    blank = concatenate([data, molecules(3, (8, 1, 1), 9).without_labels()])
    assert train(blank, QUICK).fingerprint == train(data, QUICK).fingerprint


def test_energies_alone_train():
    data = replace(molecules(12, (8, 1, 1), 0), forces=None)
    history = []
    trained = train(data, replace(QUICK, epochs=12, learning_rate=1e-2), progress=history.append)
    assert np.isnan(history[-1].force_rmse)
    assert history[-1].train_loss < history[0].train_loss
    assert np.isfinite(trained.evaluate(data).energies).all()


def test_warm_start_continues_with_its_networks_and_references():
    data = molecules(8, (8, 1, 1), 0)
    first = train(data, replace(QUICK, epochs=5, learning_rate=1e-2))
    gentle = replace(QUICK, epochs=1, learning_rate=1e-9, hidden=(3,))
    continued = train(data, gentle, start=first)
    assert continued.settings == first.settings
    np.testing.assert_allclose(
        continued.evaluate(data).energies, first.evaluate(data).energies, atol=1e-4
    )
    with pytest.raises(ValueError, match="has 2 members but the settings ask for 3"):
        train(data, replace(QUICK, members=3), start=first)


def test_members_of_a_subset_committee_see_their_own_share():
    chosen = subsets(3, 10, 0.55, seed=2)
    assert chosen.sum(dim=1).tolist() == [6.0, 6.0, 6.0]
    assert not torch.equal(chosen[0], chosen[1])
    # A member does not react to a frame outside its share.
    data = molecules(8, (8, 1, 1), 0)
    settings = replace(QUICK, subset_fraction=0.5, valid_fraction=0.0)
    share = subsets(2, 8, 0.5, seed=0)
    index = int(torch.nonzero(share[0] < share[1])[0])
    forces = data.forces.copy()
    forces[index] *= 1.5
    start = train(data, replace(settings, epochs=1))
    out = [
        train(d, settings, start=start).evaluate(data).energies
        for d in (data, replace(data, forces=forces))
    ]
    np.testing.assert_array_equal(out[0][0], out[1][0])
    assert np.abs(out[0][1] - out[1][1]).max() > 1e-7


def test_interrupted_and_continued_equals_uninterrupted(tmp_path):
    data, settings = molecules(8, (8, 1, 1), 0), replace(QUICK, epochs=4)
    whole_log, cut_log = tmp_path / "whole.csv", tmp_path / "cut.csv"
    whole = train(data, settings, log=whole_log)

    def stop_after_two(entry):
        if entry.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, settings, checkpoint=tmp_path / "run", log=cut_log, progress=stop_after_two)
    epochs = []
    continued = train(
        data,
        settings,
        checkpoint=tmp_path / "run",
        log=cut_log,
        progress=lambda e: epochs.append(e.epoch),
    )
    assert epochs == [3, 4]
    assert continued.fingerprint == whole.fingerprint
    assert cut_log.read_text() == whole_log.read_text()
    rows = list(csv.reader(whole_log.read_text().splitlines()))
    assert rows[0][0] == "epoch"
    assert len(rows) == 5
    finished = train(data, settings, checkpoint=tmp_path / "run")
    assert finished.fingerprint == whole.fingerprint
    with pytest.raises(TrainingError, match="of a run with other data"):
        train(data, settings, seed=1, checkpoint=tmp_path / "run")
    (tmp_path / "run").write_bytes(b"no archive")
    with pytest.raises(FileFormatError, match="damaged"):
        train(data, settings, checkpoint=tmp_path / "run")


def test_early_stopping_ends_after_patience_and_keeps_the_best():
    data = molecules(8, (8, 1, 1), 0)
    # Validation labels of the wrong sign: what is learned makes them worse.
    held = replace(data, forces=-5 * data.forces)
    history = []
    settings = replace(QUICK, epochs=60, patience=2, energy_weight=0.0, learning_rate=1e-2)
    trained = train(data, settings, validation=held, progress=history.append)
    assert len(history) < 60
    rmse = np.sqrt(np.mean((trained.evaluate(held).forces - held.forces) ** 2))
    assert rmse < history[-1].force_rmse


def test_hold_out_hardly_changes_when_frames_are_added():
    data = molecules(100, (8, 1, 1), 0)
    kept, held = hold_out(data[:80], 0.1, seed=0)
    assert (len(kept), len(held)) == (72, 8)
    _, later = hold_out(data, 0.1, seed=0)
    old = {x.tobytes() for x in kept.positions}
    assert sum(x.tobytes() in old for x in later.positions) <= 3
    _, other = hold_out(data[:80], 0.1, seed=1)
    assert {x.tobytes() for x in other.positions} != {x.tobytes() for x in held.positions}
    assert hold_out(data[:1], 0.1, seed=0)[1] is None
    assert hold_out(data, 0.0, seed=0)[1] is None


def test_a_run_that_diverges_says_so():
    data = molecules(8, (8, 1, 1), 0)
    wild = replace(data, forces=np.full(data.forces.shape, 1e30))
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(wild, QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": None, "forces": None}, "no frame of data carries a label"),
        ({"forces": np.full((8, 3, 3), np.inf)}, "forces of frames 0, 1, 2.* infinite"),
    ],
)
def test_unusable_labels_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        train(replace(molecules(8, (8, 1, 1), 0), **change), QUICK)


def test_no_frames_are_refused():
    with pytest.raises(DataError, match="data has no frames"):
        train(molecules(3, (8, 1, 1), 0)[:0], QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": 0}, "members is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"force_weight": -1.0}, "force_weight is -1.0"),
        ({"energy_weight": 0.0, "force_weight": 0.0}, "all weights of the loss are 0"),
        ({"averaging": 1.0}, "averaging is 1.0"),
        ({"subset_fraction": 0.0}, "subset_fraction is 0.0"),
        ({"activation": "tanh"}, "'tanh' is unknown"),
        ({"start": "ani2x"}, "start is 'ani2x'"),
        ({"hidden": ()}, "hidden is"),
        ({"memory_budget": -1}, "memory_budget is -1"),
    ],
)
def test_settings_check_themselves(change, message):
    with pytest.raises(ValueError, match=message):
        replace(QUICK, **change)


def test_hidden_layers_by_element():
    settings = replace(QUICK, hidden={"H": (4,), "O": (7, 3)})
    trained = train(molecules(4, (8, 1, 1), 0), replace(settings, epochs=1))
    assert trained.settings.hidden == ((4,), (7, 3))
    with pytest.raises(ValueError, match="the data contain O; add it"):
        train(molecules(4, (8, 1, 1), 0), replace(QUICK, hidden={"H": (4,)}))


@pytest.fixture(scope="module")
def ani1x() -> AniPotential:
    return load_potential("ani1x")


def test_some_members_are_those_of_the_ensemble(ani1x):
    data = molecules(2, (8, 1, 1), 0)
    expected = ani1x.evaluate(data).energies[:3]
    found = some_members(ani1x, 0, 3).evaluate(data).energies
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_fine_tuning_starts_from_ani1x_with_references_of_the_data(ani1x):
    data = molecules(6, (8, 1, 1), 0)
    settings = replace(QUICK, start="ani1x", epochs=1, learning_rate=1e-9, valid_fraction=0.0)
    tuned = train(data, settings)
    assert tuned.members == 2
    pretrained = some_members(ani1x, 0, 2).evaluate(data)
    np.testing.assert_allclose(tuned.evaluate(data).forces, pretrained.forces, atol=1e-3)
    mean_error = (tuned.evaluate(data).energies.mean(axis=0) - data.energy).mean()
    assert abs(mean_error) < 1e-3
    with pytest.raises(ElementError, match="contains S but the potential knows H, C, N, O"):
        train(molecules(4, (16, 1, 1), 0), settings)
    with pytest.raises(ValueError, match="members is 9 but ani1x has 8"):
        train(data, replace(settings, members=9))


def test_new_networks_take_the_descriptor_of_the_settings():
    smooth = AevSettings.evenly(4.0, 3.0, radial=6, angular=2, angles=3, zeta=8.0)
    trained = train(molecules(6, (8, 1, 1), 0), replace(QUICK, descriptor=smooth))
    assert trained.settings.aev == smooth
    assert trained.cutoff == 4.0
    continued = train(molecules(6, (8, 1, 1), 0), QUICK, start=trained)
    assert continued.settings.aev == smooth


def test_evenly_spaced_functions_are_those_of_ani():
    ours, ani = AevSettings.evenly(), AevSettings()
    for name, value in ours.to_dict().items():
        np.testing.assert_allclose(value, getattr(ani, name), rtol=1e-12)
    with pytest.raises(ValueError, match=r"0, 4 and 8 functions .*; expected at least one of each"):
        AevSettings.evenly(radial=0)
    with pytest.raises(ValueError, match=r"expected at least one of each, and cutoffs above 0\.9"):
        AevSettings.evenly(angular_cutoff=0.8)
