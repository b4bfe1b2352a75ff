"""Dihedrals, coverage, maps, COLVAR files and samples, by formulas and counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from uncv.analysis import (
    C7AX,
    C7EQ,
    AnalysisSettings,
    accessible_coverage,
    analyze,
    coverage,
    coverage_series,
    dihedrals,
    expected_coverage,
    is_colvar,
    joined,
    ramachandran,
    read_colvar,
    samples_of_colvar,
    samples_of_frames,
)
from uncv.data import Dataset
from uncv.errors import DataError, FileFormatError
from uncv.units import ANGSTROM_IN_NM


def torsion(a, b, c, d) -> float:
    """The textbook formula: atan2(|b2| b1·(b2×b3), (b1×b2)·(b2×b3))."""
    b1, b2, b3 = b - a, c - b, d - c
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    return float(np.arctan2(np.linalg.norm(b2) * b1 @ n2, n1 @ n2))


def test_dihedrals_follow_the_formula(rng):
    positions = rng.normal(size=(20, 6, 3)) + 1000.0  # far away: rounding must not matter
    atoms = [(0, 1, 2, 3), (5, 3, 1, 0)]
    data = Dataset(numbers=[6] * 6, positions=positions)
    expected = [[torsion(*frame[list(q)]) for q in atoms] for frame in positions]
    np.testing.assert_allclose(dihedrals(data, atoms), expected, atol=2e-5)
    assert dihedrals(data, atoms[0]).shape == (20, 1)
    assert dihedrals(data[[]], atoms).shape == (0, 2)


def test_shipped_molecule_is_the_l_form_in_c7eq(alanine):
    """The published minimum of AMBER in vacuum is C7eq, (−79°, 54°)."""
    phi, psi = np.degrees(dihedrals(alanine.start))[0]
    assert phi == pytest.approx(-79.0, abs=10.0)
    assert psi == pytest.approx(54.0, abs=10.0)
    nitrogen, carbon, beta = alanine.start.positions[0][[6, 14, 10]] - alanine.start.positions[0, 8]
    assert np.dot(np.cross(nitrogen, carbon), beta) > 0.0  # CORN rule: L


def test_shipped_molecule_is_a_minimum_of_amber(alanine):
    import openmm
    from openmm import app, unit

    system = app.ForceField("amber14-all.xml").createSystem(alanine.topology)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(alanine.start.positions[0] * ANGSTROM_IN_NM)
    forces = context.getState(getForces=True).getForces(asNumpy=True)
    largest = np.abs(forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)).max()
    assert largest < 600.0  # positions rounded to 0.0005 Å against bonds of 3e5 kJ/mol/nm²
    assert [a.element.symbol for a in alanine.topology.atoms()][:8] == list("HCHHCONH")
    assert alanine.topology.getPeriodicBoxVectors() is None


def test_dihedrals_of_a_trajectory(alanine):
    import mdtraj

    run = mdtraj.Trajectory(
        alanine.start.positions * ANGSTROM_IN_NM, mdtraj.Topology.from_openmm(alanine.topology)
    )
    np.testing.assert_allclose(dihedrals(run), dihedrals(alanine.start), atol=1e-5)
    np.testing.assert_allclose(mdtraj.compute_phi(run)[1], dihedrals(run)[:, :1], atol=1e-6)
    np.testing.assert_allclose(mdtraj.compute_psi(run)[1], dihedrals(run)[:, 1:], atol=1e-6)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [([(0, 1, 2, 22)], "atom 22 is asked for, but a frame has 22 atoms"), ([0, 1], "expected")],
)
def test_dihedrals_of_wrong_atoms(alanine, atoms, message):
    with pytest.raises(DataError, match=message):
        dihedrals(alanine.start, atoms)


def test_coverage_of_one_point_and_of_every_cell():
    assert coverage([[0.1, 0.2]]) == pytest.approx(np.mean([4.0**-h for h in range(1, 6)]))
    centres = (np.arange(32) + 0.5) / 32 * 2 * np.pi - np.pi
    grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    assert coverage(grid) == 1.0
    half = grid[grid[:, 0] < 0]
    assert coverage(half) == pytest.approx(0.5)
    assert coverage(np.zeros((0, 2))) == 0.0


def test_coverage_counted_by_hand():
    """Three points on a line of [0, 1): cells 1 of 2 and 2 of 4; base 3: 1 of 3 and 2 of 9."""
    points = [0.05, 0.06, 0.30]
    assert coverage(points, 2, bounds=(0.0, 1.0)) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert coverage(points, 2, base=3, bounds=(0.0, 1.0)) == pytest.approx((1 / 3 + 2 / 9) / 2)
    assert coverage([*points, 1.5, -0.2], 2, bounds=(0.0, 1.0)) == pytest.approx(0.5)


def test_coverage_of_uniform_points_matches_the_published_scale(rng):
    """Zaverkin's measure on 1, 10, 100, 1000 and 10⁴ random points."""
    table = [0.07, 0.32, 0.64, 0.92, 1.00]
    numbers = [1, 10, 100, 1000, 10_000]
    np.testing.assert_allclose(expected_coverage(numbers, 2), table, atol=0.005)
    for number, expected in zip(numbers, expected_coverage(numbers, 2), strict=True):
        found = np.mean([coverage(rng.uniform(-np.pi, np.pi, (number, 2))) for _ in range(20)])
        assert found == pytest.approx(expected, abs=0.02)


def test_angles_are_periodic(rng):
    angles = rng.uniform(-np.pi, np.pi, (50, 2))
    assert coverage(angles + 2 * np.pi) == pytest.approx(coverage(angles))
    assert coverage([[np.pi, -np.pi], [-np.pi, 3 * np.pi]], 1) == 0.25
    assert coverage([[np.nextafter(-np.pi, -4.0), 0.0]], 1) == 0.25  # lost by a careless modulo
    assert ramachandran([[np.pi, -np.pi]], bins=2).counts.tolist() == [[1, 0], [0, 0]]


def test_series_is_the_coverage_of_each_beginning(rng):
    angles = rng.normal(size=(60, 2))
    frames = [0, 1, 7, 59, 60]
    expected = [coverage(angles[:n]) for n in frames]
    np.testing.assert_allclose(coverage_series(angles, frames), expected)
    inside = {"bounds": (0.0, 1.0), "levels": 3, "base": 3}
    np.testing.assert_allclose(
        coverage_series(angles, frames, **inside), [coverage(angles[:n], **inside) for n in frames]
    )


def test_accessible_coverage():
    reference = [[-3.0, -3.0], [0.1, 0.1], [2.0, 2.0], [2.01, 2.01]]
    assert accessible_coverage([[0.1, 0.1], [1.0, -1.0]], reference) == pytest.approx(1 / 3)
    assert accessible_coverage(reference, reference) == 1.0
    with pytest.raises(DataError, match="reference visits no cell"):
        accessible_coverage(reference, [[5.0, 5.0]], bounds=(0.0, 1.0))


@pytest.mark.parametrize(
    ("cvs", "message"), [([np.nan], "NaN"), (np.zeros((2, 2, 2)), r"expected \(frames")]
)
def test_coverage_of_nonsense(cvs, message):
    with pytest.raises(DataError, match=message):
        coverage(cvs)


def test_map_recovers_a_known_free_energy(rng):
    """von Mises samples: F(φ) = kT κ (1 − cos φ) up to the noise of the counts."""
    kappa, temperature, kt = 1.0, 300.0, 8.617333262e-5 * 300.0
    angles = rng.vonmises(0.0, kappa, size=(400_000, 2))
    result = ramachandran(angles, temperature, bins=12)
    centres = (result.edges[1:] + result.edges[:-1]) / 2
    phi, psi = np.meshgrid(centres, centres, indexing="ij")
    expected = kt * kappa * (2.0 - np.cos(phi) - np.cos(psi))
    expected -= expected.min()
    np.testing.assert_allclose(result.free_energy, expected, atol=0.15 * kt)
    assert result.counts.sum() == 400_000


def test_map_of_weighted_frames():
    """Three to one is a difference of kT ln 3; cells never visited are infinite; φ comes first."""
    angles = [[-1.0, 1.0], [-1.0, 1.0], [1.0, 2.0]]
    result = ramachandran(angles, 300.0, bins=8, weights=[1.0, 2.0, 1.0])
    kt = 8.617333262e-5 * 300.0
    finite = result.free_energy[np.isfinite(result.free_energy)]
    assert sorted(finite) == pytest.approx([0.0, kt * np.log(3.0)])
    assert result.counts[2, 5] == 2


def test_map_of_frames(alanine):
    assert ramachandran(alanine.start).counts.sum() == 1
    with pytest.raises(DataError, match="φ and ψ"):
        ramachandran(np.zeros((0, 2)))


HEADER = "#! FIELDS time phi psi opes.bias\n#! SET min_phi -pi\n#! SET max_phi pi\n"


def rows(*times: float, bias: str = "1.5") -> str:
    return "".join(f" {t:f} -1.25 {0.01 * t:f} {bias}\n" for t in times)


def colvar(tmp_path, text: str, name: str = "COLVAR"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_colvar_columns_by_name(tmp_path):
    path = colvar(tmp_path, HEADER + rows(0, 1, 2))
    table = read_colvar(path)
    assert table.fields == ("time", "phi", "psi", "opes.bias")
    assert table.constants == {"min_phi": "-pi", "max_phi": "pi"}
    assert table.notes == ()
    np.testing.assert_array_equal(table.values, np.loadtxt(path))
    np.testing.assert_array_equal(table.column("psi"), [0.0, 0.01, 0.02])
    with pytest.raises(DataError, match=r"no column 'opes.bia', only time, .*mean 'opes.bias'"):
        table.column("opes.bia")
    assert is_colvar(path)
    assert not is_colvar(colvar(tmp_path, "# FIELDS\n", "other"))


def test_colvar_of_restarts_tells_each_time_once(tmp_path):
    """A run to 4, continued from 3 to 5, continued from 2 since that was lost, and once more."""
    text = HEADER + rows(0, 1, 2, 3, 4) + HEADER + rows(3, 4, 5, bias="7")
    table = read_colvar(colvar(tmp_path, text))
    np.testing.assert_array_equal(table.column("time"), np.arange(6))
    np.testing.assert_array_equal(table.column("opes.bias"), [1.5] * 3 + [7.0] * 3)
    assert table.notes == ("2 rows from 3 on were replaced by a restart",)
    table = read_colvar(colvar(tmp_path, text + HEADER + rows(2, 3, bias="8")))
    np.testing.assert_array_equal(table.column("time"), np.arange(4))
    np.testing.assert_array_equal(table.column("opes.bias"), [1.5, 1.5, 8.0, 8.0])
    assert table.notes[1] == "4 rows from 2 on were replaced by a restart"
    joined_on = read_colvar(colvar(tmp_path, HEADER + rows(0, 1) + HEADER + rows(2)))
    assert (len(joined_on.values), joined_on.notes) == (3, ())


def test_colvar_of_a_run_continued_with_a_new_clock_keeps_all(tmp_path):
    table = read_colvar(colvar(tmp_path, HEADER + rows(0, 1, 2) + HEADER + rows(0, 1)))
    np.testing.assert_array_equal(table.column("time"), [0, 1, 2, 0, 1])
    assert table.notes == ("the clock begins anew at 0; all rows were kept",)


def test_colvar_of_a_killed_run(tmp_path):
    table = read_colvar(colvar(tmp_path, HEADER + rows(0, 1) + " 2.0 -1.2"))
    assert len(table.values) == 2
    assert table.notes == ("the last line is cut short and was left out",)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("1 2 3\n", FileFormatError, "does not begin with '#! FIELDS'"),
        ("", FileFormatError, "is not a COLVAR file"),
        (HEADER, DataError, "holds no row"),
        (HEADER + " 1 2\n" + rows(3), FileFormatError, "line 4: expected 4 numbers, found '1 2'"),
        (HEADER + " 1 2 3 x\n" + rows(3), FileFormatError, "found '1 2 3 x'"),
        (HEADER + rows(1, 0), DataError, "time goes back .* without a new header"),
        (HEADER + rows(0) + "#! FIELDS time u\n 1 2\n", FileFormatError, "change to time, u"),
    ],
)
def test_colvar_files_that_are_not_sound(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        read_colvar(colvar(tmp_path, text))


def test_samples_of_colvar_files_are_walkers(tmp_path):
    kt = 8.617333262e-5 * 300.0
    one = read_colvar(colvar(tmp_path, HEADER + rows(0, 1, bias="96.48533212331"), "a"))
    two = read_colvar(colvar(tmp_path, HEADER + rows(0) + rows(1, bias="2"), "b"))
    unit = 1 / 96.48533212331
    found = samples_of_colvar([one, two], bias=["opes.bias"], bias_unit=unit)
    np.testing.assert_allclose(found.bias, [1.0, 1.0, 1.5 * unit, 2 * unit])
    assert found.walker.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(found.angles[:2], [[-1.25, 0.0], [-1.25, 0.01]])
    weights = found.weights(300.0)
    assert weights[:2].sum() == pytest.approx(0.5)  # each walker has a bias of its own
    assert weights[3] / weights[2] == pytest.approx(np.exp(0.5 * unit / kt))
    twice = samples_of_colvar([two], bias=["opes.bias", "opes.bias"], bias_unit=unit)
    np.testing.assert_allclose(twice.bias, 2 * found.bias[2:])
    kept = found.discard(0.5)
    assert kept.walker.tolist() == [0, 1]
    np.testing.assert_allclose(kept.bias, found.bias[[1, 3]])
    plain = samples_of_colvar([one])
    np.testing.assert_allclose(plain.weights(300.0), [0.5, 0.5])
    assert plain.notes == ("the columns opes.bias were not undone; name them to reweight",)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([HEADER + rows(7)], {"columns": ["time", "phi"]}, "'time' of .* is no torsion in radians"),
        ([HEADER.replace("-pi", "0") + rows(0)], {}, "its domain is 0 to pi"),
        ([HEADER + rows(0, bias="nan")], {"bias": ["opes.bias"]}, "NaN or infinite in 1 of 1 rows"),
        ([HEADER + rows(0)], {"bias": ["metad.rbias"]}, "no column 'metad.rbias'"),
        ([HEADER + rows(0, 1, 2), HEADER + rows(0, 2, 4)], {}, "different times apart"),
        ([], {}, "there is no COLVAR file"),
    ],
)
def test_colvar_files_that_cannot_be_samples(tmp_path, texts, options, message):
    tables = [read_colvar(colvar(tmp_path, text, str(i))) for i, text in enumerate(texts)]
    with pytest.raises(DataError, match=message):
        samples_of_colvar(tables, **{"columns": ("phi", "psi"), **options})


def test_walkers_of_unequal_length_are_told(tmp_path):
    texts = [HEADER + rows(0, 1, 2), HEADER + rows(0, 1)]
    tables = [read_colvar(colvar(tmp_path, text, str(i))) for i, text in enumerate(texts)]
    found = samples_of_colvar(tables, bias=["opes.bias"])
    assert found.notes == ("walkers hold 2 to 3 frames and count accordingly",)
    np.testing.assert_allclose(found.weights(300.0), 0.2)


def frames_of(alanine, **info) -> Dataset:
    number = len(next(iter(info.values())))
    start = alanine.start
    noise = 0.1 * np.random.default_rng(3).normal(size=(number, 22, 3))
    return Dataset(start.numbers[0], start.positions + noise, info=info)


def test_samples_of_frames_are_put_in_order(alanine):
    info = {"walker": [0, 1, 0, 1], "step": [2, 2, 1, 1], "bias": [0.1, 0.2, 0.3, 0.4]}
    frames = frames_of(alanine, **info)
    found = samples_of_frames(frames, reweight=True)
    assert found.walker.tolist() == [0, 0, 1, 1]
    assert found.bias.tolist() == [0.3, 0.1, 0.4, 0.2]
    np.testing.assert_array_equal(found.angles, dihedrals(frames)[[2, 0, 3, 1]])
    assert found.weights(300.0).argmax() == 2  # all walkers feel the same bias
    assert "carry a bias that was not undone" in samples_of_frames(frames).notes[0]
    both = joined([found, found])
    assert both.walker.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(both.bias) == 8
    with pytest.raises(DataError, match="some inputs are to be reweighted"):
        joined([found, samples_of_frames(frames)])


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"step": [1, 2]}, "no column 'bias', only step"),
        ({"bias": [0.0, 0.0]}, "zero: the run was not biased, .* or its bias was adaptive"),
        ({"bias": [1.0, 2.0], "stop_reason": ["", "far"]}, "1 walkers were stopped and put back"),
        (
            {"bias": [1.0, 2.0], "not_reweightable": ["the strength changed"] * 2},
            "cannot be reweighted: the strength changed; repeat it with a bias",
        ),
        ({"bias": [1.0, np.nan]}, "1 of 2 frames is NaN"),
    ],
)
def test_frames_that_cannot_be_reweighted(alanine, info, message):
    with pytest.raises(DataError, match=message):
        samples_of_frames(frames_of(alanine, **info), reweight=True).weights(300.0)


def test_analysis_of_samples(alanine, tmp_path):
    info = {"walker": [0] * 20 + [1] * 20, "bias": np.linspace(0.0, 0.05, 40)}
    samples = samples_of_frames(frames_of(alanine, **info), reweight=True)
    found = analyze(samples, AnalysisSettings(bins=12, regions=(C7AX, C7EQ)))
    weights = samples.weights(300.0)
    assert (found.frames, found.walkers) == (40, 2)
    assert found.coverage == pytest.approx(coverage(samples.angles))
    assert found.effective == pytest.approx(1 / np.sum(weights**2))
    expected = ramachandran(samples.angles, weights=weights, bins=12).free_energy
    np.testing.assert_allclose(found.surface.free_energy, expected)
    assert found.difference.value == np.inf
    one = samples_of_frames(frames_of(alanine, step=[1, 2]), [(4, 6, 8, 14)])
    found = analyze(one, AnalysisSettings(regions=(C7AX, C7EQ)))
    assert found.surface.free_energy.shape == (36,)
    assert found.difference is None
    with pytest.raises(DataError, match="no frame to analyze"):
        analyze(samples_of_frames(frames_of(alanine, step=[1])[[]]))
    with pytest.raises(DataError, match="share to discard is 1"):
        samples.discard(1.0)
