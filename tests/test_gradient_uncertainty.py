"""Gradient features against autograd, posteriors against inverses, distances against SciPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tiny
import torch
from scipy.spatial.distance import cdist

from uncv.cv import UncertaintyCV
from uncv.data import concatenate
from uncv.errors import DataError, NotFittedError
from uncv.gradient.features import ALL, LastLayerFeatures, SketchedFeatures
from uncv.gradient.layout import by_element
from uncv.gradient.nearest import FeatureRows, Nearest, spacing, thinned
from uncv.gradient.posterior import FeatureSums, in_feature_space, in_kernel_space
from uncv.groups import group_atoms
from uncv.protocols import MemberOutput
from uncv.uncertainty import GradientUncertainty
from uncv.uncertainty.gradient import ABSENT

HIDDEN = ((8, 5), (7, 6), (6, 4), (5, 9))
SCALE = 1.7


def training():
    """Frames with every element of the small potentials."""
    return concatenate([tiny.frames("CH3OH", 6, seed=9), tiny.frames("NH3", 5, seed=10)])


def potential(members=2, **settings):
    return tiny.potential(members, hidden=HIDDEN, scale=SCALE, **settings)


def _rows(potential, batch):
    return group_atoms(batch.numbers, potential.elements).rows


def flat_gradients(potential, data, member):
    """The same as one vector (n_e, weights) for each element."""
    batch = data.to_batch()
    potential.requires_grad_(True)
    atomic = potential(batch).atomic_energies[member].flatten()
    found = []
    for network, rows in zip(potential.networks, _rows(potential, batch), strict=True):
        own = list(network.parameters())
        of_atoms = [torch.autograd.grad(atomic[r], own, retain_graph=True) for r in rows]
        width = sum(p.numel() for p in own)
        vectors = [torch.cat([g.flatten() for g in by]) for by in of_atoms]
        found.append(torch.stack(vectors) if vectors else torch.zeros(0, width))
    potential.requires_grad_(False)
    return [f.to(torch.float64) for f in found]


def features_of(potential, features, data, extra, scale=SCALE):
    """Features as they are compared: a list (n_e, D), or one (F, D), constant columns included."""
    batch = data.to_batch()
    groups = group_atoms(batch.numbers, potential.elements)
    output = potential(batch, extra=extra)
    features.prepare(output, groups, scale)
    found = features(output, groups)
    whole = torch.cat([found, features.constant.expand(len(found), -1)], dim=1)
    return by_element(whole, groups, features.layout)


@pytest.mark.parametrize("member", [0, 1])
def test_last_layer_features_are_gradients_by_its_weights_and_bias(member):
    made, data = potential(), tiny.mixed()
    batch = data.to_batch()
    found = features_of(made, LastLayerFeatures(member, per_atom=True), data, "last_layer")
    made.requires_grad_(True)
    atomic = made(batch).atomic_energies[member].flatten()
    for network, rows, mine in zip(made.networks, _rows(made, batch), found, strict=True):
        last = network.rest[-1]
        for row, features in zip(rows, mine, strict=True):
            weight, bias = torch.autograd.grad(
                atomic[row], [last.weight, last.bias], retain_graph=True
            )
            expected = weight[member, :, 0]
            width = len(expected)
            torch.testing.assert_close(features[:width], expected, rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(features[-1:], bias[member, :, 0], rtol=1e-10, atol=1e-12)
            assert not features[width:-1].any()


def test_last_layers_side_by_side_have_the_mean_kernel():
    made, data = potential(members=3), tiny.mixed()
    together = features_of(made, LastLayerFeatures(ALL, per_atom=True), data, "last_layer")
    alone = [
        features_of(made, LastLayerFeatures(m, per_atom=True), data, "last_layer") for m in range(3)
    ]
    for element, features in enumerate(together):
        mean = sum(a[element] @ a[element].T for a in alone) / 3
        torch.testing.assert_close(features @ features.T, mean)


def test_frame_features_are_means_in_blocks_of_elements():
    made, data = potential(), tiny.mixed()
    (frames,) = features_of(made, LastLayerFeatures(0, per_atom=False), data, "last_layer")
    atoms = features_of(made, LastLayerFeatures(0, per_atom=True), data, "last_layer")
    for frame in range(len(data)):
        blocks = []
        for element, rows in enumerate(_rows(made, data.to_batch())):
            own = atoms[element][rows // data.numbers.shape[1] == frame]
            blocks.append(own.sum(dim=0) / data.frame_atoms[frame])
        torch.testing.assert_close(frames[frame], torch.cat(blocks))


def kernel_error(of, exact, seeds=8):
    """Root mean square error of sketched kernels, by the number of projections."""
    errors = []
    for p in (64, 256, 1024, 4096):
        squares = []
        for seed in range(seeds):
            phi = of(p, seed)
            squares.append(((phi @ phi.T - exact) ** 2).mean())
        errors.append(float(torch.stack(squares).mean()) ** 0.5)
    return np.array(errors)


def slope_of(errors):
    return np.polyfit(np.log([64, 256, 1024, 4096]), np.log(errors), 1)[0]


@pytest.mark.parametrize("member", [1, ALL])
def test_sketched_kernel_is_the_neural_tangent_kernel(member):
    """With an error that falls as 1/√p."""
    made, data = potential(), tiny.frames("CH3OH", 1)
    members = (1,) if member == 1 else (0, 1)
    found = [flat_gradients(made, data, m) for m in members]
    exact = sum(f[0] @ f[0].T for f in found) / len(found)

    def of(p, seed):
        return features_of(made, SketchedFeatures(member, p, seed, per_atom=True), data, "layers")[
            0
        ]

    errors = kernel_error(of, exact)
    assert slope_of(errors) == pytest.approx(-0.5, abs=0.08)
    assert errors[-1] < 0.05 * exact.abs().max()


def test_sketched_kernel_of_frames_is_that_of_their_mean_energy():
    """Gradients of E/N by all weights: nothing is shared between elements."""
    made, data = potential(members=1), tiny.mixed()
    per_element = flat_gradients(made, data, 0)
    rows = _rows(made, data.to_batch())
    means = []
    for frame in range(len(data)):
        own = [
            f[r // data.numbers.shape[1] == frame].sum(dim=0)
            for f, r in zip(per_element, rows, strict=True)
        ]
        means.append(torch.cat(own) / data.frame_atoms[frame])
    exact = torch.stack(means) @ torch.stack(means).T

    def of(p, seed):
        return features_of(made, SketchedFeatures(0, p, seed, per_atom=False), data, "layers")[0]

    errors = kernel_error(of, exact, seeds=16)
    assert slope_of(errors) == pytest.approx(-0.5, abs=0.08)
    assert errors[-1] < 0.05 * exact.abs().max()


def test_projections_are_those_of_the_seed():
    made, data = potential(), tiny.frames("H2O")
    one, same, other = (
        features_of(made, SketchedFeatures(0, 16, s, per_atom=True), data, "layers")[0]
        for s in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def textbook(train, query, sigma):
    """sqrt(σ² φᵀ (ΦᵀΦ + σ²)⁻¹ φ) of rows, scaled to mean square 1 over the training rows."""
    scale = np.sqrt((train**2).sum(axis=1).mean())
    train, query = train / scale, query / scale
    inverse = np.linalg.inv(train.T @ train + sigma**2 * np.eye(train.shape[1]))
    return np.sqrt(sigma**2 * np.einsum("qa,ab,qb->q", query, inverse, query))


@pytest.mark.parametrize(
    ("features", "per_atom", "member"),
    [
        ("last_layer", True, 0),
        ("last_layer", True, "all"),
        ("last_layer", False, 1),
        ("sketched", True, 0),
        ("sketched", False, "all"),
    ],
)
def test_posterior_is_the_textbook_formula(features, per_atom, member):
    made, data = potential(), tiny.mixed()
    u = GradientUncertainty(
        "posterior", features, 12, 0.05, member=member, seed=2, per_atom=per_atom
    )
    u.fit(made, training())
    extra = "last_layer" if features == "last_layer" else "layers"
    which = ALL if member == "all" else member
    build = (
        LastLayerFeatures(which, per_atom=per_atom)
        if features == "last_layer"
        else SketchedFeatures(which, 12, 2, per_atom=per_atom)
    )
    train = features_of(made, build, training(), extra)
    query = features_of(made, build, data, extra)
    result = UncertaintyCV(made, u).evaluate(data)
    expected = [textbook(t.numpy(), q.numpy(), 0.05) for t, q in zip(train, query, strict=True)]
    if not per_atom:
        np.testing.assert_allclose(result.uncertainty, expected[0], rtol=1e-8)
        return
    flat = result.atomic_uncertainty.reshape(-1)
    for rows, values in zip(_rows(made, data.to_batch()), expected, strict=True):
        np.testing.assert_allclose(flat[rows], values, rtol=1e-8)


@pytest.mark.parametrize(("rows", "width"), [(5, 30), (30, 30), (200, 30), (1, 4)])
def test_feature_space_and_kernel_space_are_equal(rows, width, rng):
    train = torch.tensor(rng.normal(size=(rows, width)))
    query = torch.tensor(rng.normal(size=(40, width)))
    query[:rows] = train[:40]
    for sigma in (0.01, 0.3):
        one = (query @ in_feature_space(train.T @ train, sigma)).norm(dim=1)
        two = (query @ in_kernel_space(train, sigma)).norm(dim=1)
        np.testing.assert_allclose(one, two, rtol=1e-8)
        factor = torch.linalg.cholesky(
            train.T @ train + sigma**2 * torch.eye(width, dtype=torch.float64)
        )
        whitened = torch.linalg.solve_triangular(factor, query.T, upper=False)
        np.testing.assert_allclose(one, sigma * whitened.norm(dim=0), rtol=1e-8)


@pytest.mark.parametrize("parts", [[3, 4], [20, 3, 7], [1] * 25])
def test_sums_are_the_same_however_the_rows_come(parts, rng):
    """Also where the number of rows passes that of the features on the way."""
    rows = torch.tensor(rng.normal(size=(sum(parts), 9)))
    sums = FeatureSums(9)
    for part in rows.split(parts):
        sums.add(part)
    scale = float(rows.square().sum(dim=1).mean()) ** 0.5
    assert sums.scale == pytest.approx(scale)
    expected = in_feature_space(rows.T @ rows, 0.1 * scale) / scale
    np.testing.assert_allclose(sums.weight(0.1), expected, rtol=0, atol=1e-10)


def test_posterior_never_grows_with_data(rng):
    rows = torch.tensor(rng.normal(size=(40, 12)))
    query = torch.tensor(rng.normal(size=(25, 12)))
    before = query.norm(dim=1)
    for number in range(0, 41, 4):
        few = rows[:number]
        u = (query @ in_kernel_space(few, 0.1)).norm(dim=1)
        assert (u <= before * (1 + 1e-12)).all()
        before = u
    assert (before < 0.5 * query.norm(dim=1)).all()


def test_posterior_is_small_at_training_data_and_the_prior_far_away(rng):
    directions = torch.linalg.qr(torch.tensor(rng.normal(size=(12, 12)))).Q
    train = torch.tensor(rng.normal(size=(30, 6))) @ directions[:6]
    weight = in_feature_space(train.T @ train, 1e-3)
    assert (train @ weight).norm(dim=1).max() < 2e-3
    far = 7.0 * directions[8:]
    np.testing.assert_allclose((far @ weight).norm(dim=1), 7.0, rtol=1e-8)


def test_too_small_a_sigma_is_named(rng):
    rows = torch.tensor(rng.normal(size=(30, 4)))
    with pytest.raises(ValueError, match="sigma is 1e-09 where the largest singular value"):
        in_feature_space(rows.T @ rows, 1e-9)


def scaled_last_layer(made, data, scale=None):
    """Last-layer features of each element, of mean square 1 over the training data."""
    found = features_of(made, LastLayerFeatures(0, per_atom=True), data, "last_layer")
    scale = scale or [float(f.square().sum(dim=1).mean()) ** 0.5 for f in found]
    return [(f / s).numpy() for f, s in zip(found, scale, strict=True)], scale


def test_distances_are_those_to_the_nearest_training_atom():
    made, data = potential(), tiny.mixed()
    u = GradientUncertainty("distance").fit(made, training())
    train, scale = scaled_last_layer(made, training())
    query, _ = scaled_last_layer(made, data, scale)
    groups = group_atoms(data.to_batch().numbers, made.elements)
    output = made(data.to_batch(), extra="last_layer")
    hard, soft = u.hard_distance(output, groups), u(output, groups)
    assert not hard[~groups.mask].any()
    for element, rows in enumerate(groups.rows):
        apart = cdist(query[element], train[element]).min(axis=1)
        points, width = len(train[element]), float(u.model.width[element])
        np.testing.assert_allclose(hard.flatten()[rows], apart, rtol=1e-6, atol=1.1e-3)
        square = soft.flatten()[rows].numpy() ** 2
        exact = hard.flatten()[rows].numpy() ** 2
        assert (square <= exact + width * np.log(2.0) * (1 + 1e-12)).all()
        assert (square >= np.maximum(0.0, exact - width * np.log(points))).all()


def test_soft_distance_is_its_formula_and_follows_the_hard_one_far_away(rng):
    made, groups = Nearest("frames"), group_atoms(torch.ones(30, 1, dtype=torch.int64), (1,))
    rows = torch.tensor(rng.normal(size=(50, 3)))
    made.learn([[rows]], (1,), rows.new_zeros(0), ABSENT)
    scale = float(rows.square().sum(dim=1).mean()) ** 0.5
    query = torch.tensor(rng.normal(size=(30, 3)))
    squares = cdist(query / scale, rows / scale) ** 2
    beta = 1.0 / float(made.width[0])
    expected = np.sqrt(np.log1p(1.0 / np.exp(-beta * squares).sum(axis=1)) / beta)
    np.testing.assert_allclose(made(query, groups), expected, rtol=1e-10)
    away = 1e3 * query
    np.testing.assert_allclose(made(away, groups), made.smallest(away, groups), rtol=1e-5)
    nearest = np.partition(cdist(rows, rows) / scale, 1, axis=1)[:, 1]
    assert made.width[0] == pytest.approx(np.median(np.sort(nearest**2)[24:26].min()), rel=1e-6)


def test_soft_distance_has_a_slope_of_zero_at_a_lone_training_point():
    made, groups = Nearest("frames"), group_atoms(torch.ones(1, 1, dtype=torch.int64), (1,))
    row = torch.ones(1, 3, dtype=torch.float64)
    made.learn([[row.expand(4, 3)]], (1,), row.new_zeros(0), ABSENT)
    query = row.clone().requires_grad_()
    value = made(query, groups)
    (slope,) = torch.autograd.grad(value.sum(), query)
    assert 0.0 < float(value.detach()) < 0.01
    np.testing.assert_allclose(slope, 0.0, atol=1e-12)


def test_points_that_are_kept_are_near_all_others(rng):
    rows = torch.tensor(rng.normal(size=(300, 4)))
    kept = thinned(rows, 60)
    covered = cdist(rows, kept).min(axis=1).max()
    apart = cdist(kept, kept) + 9.0 * np.eye(60)
    assert covered <= apart.min() * (1 + 1e-5)
    doubled = thinned(torch.cat([rows[:9], rows[:9] + 1e-9, rows[:9]]), 60)
    assert len(doubled) == 9
    assert spacing(rows[:1]) == spacing(rows[:1].expand(3, 4)) == 1e-4


def test_many_rows_are_looked_at_by_a_random_choice(monkeypatch, rng):
    monkeypatch.setattr("uncv.gradient.nearest.LOOKED_AT", 50)
    rows = torch.tensor(rng.normal(size=(400, 3)))
    collected = FeatureRows(3)
    for part in rows.split(70):
        collected.add(part)
    points = collected.points(1000) * collected.scale
    assert len(points) == 50
    assert cdist(points, rows).min(axis=1).max() < 1e-12
    assert collected.scale == pytest.approx(float(rows.square().sum(dim=1).mean()) ** 0.5)
    assert (points[:, 0] > 0).any()
    assert (cdist(points, rows).argmin(axis=1) >= 200).sum() > 10


@pytest.mark.parametrize("kind", ["posterior", "distance"])
@pytest.mark.parametrize("features", ["last_layer", "sketched"])
def test_an_element_without_training_data(kind, features):
    """A large constant: no force of its own, those of its neighbours stay, and one warning."""
    made, data = tiny.potential(), tiny.frames("H3CNH2", 1)
    u = GradientUncertainty(kind, features, 16).fit(made, tiny.frames("CH3OH", 4))
    cv = UncertaintyCV(made, u, reduce="sum")
    with pytest.warns(UserWarning, match="there was no N in the data .* is 10, without forces"):
        result = cv.evaluate(data)
    (nitrogen,) = np.flatnonzero(data.numbers[0] == 7)
    others = np.flatnonzero(data.numbers[0] != 7)
    assert result.atomic_uncertainty[0, nitrogen] == pytest.approx(ABSENT)
    assert (result.atomic_uncertainty[0, others] < ABSENT).all()
    assert np.abs(result.uncertainty_gradient[0, nitrogen]).max() > 1e-5, "neighbours feel it"
    positions = torch.tensor(data.positions, requires_grad=True)
    batch = data.to_batch()._replace(positions=positions)
    atomic = cv(batch).atomic
    (own,) = torch.autograd.grad(atomic[0, nitrogen], positions, retain_graph=True)
    assert not own.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cv.evaluate(data)


def test_an_element_without_training_data_is_told_after_loading_too(tmp_path):
    made = tiny.potential()
    u = GradientUncertainty(per_atom=False).fit(made, tiny.frames("CH3OH", 4))
    UncertaintyCV(made, u).save(tmp_path / "cv.uncv")
    again = UncertaintyCV.load(tmp_path / "cv.uncv")
    with pytest.warns(UserWarning, match="no N in the data .* so its uncertainty is large"):
        result = again.evaluate(tiny.frames("NH3"))
    assert result.uncertainty[0] > 10 * again.evaluate(tiny.frames("CH3OH")).uncertainty[0]


@pytest.mark.parametrize("kind", ["posterior", "distance"])
@pytest.mark.parametrize("per_atom", [True, False])
@pytest.mark.parametrize("copies", [1, 5])
def test_one_frame_and_identical_frames(kind, per_atom, copies):
    made, frame = tiny.potential(), tiny.frames("CH3OH")
    u = GradientUncertainty(kind, per_atom=per_atom)
    cv = UncertaintyCV(made, u.fit(made, concatenate([frame] * copies)))
    near = tiny.frames("CH3OH", 1, 0.0501)
    there, away = (cv.evaluate(d) for d in (near, tiny.frames("CH3OH", 1, 0.2, seed=3)))
    assert np.isfinite(there.uncertainty_gradient).all()
    assert there.uncertainty[0] < 0.02
    assert away.uncertainty[0] > 3 * there.uncertainty[0]


def test_float32_models_give_nearly_the_same():
    """W is solved in float64; what remains is the rounding of the model's own features."""
    data = tiny.mixed()
    for settings in (("posterior", "last_layer"), ("posterior", "sketched", 32), ("distance",)):
        found = []
        for dtype in (torch.float32, torch.float64):
            made = potential().to(dtype)
            cv = UncertaintyCV(made, GradientUncertainty(*settings).fit(made, training()))
            found.append(cv.evaluate(data))
        single, double = found
        np.testing.assert_allclose(single.uncertainty, double.uncertainty, rtol=2e-3)
        scale = np.abs(double.uncertainty_gradient).max()
        np.testing.assert_allclose(
            single.uncertainty_gradient, double.uncertainty_gradient, atol=1e-2 * scale
        )


def test_a_fit_in_float64_serves_a_model_in_float32():
    made, data = potential(), tiny.mixed()
    u = GradientUncertainty("posterior", "sketched", 32).fit(made, training())
    double = UncertaintyCV(made, u).evaluate(data).uncertainty
    single = UncertaintyCV(made.to(torch.float32), u).evaluate(data).uncertainty
    np.testing.assert_allclose(single, double, rtol=2e-3)


def test_second_derivatives_are_there():
    """Of u along a line, against differences of its gradient; autograd takes another way there."""
    data = tiny.frames("CH3OH")
    for settings in (("posterior",), ("posterior", "sketched", 24), ("distance",)):
        made = potential()
        cv = UncertaintyCV(made, GradientUncertainty(*settings).fit(made, training()))
        batch = data.to_batch()
        x = batch.positions.clone().requires_grad_()
        line = torch.tensor(np.random.default_rng(0).normal(size=x.shape))
        (slope,) = torch.autograd.grad(
            cv(batch._replace(positions=x)).uncertainty.sum(), x, create_graph=True
        )
        (curved,) = torch.autograd.grad((slope * line).sum(), x)

        def along(h, cv=cv, line=line):
            return cv.evaluate(
                type(data)(data.numbers, data.positions + h * line.numpy())
            ).uncertainty_gradient

        expected = (along(1e-5) - along(-1e-5)) / 2e-5
        np.testing.assert_allclose(curved, expected, atol=1e-5 * np.abs(expected).max())


def test_wrong_settings_are_named():
    for settings, says in (
        ({"kind": "variance"}, "kind='variance' is unknown; expected one of"),
        ({"features": "first_layer"}, "features='first_layer' is unknown"),
        ({"projection_dim": 0}, "projection_dim is 0; expected at least 1"),
        ({"sigma": 0.0}, "sigma is 0.0; expected above 0"),
        ({"member": "mean"}, "member='mean' is unknown; expected a number or 'all'"),
    ):
        with pytest.raises(ValueError, match=says):
            GradientUncertainty(**settings)
    with pytest.raises(ValueError, match="member 3 was asked for, but the potential has 3"):
        GradientUncertainty(member=3).fit(tiny.potential(), training())
    with pytest.raises(ValueError, match="a posterior has no nearest point; choose kind"):
        GradientUncertainty().hard_distance(*_said())


def _said(extra="last_layer", **settings):
    made, batch = tiny.potential(**settings), tiny.frames("CH3OH").to_batch()
    return made(batch, extra=extra), group_atoms(batch.numbers, made.elements)


@pytest.mark.parametrize("kind", ["posterior", "distance"])
@pytest.mark.parametrize("features", ["last_layer", "sketched"])
def test_other_output_than_fitted_is_refused(kind, features):
    made = tiny.potential()
    u = GradientUncertainty(kind, features, 16).fit(made, training())
    plain, groups = _said("")
    with pytest.raises(ValueError, match="missing; evaluate with extra="):
        u(plain, groups)
    extra = u.extra
    wider, groups = _said(extra, hidden=((9,),) * 4)
    says = "width 9, but 8 were learnt" if features == "last_layer" else "rows of projections"
    with pytest.raises(ValueError, match=says):
        u(wider, groups)


def test_bad_training_data_are_refused():
    made = tiny.potential()
    with pytest.raises(DataError, match="there are no frames to fit to"):
        GradientUncertainty().fit(made, training()[:0])
    made.networks[0].rest[-1].weight[0, 0] = torch.nan
    made.networks[0].first.weight[0, 0] = torch.nan
    for kind in ("posterior", "distance"):
        u = GradientUncertainty(kind)
        with pytest.raises(DataError, match="among frames 0 to 10 are NaN or infinite"):
            u.fit(made, training())
        with pytest.raises(NotFittedError, match="GradientUncertainty is not fitted"):
            u.check(made)


def test_kinks_of_the_activation_are_told():
    made = tiny.potential(activation="celu")
    with pytest.warns(UserWarning, match="forces from them jump; use features='last_layer'"):
        GradientUncertainty(features="sketched", projection_dim=8).fit(made, training())
    GradientUncertainty().fit(made, training())


def test_a_potential_without_layers_is_refused():
    class Opaque:
        elements, members, extras = (1,), 1, ()

    with pytest.raises(ValueError, match="needs last_layer of the potential, but this Opaque"):
        GradientUncertainty().fit(Opaque(), training())


def test_hard_distance_of_frames():
    made, data = tiny.potential(), training()
    u = GradientUncertainty("distance", per_atom=False).fit(made, data)
    batch = data.to_batch()
    groups = group_atoms(batch.numbers, made.elements)
    said = made(batch, extra="last_layer")
    assert isinstance(said, MemberOutput)
    np.testing.assert_allclose(u.hard_distance(said, groups), 0.0, atol=2e-3)
