"""Free energies of biased runs on a two-dimensional double well, with its analytic answer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from uncv.analysis import (
    Axis,
    Column,
    Samples,
    bias_weights,
    block_error,
    cells_below,
    compare_surfaces,
    effective_sample_size,
    free_energy,
    read_colvar,
    samples_of_colvar,
)
from uncv.errors import DataError

KT = 8.617333262e-5 * 300.0
AXES = (Axis("x", -1.8, 1.8, periodic=False, unit="Å"), Axis("y", -1.6, 1.6, periodic=False))
FINE = 8


def energy(x, y):
    """U/k_BT: two wells, the right one higher by 1.6, a barrier of 6 and coupled directions."""
    return 6 * (x**2 - 1) ** 2 + 0.8 * x + 2 * (y - 0.3 * x) ** 2


def bias(x, y):
    """V/k_BT, which takes most of the barrier away and pulls along y."""
    return -5 * (x**2 - 1) ** 2 * np.exp(-(x**4)) + 0.5 * y


def gradient(x, y):
    """Of U + V, by its terms."""
    core, falls = (x**2 - 1) ** 2, np.exp(-(x**4))
    slope = 4 * x * (x**2 - 1)
    du = 6 * slope + 0.8 - 1.2 * (y - 0.3 * x)
    dv = -5 * falls * (slope - 4 * x**3 * core)
    return np.array([du + dv, 4 * (y - 0.3 * x) + 0.5])


def analytic(bins):
    """F of each cell from its probability: the density summed on a grid FINE times as fine."""
    sides = [
        (np.arange(bins * FINE) + 0.5) / (bins * FINE) * (a.high - a.low) + a.low for a in AXES
    ]
    density = np.exp(-energy(*np.meshgrid(*sides, indexing="ij")))
    cells = density.reshape(bins, FINE, bins, FINE).mean(axis=(1, 3))
    return -KT * np.log(cells / cells.max())


@pytest.fixture(scope="module")
def biased_run():
    """400 walkers by Metropolis-adjusted Langevin steps, exact for U + V: (F, 2), V and walkers."""
    rng = np.random.default_rng(11)
    walkers, steps, keep, size = 400, 4000, 4, 0.04
    place = np.array([np.where(np.arange(walkers) % 2, 1.0, -1.0), np.zeros(walkers)])
    total, slope = energy(*place) + bias(*place), gradient(*place)
    kept = []
    for step in range(steps):
        moved = place - size * slope + np.sqrt(2 * size) * rng.normal(size=place.shape)
        new, back = energy(*moved) + bias(*moved), gradient(*moved)
        forth = ((moved - place + size * slope) ** 2).sum(axis=0)
        home = ((place - moved + size * back) ** 2).sum(axis=0)
        accepted = np.log(rng.random(walkers)) < total - new + (forth - home) / (4 * size)
        place = np.where(accepted, moved, place)
        total, slope = np.where(accepted, new, total), np.where(accepted, back, slope)
        if step >= 400 and step % keep == 0:
            kept.append(place)
    frames = np.stack(kept, axis=2)  # (2, W, T)
    values = frames.reshape(2, -1).T
    return values, KT * bias(*values.T), np.repeat(np.arange(walkers), frames.shape[2])


def test_a_biased_double_well_has_the_analytic_free_energy(biased_run):
    """Cells below 3 k_BT, the surface below 5 k_BT and the two wells are within 0.1 k_BT."""
    values, added, walker = biased_run
    weights = bias_weights(added, 300.0)
    assert effective_sample_size(weights) < 0.9 * len(weights)
    bins = 16
    found = free_energy(values, 300.0, axes=AXES, weights=weights, walker=walker, bins=bins)
    expected = analytic(bins)
    low = expected < 5 * KT
    exact = found._replace(free_energy=expected)
    compared = compare_surfaces(found, exact, 5 * KT)
    assert (compared.missing, compared.cells) == (0, int(low.sum()))
    assert compared.rmsd < 0.1 * KT
    assert compare_surfaces(found, exact, 3 * KT).largest < 0.1 * KT
    unweighted = free_energy(values, 300.0, axes=AXES, bins=bins)
    assert compare_surfaces(unweighted, exact, 5 * KT).rmsd > 0.3 * KT
    scores = (found.free_energy - expected + compared.shift)[low] / found.error[low]
    assert 0.6 < np.sqrt(np.mean(scores**2)) < 1.5
    right = weights[values[:, 0] > 0].sum()
    shares = np.exp(-expected / KT)
    share = shares[bins // 2 :].sum() / shares.sum()
    assert -np.log(right / (1 - right)) == pytest.approx(-np.log(share / (1 - share)), abs=0.1)
    assert (
        cells_below(found, 5 * KT).cells.tolist()
        == np.flatnonzero(found.free_energy.ravel() <= 5 * KT).tolist()
    )


def test_one_and_three_dimensions_and_smoothing(biased_run):
    """F(x) by the integral over y, F(x, y, z) of an independent z, and a kernel at a wall."""
    values, added, _ = biased_run
    weights = bias_weights(added, 300.0)
    line = free_energy(values[:, 0], 300.0, axes=AXES[:1], weights=weights, bins=24)
    marginal = -KT * np.log(np.exp(-analytic(24) / KT).sum(axis=1))
    low = marginal - marginal.min() < 5 * KT
    difference = (line.free_energy - marginal)[low]
    assert np.abs(difference - difference.mean()).max() < 0.1 * KT
    assert line.axes == AXES[:1]
    z = np.random.default_rng(0).vonmises(0.0, 1.0, len(values))
    cube = free_energy(
        np.column_stack([values, z]), 300.0, axes=(*AXES, Axis("z")), weights=weights, bins=12
    )
    centres = (np.arange(12) + 0.5) / 12 * 2 * np.pi - np.pi
    expected = analytic(12)[:, :, None] - KT * np.cos(centres)
    low = expected - expected.min() < 4 * KT
    rest = (cube.free_energy - expected)[low]
    assert np.sqrt(np.mean((rest - rest.mean()) ** 2)) < 0.1 * KT
    wall = free_energy(
        [0.01], axes=(Axis("r", 0.0, 1.0, periodic=False),), bins=20, bandwidth=np.radians(36)
    )
    assert np.argmin(wall.free_energy) == 0
    assert wall.free_energy[-1] > 10 * wall.free_energy[2]  # nothing has come round


def test_surfaces_of_other_variables_are_not_compared(biased_run):
    values, *_ = biased_run
    one = free_energy(values, axes=AXES)
    other = free_energy(values, axes=(AXES[0], Axis("y", -2.0, 2.0, periodic=False)))
    with pytest.raises(DataError, match=r"over x from -1\.8 to 1\.8, y from"):
        compare_surfaces(one, other)
    with pytest.raises(DataError, match="1 to 3 variables"):
        free_energy(np.zeros((5, 4)))
    with pytest.raises(DataError, match="inside the limits"):
        free_energy([5.0, 6.0], axes=AXES[:1])
    with pytest.raises(DataError, match="there is no frame"):
        free_energy(np.zeros((0, 1)))


def test_a_bias_that_grows_is_undone_without_its_constant(biased_run):
    """METAD's V grows by c(t): with rbias = V − c(t) each time counts alike, with V the last."""
    values, added, walker = biased_run
    frames = (walker == 0).sum()
    growing = np.tile(12 * KT * np.linspace(0.0, 1.0, frames), walker.max() + 1)
    exact, wrong = (
        Samples(values, walker, v, own_bias=True).weights(300.0) for v in (added, added + growing)
    )
    assert effective_sample_size(wrong) < 0.3 * effective_sample_size(exact)
    late = np.tile(np.arange(frames) > 0.8 * frames, walker.max() + 1)
    assert exact[late].sum() == pytest.approx(0.2, abs=0.01)
    assert wrong[late].sum() > 0.85


PESMD = """nstep 20000
tstep 0.05
temperature 1.0
friction 2.0
dimension 2
plumed plumed.dat
ipos -1.0,0.0
idum 4
periodic false
"""
LANDSCAPE = """UNITS NATURAL
p: DISTANCE ATOMS=1,2 COMPONENTS
pot: CUSTOM ARG=p.x,p.y FUNC=3*(x^2-1)^2+0.8*x+2*y^2 PERIODIC=NO
b: BIASVALUE ARG=pot
"""
METHODS = {
    "m.rbias": "m: METAD ARG=p.x PACE=100 HEIGHT=0.3 SIGMA=0.25 BIASFACTOR=4 TEMP=1.0 "
    "GRID_MIN=-4 GRID_MAX=4 GRID_BIN=200 CALC_RCT RCT_USTRIDE=1",
    "m.bias": "m: OPES_METAD ARG=p.x PACE=100 BARRIER=4 TEMP=1.0 SIGMA=0.25",
}


@pytest.mark.parametrize("column", METHODS)
def test_metadynamics_and_opes_of_plumed_give_the_difference_of_the_wells(tmp_path, column):
    """PLUMED's own dynamics; F(x > 0) − F(x < 0) is 1.45 k_BT by integration, found to 3 errors."""
    pytest.importorskip("plumed")
    program = shutil.which("plumed", path=Path(sys.executable).parent) or shutil.which("plumed")
    if program is None:
        pytest.skip("PLUMED has no command line here")
    print_line = f"PRINT ARG=p.x,p.y,{column} STRIDE=5 FILE=COLVAR FMT=%.6f\n"
    (tmp_path / "plumed.dat").write_text(f"{LANDSCAPE}{METHODS[column]}\n{print_line}")
    subprocess.run(
        [program, "pesmd"], input=PESMD, text=True, cwd=tmp_path, check=True,
        capture_output=True, timeout=120,
    )  # fmt: skip
    x = np.linspace(-3.0, 3.0, 6001)
    density = np.exp(-3 * (x**2 - 1) ** 2 - 0.8 * x)
    expected = -np.log(density[x > 0].sum() / density[x < 0].sum())
    samples = samples_of_colvar(
        [read_colvar(tmp_path / "COLVAR")], variables=[Column("p.x", limits=(-2.5, 2.5))],
        bias=[column], bias_unit=KT,
    ).discard(0.1)  # fmt: skip
    assert samples.axes[0] == Axis("p.x", -2.5, 2.5, periodic=False, unit="")
    weights, right = samples.weights(300.0), samples.values[:, 0] > 0
    assert (np.diff(right.astype(int)) != 0).sum() > 50
    shares = weights[right].sum(), weights[~right].sum()
    error = block_error(weights * (right / shares[0] - ~right / shares[1])).error
    assert error < 0.3
    assert abs(-np.log(shares[0] / shares[1]) - expected) < 3 * error
    assert abs(-np.log(right.mean() / (1 - right.mean())) - expected) > 0.6
