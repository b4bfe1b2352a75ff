"""Heads beside the energy: their likelihoods, their training, and the uncertainties they give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from scipy import integrate, stats
from test_training import QUICK, molecules, small_potential

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.features import stream
from uncv.heads import aleatoric_var, epistemic_var, evidence, force_var
from uncv.models import AniPotential, load_potential
from uncv.models.networks import ElementNetwork
from uncv.protocols import MemberOutput
from uncv.training import TrainSettings, train
from uncv.training.frames import LabelledFrames
from uncv.training.heads import heads_by_errors, set_heads, with_head
from uncv.training.likelihood import head_errors, normal, normal_inverse_gamma, raw_of
from uncv.training.loop import validate
from uncv.training.loss import predict, squared_errors
from uncv.training.members import some_members
from uncv.training.network_pass import NetworkPass, weights_of
from uncv.training.networks import copied_networks, networks_of
from uncv.uncertainty import EvidentialUncertainty, MVEUncertainty

MVE = replace(QUICK, head="mean_variance", epochs=4)
EVIDENTIAL = replace(QUICK, head="evidential", epochs=4)
WATER = (8, 1, 1)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def atomic(potential: AniPotential, uncertainty, data: Dataset) -> np.ndarray:
    """u of each atom (F, A)."""
    parts = stream(potential, data, extra="heads")
    return np.concatenate([uncertainty(p.output, p.groups).numpy() for p in parts])


def raw_and_errors(outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn((2, 5, outputs), generator=generator, dtype=torch.float64)
    errors = torch.randn((2, 5, 3), generator=generator, dtype=torch.float64)
    return raw.requires_grad_(), errors.requires_grad_()


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_normal_likelihood_is_that_of_scipy(beta):
    raw, errors = raw_and_errors(1)
    found = normal(raw, errors, beta)
    e = errors.detach().numpy()
    std = np.sqrt(softplus(raw.detach().numpy()) + 1e-6)
    expected = -stats.norm.logpdf(e, scale=std).mean(axis=2)
    np.testing.assert_allclose(found.nll.detach(), expected, rtol=1e-12)
    power = std[:, :, 0] ** (2 * beta)
    np.testing.assert_allclose(found.loss.detach(), expected * power, rtol=1e-12)
    (slope,) = torch.autograd.grad(found.loss.sum(), errors, retain_graph=True)
    pull = e * (power / std[:, :, 0] ** 2)[:, :, None] / 3
    np.testing.assert_allclose(slope, pull, rtol=1e-12)
    np.testing.assert_allclose(found.precision, power / std[:, :, 0] ** 2, rtol=1e-12)
    # The power has no derivative: that of the loss is the power times that of the NLL.
    (of_loss,) = torch.autograd.grad(found.loss.sum(), raw, retain_graph=True)
    (of_nll,) = torch.autograd.grad(found.nll.sum(), raw)
    np.testing.assert_allclose(of_loss[:, :, 0], of_nll.numpy()[:, :, 0] * power, rtol=1e-12)


def test_evidential_likelihood_is_students_t_of_scipy():
    raw, errors = raw_and_errors(3)
    found = normal_inverse_gamma(raw, errors, 0.2)
    nu, alpha, beta = np.moveaxis(softplus(raw.detach().numpy()), 2, 0)
    alpha = alpha + 1.0
    scale = np.sqrt(beta * (1 + nu) / (nu * alpha))
    e = errors.detach().numpy()
    expected = -stats.t.logpdf(e, 2 * alpha[:, :, None], scale=scale[:, :, None]).mean(axis=2)
    np.testing.assert_allclose(found.nll.detach(), expected, rtol=1e-11)
    penalty = 0.2 * np.abs(e).mean(axis=2) * (2 * nu + alpha)
    np.testing.assert_allclose(found.loss.detach(), expected + penalty, rtol=1e-11)


def test_evidential_precision_is_the_fisher_information_of_the_mean():
    raw, errors = raw_and_errors(3)
    found = normal_inverse_gamma(raw[:1, :1], errors[:1, :1], 0.2)
    nu, alpha, beta = softplus(raw.detach().numpy()[0, 0]) + np.array([0.0, 1.0, 0.0])
    t = stats.t(2 * alpha, scale=np.sqrt(beta * (1 + nu) / (nu * alpha)))
    step = 1e-5

    def squared_score(x: float) -> float:
        slope = (t.logpdf(x + step) - t.logpdf(x - step)) / (2 * step)
        return slope**2 * t.pdf(x)

    expected = integrate.quad(squared_score, -40, 40, limit=400, points=[0.0])[0]
    assert float(found.precision) == pytest.approx(expected, rel=1e-4)


def test_a_variance_comes_back_from_the_outputs_that_say_it():
    var = torch.tensor([1e-5, 0.01, 3.0, 40.0], dtype=torch.float64)
    np.testing.assert_allclose(force_var(raw_of("mean_variance", var)), var + 1e-6, rtol=1e-9)
    nu, alpha, beta = evidence(raw_of("evidential", var))
    scale = (beta * (1 + nu) / (nu * alpha)).sqrt().numpy()
    spread = stats.t(2 * alpha.numpy(), scale=scale)
    np.testing.assert_allclose(spread.var(), var, rtol=1e-9)


def test_uncertainties_are_the_root_mean_variance_of_the_members():
    generator = torch.Generator().manual_seed(3)
    data = tiny.mixed()
    groups = next(iter(stream(tiny.potential(), data))).groups
    nothing = torch.zeros(3, len(data))
    for outputs in (1, 3):
        raw = torch.randn((3, *data.numbers.shape, outputs), generator=generator)
        said = MemberOutput(nothing, nothing, nothing, heads=raw)
        parts = softplus(raw.numpy().astype(np.float64))
        if outputs == 1:
            expected = {MVEUncertainty(): parts[..., 0] + 1e-6}
        else:
            nu, excess, beta = np.moveaxis(parts, 3, 0)
            expected = {
                EvidentialUncertainty(): beta / (nu * excess),
                EvidentialUncertainty("aleatoric"): beta / excess,
            }
        for uncertainty, variances in expected.items():
            u = np.where(data.mask, np.sqrt(variances.mean(axis=0)), 0.0)
            np.testing.assert_allclose(uncertainty(said, groups), u, rtol=1e-6)
    with pytest.raises(ValueError, match="evaluate with extra='heads'"):
        MVEUncertainty()(said._replace(heads=None), groups)
    with pytest.raises(ValueError, match="evaluate with extra='heads'"):
        EvidentialUncertainty()(said._replace(heads=None), groups)


def test_wrong_heads_and_names_are_refused():
    for uncertainty, other in (
        (MVEUncertainty(), "evidential"),
        (EvidentialUncertainty(), "mean_variance"),
    ):
        with pytest.raises(ValueError, match=f"has {other} head; train with TrainSettings"):
            uncertainty.check(tiny.potential(head=other))
        with pytest.raises(ValueError, match="has no head; train with TrainSettings"):
            uncertainty.check(tiny.potential())
    with pytest.raises(ValueError, match="of='total' is unknown"):
        EvidentialUncertainty("total")


def float64_celu(network: ElementNetwork, z: torch.Tensor) -> torch.Tensor:
    """CELU of α = 0.1; torch holds that constant in float32, whatever the type of the input."""
    return torch.where(z > 0, z, 0.1 * torch.expm1(z.clamp(max=0.0) / 0.1))


@pytest.mark.parametrize("activation", ["silu", "celu"])
@pytest.mark.parametrize("heads", [0, 1, 3])
def test_network_pass_equals_autograd(activation, heads, monkeypatch):
    if activation == "celu":
        monkeypatch.setattr(ElementNetwork, "_activate", float64_celu)
    networks, x, rows = random_networks(activation, heads, width=5)
    cotangents = [
        torch.randn((2, 7, n), generator=torch.Generator().manual_seed(n), dtype=torch.float64)
        for n in (1 + heads, 5)
    ]
    found = NetworkPass.apply(networks, x, rows, *weights_of(networks))
    loss = sum((f.sin() * c).sum() for f, c in zip(found, cotangents, strict=True))
    gradients = torch.autograd.grad(loss, weights_of(networks))

    expected = plain_pass(networks, x, rows)
    loss = sum((e.sin() * c).sum() for e, c in zip(expected, cotangents, strict=True))
    wanted = torch.autograd.grad(loss, weights_of(networks))
    for one, two in zip((*found, *gradients), (*expected, *wanted), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("heads", [1, 3])
def test_network_pass_has_the_derivatives_of_differences(heads):
    networks, x, rows = random_networks("silu", heads, width=3)
    assert torch.autograd.gradcheck(
        lambda *w: NetworkPass.apply(networks, x, rows, *w),
        weights_of(networks),
        atol=1e-8,
        rtol=1e-8,
    )


def random_networks(activation: str, heads: int, width: int):
    """Networks of two elements with two members and all weights random, inputs and rows."""
    generator = torch.Generator().manual_seed(2)
    networks = [
        ElementNetwork(2, width, hidden, activation, 1 + heads).to(torch.float64)
        for hidden in ((4, 3), (5,))
    ]
    for network in networks:
        for parameter in network.parameters():
            parameter.data.normal_(0.0, 0.5, generator=generator)
    x = [torch.randn((n, width), generator=generator, dtype=torch.float64) for n in (4, 3)]
    return networks, x, [torch.tensor([0, 2, 3, 6]), torch.tensor([5, 1, 4])]


def plain_pass(networks, x, rows):
    """Outputs and slopes by autograd."""
    outputs = torch.zeros((2, 7, networks[0].outputs), dtype=torch.float64)
    slopes = torch.zeros((2, 7, x[0].shape[1]), dtype=torch.float64)
    for network, inputs, of in zip(networks, x, rows, strict=True):
        both = inputs.expand(2, -1, -1).clone().requires_grad_()
        said = torch.stack([network.run(both[m])[0][m] for m in range(2)])
        (slope,) = torch.autograd.grad(said[:, :, 0].sum(), both, create_graph=True)
        outputs = outputs.index_copy(1, of, said)
        slopes = slopes.index_copy(1, of, slope)
    return outputs, slopes


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_a_head_without_preference_pulls_at_forces_like_the_squared_error(beta):
    data = molecules(4, WATER, 0)
    forces = data.forces.copy()
    forces[2] = np.nan
    potential = with_head(small_potential(), "mean_variance")
    frames = LabelledFrames(potential, replace(data, forces=forces))
    networks = copied_networks(networks_of(potential))
    batch = frames.batch(torch.arange(4))
    raw = [raw_of("mean_variance", torch.full((2,), 0.3, dtype=torch.float64))] * 2
    set_heads(networks, raw)
    prediction = predict(networks, 0.7, frames, batch)
    moving = prediction._replace(forces=prediction.forces.detach().requires_grad_())
    found = head_errors(moving, batch, replace(MVE, beta_nll=beta))
    assert (found[:, 2] == 0).all()
    (pull,) = torch.autograd.grad(found.sum(), moving.forces)
    (wanted,) = torch.autograd.grad(squared_errors(moving, batch).forces.sum(), moving.forces)
    torch.testing.assert_close(pull, wanted)


@pytest.mark.parametrize("head", ["mean_variance", "evidential"])
def test_new_heads_say_the_errors_of_each_element(head):
    data = molecules(6, WATER, 0)
    potential = with_head(small_potential(), head)
    frames = LabelledFrames(potential, data)
    networks = copied_networks(networks_of(potential))
    set_heads(networks, heads_by_errors(networks, 0.7, frames, head))
    batch = frames.batch(torch.arange(6))
    prediction = predict(networks, 0.7, frames, batch)
    errors = (prediction.forces - batch.labels.forces).detach().numpy()
    for element, rows in enumerate(batch.rows):
        said = prediction.raw[:, rows].detach()
        if head == "mean_variance":
            var = force_var(said)
        else:
            var = aleatoric_var(evidence(said)) + epistemic_var(evidence(said))
        expected = np.mean(errors[:, rows] ** 2, axis=(1, 2))
        np.testing.assert_allclose(var, np.broadcast_to(expected[:, None], var.shape), rtol=1e-4)
        assert element < 2


def test_validation_loss_is_the_likelihood_with_energies_as_if_forces():
    data = molecules(5, WATER, 0)
    forces = data.forces.copy()
    forces[1] = np.nan
    potential = small_potential()
    networks = random_networks("silu", 1, potential.aev.width)[0]
    settings = replace(MVE, energy_weight=3.0, force_weight=2.0)
    frames = LabelledFrames(potential, replace(data, forces=forces))
    batch = frames.batch(torch.arange(5))
    found = validate(networks, 0.7, frames, settings).losses.numpy()
    prediction = predict(networks, 0.7, frames, batch)
    errors = (prediction.forces - batch.labels.forces).detach().numpy().reshape(2, 5, 3, 3)
    std = np.sqrt(softplus(prediction.raw.detach().numpy()) + 1e-6).reshape(2, 5, 3, 1)
    known = [0, 2, 3, 4]
    nll = -stats.norm.logpdf(errors, scale=std)[:, known].mean(axis=(1, 2, 3))
    of_forces = 2.0 * (errors[:, known] ** 2).mean(axis=(1, 2, 3)) * 4 / 5
    energy = (prediction.energies.detach().numpy() - batch.labels.energy.numpy()) / 3
    whole = of_forces + 3.0 * (energy**2).mean(axis=1)
    np.testing.assert_allclose(found, nll + 0.5 * np.log(whole / of_forces), rtol=1e-9)


@pytest.mark.parametrize("settings", [MVE, EVIDENTIAL], ids=lambda s: s.head)
def test_warm_up_is_plain_training(settings):
    data = molecules(8, WATER, 0)
    plain, headed = [], []
    train(data, replace(settings, head=""), progress=plain.append)
    trained = train(data, settings, progress=headed.append)
    assert headed[:2] == plain[:2]
    assert headed[2].train_loss != plain[2].train_loss
    assert trained.head == settings.head
    assert train(data, settings).fingerprint == trained.fingerprint


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_run_with_a_head_continues_as_if_uninterrupted(epoch, tmp_path):
    data = molecules(8, WATER, 0)

    def stop(entry):
        if entry.epoch == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, MVE, checkpoint=tmp_path / "run", progress=stop)
    continued = train(data, MVE, checkpoint=tmp_path / "run")
    assert continued.fingerprint == train(data, MVE).fingerprint


def test_a_warm_up_that_no_longer_learns_ends_early():
    data = molecules(8, WATER, 0)
    wrong = replace(data, forces=-5 * data.forces)  # what is learned makes these worse
    history = []
    settings = replace(
        MVE, epochs=200, patience=2, energy_weight=0.0, learning_rate=1e-2, head_warm_up=0.9
    )
    trained = train(data, settings, validation=wrong, progress=history.append)
    assert len(history) < 100
    assert np.std(atomic(trained, MVEUncertainty(), data)[:, 1:]) > 0


def test_a_potential_is_continued_with_a_head_of_zeros(tmp_path):
    data = molecules(6, WATER, 0)
    plain = train(data, QUICK)
    headed = with_head(plain, "evidential")
    before, after = plain.evaluate(data), headed.evaluate(data)
    # Single precision, by the compiled networks and in plain torch.
    np.testing.assert_allclose(before.energies, after.energies, rtol=0, atol=2e-7)
    np.testing.assert_allclose(before.forces, after.forces, rtol=0, atol=2e-6)
    assert headed.extras == (*plain.extras, "heads")
    assert with_head(headed, "evidential") is headed
    trained = train(data, MVE, start=plain)
    assert trained.head == "mean_variance"
    trained.save(tmp_path / "p.pt")
    again = load_potential(tmp_path / "p.pt")
    assert again.fingerprint == trained.fingerprint
    u = atomic(trained, MVEUncertainty(), data)
    np.testing.assert_array_equal(u, atomic(again, MVEUncertainty(), data))
    gentle = replace(MVE, epochs=1, learning_rate=1e-9)
    continued = train(data, gentle, start=trained)
    np.testing.assert_allclose(atomic(continued, MVEUncertainty(), data), u, rtol=1e-3)
    with pytest.raises(ValueError, match="has the head 'mean_variance' but the settings ask for"):
        train(data, QUICK, start=trained)


def test_ani1x_is_given_a_head():
    data = molecules(6, WATER, 0)
    settings = replace(MVE, start="ani1x", epochs=1, learning_rate=1e-9, head_warm_up=0.0)
    tuned = train(data, settings)
    pretrained = some_members(load_potential("ani1x"), 0, 2).evaluate(data)
    np.testing.assert_allclose(tuned.evaluate(data).forces, pretrained.forces, atol=1e-3)
    assert (atomic(tuned, MVEUncertainty(), data) > 0.01).all()


def noisy() -> tuple[AniPotential, Dataset, np.ndarray]:
    """A teacher, frames with its labels and noise on their forces, the noise of each site (A,)."""
    teacher = tiny.potential(1, elements=(1, 8), hidden=((24,), (24,)))
    structures = molecules(80, (8, 8, 1, 1, 1), 2)
    std = np.array([0.3, 0.1, 0.2, 0.08, 0.08])
    noise = np.random.default_rng(4).normal(size=structures.positions.shape) * std[:, None]
    exact = teacher.evaluate(structures)
    data = replace(structures, energy=exact.energies[0], forces=exact.forces + noise)
    return teacher, data, std


def check_noise(found: np.ndarray, std: np.ndarray) -> None:
    """Of atoms (F, A): right for each element to 15 %, and different for sites of one element."""
    of_site = np.sqrt(np.mean(found**2, axis=0))
    for sites in ([0, 1], [2, 3, 4]):
        whole = np.sqrt(np.mean(std[sites] ** 2))
        assert np.sqrt(np.mean(of_site[sites] ** 2)) == pytest.approx(whole, rel=0.15)
    assert of_site[0] > 2.0 * of_site[1]
    assert of_site[2] > 1.5 * of_site[3:].max()


NOISY = replace(QUICK, members=1, epochs=8, batch_size=4, learning_rate=2e-2, head_warm_up=0.0)


def test_noise_of_the_labels_is_found_by_mean_and_variance():
    teacher, data, std = noisy()
    trained = train(data, replace(NOISY, head="mean_variance"), start=teacher)
    check_noise(atomic(trained, MVEUncertainty(), data), std)


def test_noise_of_the_labels_is_found_by_evidence():
    teacher, data, std = noisy()
    trained = train(data, replace(NOISY, head="evidential"), start=teacher)
    part = next(iter(stream(trained, data, extra="heads")))
    nu, alpha, beta = (x.numpy()[0] for x in evidence(part.output.heads))
    upper = stats.norm.cdf(1.0)  # half the width that holds as much as one std of a normal one
    width = stats.t.ppf(upper, 2 * alpha, scale=np.sqrt(beta * (1 + nu) / (nu * alpha)))
    check_noise(width, std)
    u = atomic(trained, EvidentialUncertainty(), data).mean(axis=0)
    assert u[0] > 2.0 * u[1]


def displaced(teacher: AniPotential, factors: list[float], seed: int) -> Dataset:
    """Frames whose displacements are multiplied by factors, labelled by a teacher."""
    base = molecules(len(factors), (8, 8, 1, 1, 1), seed)
    mean = base.positions.mean(axis=0)
    moved = mean + np.array(factors)[:, None, None] * (base.positions - mean)
    data = Dataset(base.numbers, moved)
    exact = teacher.evaluate(data)
    return replace(data, energy=exact.energies[0], forces=exact.forces)


def test_evidence_is_weaker_far_from_most_of_the_training_frames():
    teacher = small_potential(members=1)
    data = displaced(teacher, [0.5] * 48 + [3.0] * 16, 0)
    settings = replace(
        EVIDENTIAL, members=1, hidden=(48,), epochs=12, batch_size=2, head_warm_up=0.3
    )
    trained = train(data, replace(settings, learning_rate=2e-2))
    near, far = (displaced(teacher, [f] * 20, seed) for f, seed in ((0.5, 1), (4.0, 2)))
    u, away = (atomic(trained, EvidentialUncertainty(), d).mean() for d in (near, far))
    assert away > 1.5 * u


def test_training_without_forces_is_refused():
    data = molecules(6, WATER, 0)
    with pytest.raises(DataError, match="no training frame has forces"):
        train(replace(data, forces=None), MVE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "variance"}, "head 'variance' is unknown"),
        ({"force_weight": 0.0}, "force_weight is 0"),
        ({"head_warm_up": 1.0}, "head_warm_up is 1.0"),
        ({"beta_nll": -0.1}, "beta_nll is -0.1"),
        ({"beta_nll": 1.5}, "beta_nll is 1.5"),
        ({"evidential_weight": -1.0}, "evidential_weight is -1.0"),
    ],
)
def test_settings_check_themselves(change, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**{"head": "mean_variance", **change})
