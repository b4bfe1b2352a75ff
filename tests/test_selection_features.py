"""Features of frames: means of gradients, by differentiating the networks themselves."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import tiny_morse
import torch

from uncv.data import Dataset, concatenate
from uncv.errors import DataError
from uncv.features import stream
from uncv.features_frames import frame_features
from uncv.models import AniPotential

BROADLY = {"last_layer": {}, "sketched": {"projection_dim": 40_000}}


def weight_gradients(potential: AniPotential, frame: Dataset, *, last: bool) -> np.ndarray:
    """∂(energy of a frame per atom)/∂(weights) of each member (M, W), by autograd."""
    networks = potential.networks
    layers = [layer for n in networks for layer in ([n.rest[-1]] if last else [n.first, *n.rest])]
    parameters = [p.requires_grad_() for layer in layers for p in (layer.weight, layer.bias)]
    energies = potential(frame.to_batch()).energies[:, 0] / int(frame.frame_atoms[0])
    rows = []
    for energy in energies:
        found = torch.autograd.grad(energy, parameters, retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in found]).numpy())
    potential.requires_grad_(False)
    return np.array(rows)


@pytest.mark.parametrize("features", BROADLY)
@pytest.mark.parametrize("member", [0, 2, "all"])
def test_products_are_those_of_the_weights_gradients(features, member):
    """Exactly for the last layer; a sketch gives them on average, here to some percent."""
    potential, data = tiny.potential(), tiny.mixed()
    found = frame_features(potential, data, features, member=member, **BROADLY[features])
    gradients = [
        weight_gradients(potential, data[i], last=features == "last_layer")
        for i in range(len(data))
    ]
    kernels = np.einsum("fmw,gmw->mfg", gradients, gradients)
    expected = kernels.mean(axis=0) if member == "all" else kernels[member]
    close = {"rtol": 1e-9} if features == "last_layer" else {"atol": 0.05 * expected.max()}
    np.testing.assert_allclose(found @ found.T, expected, **close)


def test_mean_is_that_over_the_atoms():
    potential, data = tiny.potential(), tiny.mixed()
    features = potential.evaluate(data).features
    expected = [f[:n].mean(axis=0) for f, n in zip(features, data.frame_atoms, strict=True)]
    np.testing.assert_allclose(frame_features(potential, data, "mean"), expected, rtol=1e-12)


@pytest.mark.parametrize("features", ["mean", "last_layer", "sketched"])
def test_parts_and_neighbours_do_not_matter(features, monkeypatch):
    potential, data = tiny.potential(), tiny.mixed()
    whole = frame_features(potential, data, features)
    monkeypatch.setattr("uncv.features.CHUNK_ATOMS", 7)
    assert len(list(stream(potential, data))) == len(data)
    np.testing.assert_allclose(frame_features(potential, data, features), whole, atol=1e-12)
    twice = frame_features(potential, concatenate([data[:1], data[-1:]]), features)
    np.testing.assert_allclose(twice, whole[[0, -1]], atol=1e-12)


def test_the_sketch_depends_on_the_seed():
    potential, data = tiny.potential(), tiny.frames(count=2)
    first = frame_features(potential, data, "sketched", seed=1)
    assert first.shape == (2, 512)
    np.testing.assert_array_equal(first, frame_features(potential, data, "sketched", seed=1))
    assert not np.allclose(first, frame_features(potential, data, "sketched", seed=2))


def test_what_cannot_be_done_is_named():
    potential, data = tiny.potential(), tiny.frames()
    with pytest.raises(ValueError, match="features='first' is unknown"):
        frame_features(potential, data, "first")
    with pytest.raises(ValueError, match="member 3 was asked for, but the potential has 3"):
        frame_features(potential, data, member=3)
    with pytest.raises(ValueError, match="member='each' is unknown"):
        frame_features(potential, data, member="each")
    with pytest.raises(DataError, match="there are no frames"):
        frame_features(potential, data[:0])
    copper = tiny_morse.cv().potential
    with pytest.raises(ValueError, match="choose features='mean'"):
        frame_features(copper, data, "last_layer")


def test_broken_weights_are_told():
    potential, data = tiny.potential(), tiny.frames()
    with torch.no_grad():
        potential.networks[0].first.weight.fill_(torch.nan)
    with pytest.raises(DataError, match="features among frames 0 to 0 are NaN"):
        frame_features(potential, data)
