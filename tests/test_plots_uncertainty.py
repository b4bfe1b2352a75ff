"""Figures of uncertainties show what they were given, with units, and no text on other text."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from uncv import metrics, plots_uncertainty
from uncv.errors import DataError
from uncv.metrics import Estimate
from uncv.plots_uncertainty import ErrorPoints

FOUND = Estimate(0.25, 0.2, 0.3)


@pytest.fixture
def pair(rng):
    u = rng.lognormal(-2, 0.7, size=200)
    return u, abs(rng.normal(size=200)) * u


def words(figure) -> str:
    axis = figure.axes[0]
    legend = [] if axis.get_legend() is None else axis.get_legend().get_texts()
    labels = [axis.get_title(), axis.get_xlabel(), axis.get_ylabel()]
    return "\n".join(labels + [text.get_text() for text in legend])


def line(figure, label):
    return next(one for one in figure.axes[0].lines if one.get_label().startswith(label))


def shown_ticks(axis):
    """Labels of the major ticks in view; matplotlib keeps those outside of it too."""
    low, high = sorted(axis.get_view_interval())
    places = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [label for place, label in places if low <= place <= high]


def no_overlaps(figure) -> None:
    """No two visible texts share a pixel."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = []
    assert len(shown_ticks(figure.axes[0].xaxis)) >= 2, "an axis needs two numbers"
    assert len(shown_ticks(figure.axes[0].yaxis)) >= 2, "an axis needs two numbers"
    for axis in figure.axes:
        ticks = [*shown_ticks(axis.xaxis), *shown_ticks(axis.yaxis)]
        legend = [] if axis.get_legend() is None else axis.get_legend().get_texts()
        texts += [axis.title, axis.xaxis.label, axis.yaxis.label, *ticks, *legend, *axis.texts]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text().strip()]
    width, height = canvas.get_width_height()
    for place, (text, box) in enumerate(boxes):
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
        for other, another in boxes[:place]:
            assert not box.overlaps(another), f"{text!r} lies on {other!r}"


def test_points_and_lines(pair):
    u, r = pair
    points = ErrorPoints(u, r, "energy", "energy")
    figure = plots_uncertainty.error_against_uncertainty(points, factor=2.0, alpha=0.1)
    shown = words(figure)
    assert "uncertainty u (eV)" in shown
    assert "|energy error| (eV)" in shown
    assert "conformal: 90 % below 2 u" in shown
    xy = figure.axes[0].lines[0].get_xydata()
    np.testing.assert_array_equal(xy[:, 0], u)
    lowest = max(np.quantile(r, 0.001), 1e-4 * r.max())
    np.testing.assert_allclose(xy[:, 1], np.maximum(r, lowest))
    ends = line(figure, "conformal").get_xydata()
    np.testing.assert_allclose(ends[:, 1], 2.0 * ends[:, 0])
    same = line(figure, "|error| = u").get_xydata()
    np.testing.assert_allclose(same[:, 1], same[:, 0])
    no_overlaps(figure)


def test_many_points_are_counted(rng):
    u = rng.lognormal(-2, 0.7, size=4000)
    figure = plots_uncertainty.error_against_uncertainty(
        ErrorPoints(u, u * abs(rng.normal(size=4000)), "force", "dimensionless"), factor=1.5
    )
    assert figure.axes[0].collections[0].get_array().sum() == 4000
    shown = words(figure)
    assert "uncertainty u\n" in shown  # without a unit
    assert "|error| = u" not in shown  # and no line where it equals an error in eV/Å
    assert "(eV/Å)" in shown
    assert figure.axes[1].get_ylabel() == "atoms in a cell"
    no_overlaps(figure)


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.3, 2.0, 6.0])
def test_labels_of_logarithmic_axes_have_room(rng, spread):
    u = np.exp(spread * rng.normal(size=50))
    points = ErrorPoints(0.037 * u, 0.001 * u[::-1], "energy", "energy")
    no_overlaps(plots_uncertainty.error_against_uncertainty(points, factor=12.0))


def test_errors_of_zero_have_a_place():
    points = ErrorPoints([0.1, 0.2], [0.0, 0.0], "energy", "energy")
    no_overlaps(plots_uncertainty.error_against_uncertainty(points))


def test_calibration_curve(pair):
    curve = metrics.calibration_curve(*pair)
    figure = plots_uncertainty.calibration_curve(curve, FOUND)
    np.testing.assert_array_equal(line(figure, "observed").get_xydata(), np.transpose(curve))
    assert "miscalibration area 0.250 (0.200 to 0.300)" in words(figure)
    no_overlaps(figure)


def test_sparsification(pair):
    curve = metrics.sparsification_curve(*pair)
    figure = plots_uncertainty.sparsification(curve, FOUND)
    by_u, oracle = (line(figure, name).get_ydata() for name in ("largest u", "largest error"))
    np.testing.assert_array_equal(by_u, curve.by_uncertainty)
    np.testing.assert_array_equal(oracle, curve.by_error)
    np.testing.assert_array_equal(line(figure, "random").get_ydata(), [1.0, 1.0])
    assert "AUSE 0.250" in words(figure)
    no_overlaps(figure)


def test_roc(pair):
    curve = metrics.roc_curve(*pair)
    figure = plots_uncertainty.roc(curve, Estimate(0.9, np.nan, np.nan))
    np.testing.assert_array_equal(line(figure, "u above").get_xydata(), np.transpose(curve))
    assert "AUROC 0.900\n" in words(figure)  # no interval, none shown
    assert "the largest 20 %" in words(figure)
    no_overlaps(figure)


def test_a_title_only_for_what_is_known(pair):
    figure = plots_uncertainty.roc(metrics.roc_curve(*pair))
    assert figure.axes[0].get_title() == ""


def test_saving_gives_the_same_files_again(pair, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        figure = plots_uncertainty.sparsification(metrics.sparsification_curve(*pair))
        files = plots_uncertainty.save(figure, tmp_path / name / "figure")
        assert [file.name for file in files] == ["figure.png", "figure.svg"]
    for suffix in ("png", "svg"):
        first, second = (tmp_path / n / f"figure.{suffix}" for n in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()


def test_bad_points_are_errors():
    draw = plots_uncertainty.error_against_uncertainty
    with pytest.raises(DataError, match=r"shapes \(2,\) and \(1,\)"):
        draw(ErrorPoints([1.0, 2.0], [1.0], "energy", "energy"))
    with pytest.raises(DataError, match="at least one point"):
        draw(ErrorPoints([], [], "energy", "energy"))
    with pytest.raises(DataError, match="1 uncertainties are not positive"):
        draw(ErrorPoints([0.0, 1.0], [1.0, 1.0], "energy", "energy"))
