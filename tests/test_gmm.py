"""Gaussian mixtures against scikit-learn, and what happens with poor data."""

from __future__ import annotations

import functools
import time
import warnings

import numpy as np
import pytest
import sklearn.mixture
import tiny
import torch
from scipy.stats import median_abs_deviation
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from uncv.cv import UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.errors import DataError, NotFittedError
from uncv.features_atoms import Draw, atom_features
from uncv.groups import group_atoms
from uncv.mixture.fit import MixtureSettings, fit_mixture
from uncv.mixture.space import SCALE_FLOOR
from uncv.protocols import MemberOutput
from uncv.uncertainty import GMMUncertainty

TRAINING = tiny.frames("CH3OH", 60, seed=3)
CARBON, HYDROGEN, OXYGEN, NITROGEN = 6, 1, 8, 7


def features_of(potential, data, number, which="last_layer", member=0):
    """The features (n, D) of all atoms of an element, float64."""
    output = potential(data.to_batch(), extra="last_layer")
    found = output.last_layer[member] if which == "last_layer" else output.features
    return found[torch.tensor(data.numbers == number)].to(torch.float64)


def white(features):
    """Scaler and whitened features; features that are constant in training keep their floor."""
    scaler = StandardScaler().fit(features)
    scaler.scale_ = np.maximum(np.sqrt(scaler.var_), SCALE_FLOOR * np.sqrt(scaler.var_.max()))
    return scaler, scaler.transform(features)


def blobs(count, each, width=3, seed=0):
    """Clouds of standard deviation 1, 30 apart."""
    random = np.random.default_rng(seed)
    centres = 30.0 * np.eye(count, width) if count <= width else 30.0 * np.arange(count)[:, None]
    return np.concatenate([c + random.normal(size=(each, width)) for c in centres])


@pytest.mark.parametrize("covariance", ["full", "tied", "diag"])
@pytest.mark.parametrize("pca", [None, 3, 0.9])
@pytest.mark.parametrize("which", ["last_layer", "descriptor"])
def test_nll_is_that_of_scikit_learn(covariance, pca, which):
    potential = tiny.potential()
    count = 1 if (which, pca) == ("descriptor", None) else 2  # 72 axes: too many for two
    fitted = GMMUncertainty(which, count, covariance, pca=pca, reg_covar=1e-3)
    fitted.fit(potential, TRAINING)
    scaler, x = white(features_of(potential, TRAINING, HYDROGEN, which))
    reducer = PCA(pca, svd_solver="full" if pca == 0.9 else "auto") if pca else None
    x = reducer.fit_transform(x) if reducer else x
    model = sklearn.mixture.GaussianMixture(
        count, covariance_type=covariance, reg_covar=1e-3, n_init=3, random_state=0
    ).fit(x)
    elsewhere = features_of(potential, tiny.frames("C2H6", 3, 0.1), HYDROGEN, which)
    there = scaler.transform(elsewhere)
    expected = -model.score_samples(reducer.transform(there) if reducer else there)
    np.testing.assert_allclose(fitted.nll(elsewhere, HYDROGEN), expected, rtol=1e-10, atol=1e-10)
    outcome = fitted.outcomes()[0]
    assert outcome == (HYDROGEN, 240, x.shape[1], count, True)


def test_u_is_counted_from_the_training_atoms():
    potential = tiny.potential()
    for zero in (0.5, 0.9):
        fitted = GMMUncertainty(zero=zero, member=1).fit(potential, TRAINING)
        atoms = UncertaintyCV(potential, fitted).evaluate(TRAINING).atomic_uncertainty
        for number in (HYDROGEN, CARBON, OXYGEN):
            own = features_of(potential, TRAINING, number, member=1)
            nll = fitted.nll(own, number).numpy()
            spread = median_abs_deviation(nll) * 1.4826
            expected = np.logaddexp(0.0, (nll - np.quantile(nll, zero)) / spread) + 1e-6
            found = atoms[TRAINING.numbers == number]
            np.testing.assert_allclose(found, expected, rtol=1e-8)
            if zero == 0.5:
                assert np.median(found) == pytest.approx(np.log(2.0), abs=0.01)


def test_stretched_and_squeezed_structures_are_uncertain():
    potential = tiny.potential()
    cv = UncertaintyCV(potential, GMMUncertainty().fit(potential, TRAINING))
    test = tiny.frames("CH3OH", 20, seed=8)
    u = {
        scale: np.median(cv.evaluate(Dataset(test.numbers, scale * test.positions)).uncertainty)
        for scale in (0.8, 0.9, 1.0, 1.1, 1.2)
    }
    assert u[0.8] > u[0.9] > 1.5 * u[1.0]
    assert u[1.2] > u[1.1] > 1.5 * u[1.0]


@pytest.mark.parametrize("truth", [1, 2, 4])
def test_the_criterion_chooses_the_number_of_components(truth):
    x = blobs(truth, 200)
    assert len(fit_mixture(x, MixtureSettings(pca=None)).offsets) == truth


def test_components_have_three_vectors_for_each_axis():
    x = blobs(4, 9)  # 36 vectors on 3 axes: 4 components at most
    four = fit_mixture(x, MixtureSettings(pca=None))
    assert four.offsets.shape == (4, 3)
    assert fit_mixture(x[:35], MixtureSettings((2, 4), pca=None)).offsets.shape == (2, 3)
    assert fit_mixture(x[:35], MixtureSettings(8, pca=None)).offsets.shape == (3, 3)
    assert fit_mixture(x[:8], MixtureSettings((1, 2), pca=16)).offsets.shape == (1, 2)
    repeated = np.repeat(x[:8], 5, axis=0)
    assert fit_mixture(repeated, MixtureSettings((1, 2), pca=16)).offsets.shape == (1, 2)


def test_axes_by_share_of_variance(rng):
    x = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    share = np.cumsum(PCA().fit(white(x)[1]).explained_variance_ratio_)
    kept = fit_mixture(x, MixtureSettings(1, pca=0.8)).axes.shape[1]
    assert share[kept - 1] >= 0.8 > share[kept - 2]


def test_a_feature_that_only_varies_later(rng):
    """Whitened features tell of it; principal axes leave it out."""
    x = rng.normal(size=(200, 4))
    x[:, 3] = 2.0
    usual, later = np.array([[0.0, 0.0, 0.0, 2.0]]), np.array([[0.0, 0.0, 0.0, 2.5]])
    for pca, rises in ((None, True), (3, False)):
        fitted = fit_mixture(x, MixtureSettings(1, pca=pca))
        nll = [0.5 * (((v @ fitted.axes + fitted.origin) @ fitted.factors[0]) ** 2).sum()
               for v in (usual, later)]  # fmt: skip
        assert (nll[1] > nll[0] + 1000.0) == rises
        assert np.isfinite(nll).all()


def test_the_same_seed_gives_the_same_fit():
    potential = tiny.potential()
    one, two, other = (
        GMMUncertainty(seed=seed, max_samples=50).fit(potential, TRAINING) for seed in (1, 1, 2)
    )
    for name, value in one.state_dict().items():
        np.testing.assert_array_equal(value, two.state_dict()[name])
    assert not torch.equal(one.mixtures.origin, other.mixtures.origin)
    assert [o.atoms for o in one.outcomes()] == [50, 50, 0, 50]


def test_atoms_are_drawn_by_element_or_from_all():
    numbers = np.array([[6, 1, 1, 1], [8, 1, 1, 0]])
    by_element = Draw(2, per_element=True, seed=0)(numbers)
    assert [by_element[numbers == z].sum() for z in (0, 1, 6, 8)] == [0, 2, 1, 1]
    assert Draw(3, per_element=False, seed=0)(numbers).sum() == 3
    assert Draw(9, per_element=False, seed=0)(numbers).sum() == 7


def test_one_mixture_for_all_elements():
    potential = tiny.potential()
    fitted = GMMUncertainty("descriptor", 1, per_element=False, pca=None).fit(potential, TRAINING)
    together = atom_features(
        potential, TRAINING, lambda o: o.features, Draw(10**6, per_element=True, seed=0)
    )
    scaler, x = white(np.concatenate(together))
    model = sklearn.mixture.GaussianMixture(1).fit(x)
    own = features_of(potential, TRAINING, OXYGEN, "descriptor")
    expected = -model.score_samples(scaler.transform(own))
    np.testing.assert_allclose(fitted.nll(own, OXYGEN), expected, rtol=1e-9)
    atoms = UncertaintyCV(potential, fitted).evaluate(TRAINING).atomic_uncertainty
    for number in (HYDROGEN, CARBON, OXYGEN):  # each with a zero of its own
        assert np.median(atoms[TRAINING.numbers == number]) == pytest.approx(np.log(2.0), abs=0.01)


def test_refit_starts_from_the_means_there_were():
    potential = tiny.potential()
    fitted = GMMUncertainty(components=2, pca=None, reg_covar=1e-3).fit(potential, TRAINING)
    before = fitted.mixtures.centres[0, :2].numpy().copy()
    more = concatenate([TRAINING, tiny.frames("CH3OH", 40, 0.08, seed=5)])
    assert fitted.refit(potential, more) is fitted
    scaler, x = white(features_of(potential, more, HYDROGEN))
    model = sklearn.mixture.GaussianMixture(
        2, means_init=scaler.transform(before), reg_covar=1e-3, random_state=0
    ).fit(x)
    own = features_of(potential, more, HYDROGEN)
    expected = -model.score_samples(scaler.transform(own))
    np.testing.assert_allclose(fitted.nll(own, HYDROGEN), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        fitted.mixtures.centres[0, :2], scaler.inverse_transform(model.means_), rtol=1e-9
    )


def test_refit_takes_more_components_only_if_the_criterion_says_so():
    settings = MixtureSettings((1, 2, 4), pca=None)
    one = fit_mixture(blobs(1, 300), settings)
    assert len(fit_mixture(blobs(1, 600, seed=1), settings, one.centres).offsets) == 1
    assert len(fit_mixture(blobs(2, 300), settings, one.centres).offsets) == 2
    four = fit_mixture(blobs(4, 300), settings)
    assert len(fit_mixture(blobs(4, 600, seed=1), settings, four.centres).offsets) == 4
    assert len(fit_mixture(blobs(2, 10), settings, four.centres).offsets) == 2  # too few for 4


def test_refit_gives_a_mixture_to_a_new_element():
    potential = tiny.potential()
    fitted = GMMUncertainty().fit(potential, TRAINING)
    fitted.refit(potential, concatenate([TRAINING, tiny.frames("NH3", 10)]))
    assert fitted.outcomes()[2].atoms == 10
    fitted.refit(tiny.potential(seed=4), TRAINING)  # another potential of the same width
    assert fitted.potential_ == tiny.potential(seed=4).fingerprint
    with pytest.raises(NotFittedError, match=r"call fit\(potential, data\) first"):
        GMMUncertainty().refit(potential, TRAINING)
    with pytest.raises(ValueError, match="width 5 but the mixtures were fitted to width 8"):
        fitted.refit(tiny.potential(hidden=((5,),) * 4), TRAINING)
    assert fitted.potential_ == tiny.potential(seed=4).fingerprint


def test_an_element_without_training_atoms():
    """u = 100 with a warning, once; no force of its own, but its neighbours feel it."""
    potential = tiny.potential()
    fitted = GMMUncertainty().fit(potential, TRAINING)
    cv = UncertaintyCV(potential, fitted)
    data = tiny.frames("NH3")
    with pytest.warns(UserWarning, match="no N in the data that GMMUncertainty was fitted to"):
        found = cv.evaluate(data)
    np.testing.assert_allclose(found.atomic_uncertainty[data.numbers == 7], 100.0, atol=1e-5)
    assert np.abs(found.uncertainty_gradient).max() > 0.0
    batch = data.to_batch()
    positions = batch.positions.requires_grad_()
    atoms = cv(batch).atomic[0, data.numbers[0] == 7].sum()  # and no second warning
    (gradient,) = torch.autograd.grad(atoms, positions)
    assert not gradient.any()
    with pytest.raises(ValueError, match="there is no mixture for N"):
        fitted.nll(torch.zeros(1, 8), NITROGEN)


def test_a_loaded_file_warns_too(tmp_path):
    potential = tiny.potential()
    UncertaintyCV(potential, GMMUncertainty().fit(potential, TRAINING)).save(tmp_path / "a.uncv")
    with pytest.warns(UserWarning, match="no N in the data"):
        UncertaintyCV.load(tmp_path / "a.uncv").evaluate(tiny.frames("NH3"))


def test_too_little_data():
    potential = tiny.potential()
    one = tiny.frames("CH3OH")
    with pytest.raises(DataError, match=r"no mixture for C: .* give frames that differ"):
        GMMUncertainty().fit(potential, one)
    same = Dataset(one.numbers[0], np.repeat(one.positions, 10, axis=0))
    with pytest.raises(DataError, match="no mixture for C: the 10 feature vectors are the same"):
        GMMUncertainty().fit(potential, same)
    with pytest.raises(DataError, match="the 30 feature vectors are the same"):
        GMMUncertainty("descriptor", per_element=False).fit(
            potential, Dataset([2 * HYDROGEN - 1], np.zeros((30, 1, 3)))
        )
    with pytest.raises(DataError, match="there are no frames"):
        GMMUncertainty().fit(potential, one[:0])


@pytest.mark.parametrize("pca", [16, None])
def test_frames_that_repeat(pca):
    """Three structures ten times each: the covariance is singular, u finite and smooth."""
    potential = tiny.potential()
    few = tiny.frames("CH3OH", 3)
    repeated = concatenate([few] * 10)
    fitted = GMMUncertainty(pca=pca).fit(potential, repeated)
    assert all(o.components <= 1 for o in fitted.outcomes() if o.number != HYDROGEN)
    result = UncertaintyCV(potential, fitted).evaluate(tiny.frames("CH3OH", 2, seed=6))
    assert np.isfinite(result.uncertainty_gradient).all()
    assert (result.uncertainty > 1.0).all()


def test_nan_is_refused_in_a_fit_and_passed_on_in_use():
    potential = tiny.potential()
    fitted = GMMUncertainty("descriptor").fit(potential, TRAINING)
    output = potential(TRAINING[:2].to_batch())
    groups = group_atoms(torch.tensor(TRAINING.numbers[:2]), potential.elements)
    features = output.features.clone()
    features[1, 2, 4] = torch.nan
    u = fitted(output._replace(features=features), groups)
    assert torch.isnan(u).nonzero().tolist() == [[1, 2]]
    broken = tiny.potential()
    with torch.no_grad():
        broken.networks[1].first.weight[0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="features among frames 0 to 59 are NaN or infinite"):
        GMMUncertainty().fit(broken, TRAINING)


def test_single_precision_potentials_are_judged_in_double():
    potential = tiny.potential().to(torch.float32)
    fitted = GMMUncertainty().fit(potential, TRAINING)
    u = fitted(
        potential(TRAINING[:3].to_batch(), extra="last_layer"),
        group_atoms(torch.tensor(TRAINING.numbers[:3]), potential.elements),
    )
    assert u.dtype == torch.float64
    double = tiny.potential()
    again = GMMUncertainty().fit(double, TRAINING)
    one, two = (
        UncertaintyCV(p, g).evaluate(TRAINING).uncertainty
        for p, g in ((potential, fitted), (double, again))
    )
    np.testing.assert_allclose(one, two, rtol=0.02)
    batch = TRAINING[:1].to_batch()
    positions = batch.positions.requires_grad_()
    UncertaintyCV(potential, fitted)(batch).uncertainty.sum().backward()
    assert positions.grad.dtype == torch.float64
    assert torch.isfinite(positions.grad).all()


def test_features_of_another_width():
    potential = tiny.potential()
    fitted = GMMUncertainty("descriptor").fit(potential, TRAINING)
    groups = group_atoms(torch.tensor(TRAINING.numbers[:1]), potential.elements)
    output = MemberOutput(torch.zeros(1, 1), torch.zeros(1, 1, 6), torch.zeros(1, 6, 9))
    with pytest.raises(ValueError, match="width 9 but the mixtures were fitted to width"):
        fitted(output, groups)
    with pytest.raises(ValueError, match="width 9 but the mixtures were fitted to width"):
        fitted.nll(torch.zeros(2, 9), CARBON)
    with pytest.raises(ValueError, match="evaluate with extra='last_layer'"):
        GMMUncertainty().fit(potential, TRAINING)(output, groups)


def test_running_out_of_steps_is_told_by_the_outcome(monkeypatch):
    impatient = functools.partial(sklearn.mixture.GaussianMixture, max_iter=1)
    monkeypatch.setattr(sklearn.mixture, "GaussianMixture", impatient)
    fitted = GMMUncertainty(components=4).fit(tiny.potential(), TRAINING)  # warnings are errors
    assert not fitted.outcomes()[0].converged
    assert fitted.outcomes()[2] == (NITROGEN, 0, 0, 0, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": "aev"}, "features='aev' is unknown; expected one of"),
        ({"components": 0}, "components is 0; expected numbers of at least 1"),
        ({"components": ()}, "expected numbers of at least 1"),
        ({"covariance": "spherical"}, "covariance='spherical' is unknown; expected one of"),
        ({"pca": 0}, "pca is 0; expected a number of axes, a share"),
        ({"pca": 2.5}, r"pca is 2\.5; expected a number of axes, a share"),
        ({"zero": 1.0}, r"zero is 1\.0; expected a quantile between 0 and 1"),
        ({"reg_covar": 0.0}, r"reg_covar is 0\.0; expected above 0"),
        ({"n_init": 0}, "n_init is 0; expected at least 1"),
        ({"max_samples": 1}, "max_samples is 1; expected at least 2"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        GMMUncertainty(**settings)


def test_member_that_is_not_there():
    potential = tiny.potential(members=2)
    with pytest.raises(ValueError, match="member 2 was asked for, but the potential has 2"):
        GMMUncertainty(member=2).fit(potential, TRAINING)
    fitted = GMMUncertainty(member=1).fit(potential, TRAINING)
    assert fitted.settings()["member"] == 1
    assert GMMUncertainty(**fitted.settings()).settings() == fitted.settings()


def test_a_fit_of_ten_thousand_vectors_is_quick(rng):
    hidden = np.tanh(blobs(12, 834, 20)[:10_000] @ rng.normal(size=(20, 512)) / 20.0)
    x = hidden + 0.02 * rng.normal(size=hidden.shape)
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_mixture(x, MixtureSettings())
    assert time.process_time() - begin < 10.0
