"""Figures show what they were given: data, units, numbers in titles; no global state is touched."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from uncv import plots
from uncv.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n"


def labels(figure) -> str:
    """Every word on a figure."""
    axes = figure.axes
    words = [t for a in axes for t in (a.get_title(), a.get_xlabel(), a.get_ylabel())]
    legends = [a.get_legend() for a in axes if a.get_legend()]
    return "\n".join(words + [t.get_text() for legend in legends for t in legend.get_texts()])


@pytest.fixture
def maps(rng):
    edges = np.linspace(-np.pi, np.pi, 5)
    energy = rng.uniform(0.0, 0.3, (4, 4))
    energy[0, 3] = np.inf
    return [
        plots.RamachandranPanel("unbiased", edges, energy, 0.52),
        plots.RamachandranPanel("reference", edges, energy),
    ]


def test_ramachandran_maps(maps):
    figure = plots.ramachandran_maps(maps)
    words = labels(figure)
    assert "unbiased\ncoverage 0.52" in words
    assert "φ (degrees)" in words
    assert "ψ (degrees)" in words
    assert "free energy (kJ/mol)" in words
    mesh = figure.axes[0].collections[0]
    shown = np.ma.filled(mesh.get_array(), np.inf).reshape(4, 4)
    np.testing.assert_allclose(shown, maps[0].free_energy.T * 96.48533212331)  # φ runs to the right
    with pytest.raises(DataError, match="no run to draw"):
        plots.ramachandran_maps([])


def test_coverage_curve():
    figure = plots.coverage_curve({"biased": ([8, 16], [0.1, 0.4]), "unbiased": ([8], [0.2])})
    first = figure.axes[0].lines[0]
    np.testing.assert_array_equal(first.get_xydata(), [[8, 0.1], [16, 0.4]])
    assert "biased" in labels(figure)
    lines = figure.axes[0].lines
    assert lines[0].get_color() != lines[1].get_color()
    assert lines[0].get_marker() != lines[1].get_marker()


def test_learning_curve():
    figure = plots.learning_curve({"a": plots.LearningCurve([8, 16], [20.0, 2.0], [0.3, 0.1])})
    energy, force = figure.axes
    np.testing.assert_array_equal(energy.lines[0].get_ydata(), [20.0, 2.0])
    np.testing.assert_array_equal(force.lines[0].get_ydata(), [0.3, 0.1])
    assert energy.get_yscale() == "log"
    assert "meV/atom" in energy.get_ylabel()
    assert "eV/Å" in force.get_ylabel()


def test_parity_names_the_error():
    reference = np.zeros((2, 2, 3))
    figure = plots.parity(
        [
            plots.ParityPanel("forces", "eV/Å", reference, reference + 0.5),
            plots.ParityPanel("energy", "meV/atom", [1.0, 3.0], [1.0, 3.0]),
        ]
    )
    assert "RMSE 0.5 eV/Å" in labels(figure)
    assert "RMSE 0 meV/atom" in labels(figure)
    assert len(figure.axes[0].lines[0].get_xdata()) == 12
    with pytest.raises(DataError, match=r"forces: .* shapes \(2,\) and \(3,\)"):
        plots.parity([plots.ParityPanel("forces", "eV/Å", [1, 2], [1, 2, 3])])
    with pytest.raises(DataError, match="nothing to compare"):
        plots.parity([])


def test_uncertainty_against_error_counts_those_inside():
    figure = plots.uncertainty_against_error([1.0, 1.0, 2.0, 4.0], [0.5, -1.5, 0.0, -4.0])
    words = labels(figure)
    assert "75.0 % of 4 points inside" in words
    assert "calibrated uncertainty (eV)" in words
    axis = figure.axes[0]
    assert axis.get_xscale() == axis.get_yscale() == "log"
    outside = axis.lines[1].get_xydata()
    np.testing.assert_array_equal(outside, [[1.0, 1.5]])
    x, y = axis.lines[2].get_data()
    np.testing.assert_array_equal(x, y)
    unitless = plots.uncertainty_against_error([1.0], [1.0], kind="dimensionless", coverage=0.9)
    assert "90.0 %" in labels(unitless)
    assert "(" not in unitless.axes[0].get_xlabel()


def test_colvar_series():
    figure = plots.colvar_series(plots.Colvar([0, 1], [2.0, 3.0], [0.0, 1.0]), title="metadynamics")
    above, below = figure.axes
    assert above.get_ylabel() == "uncertainty (kJ/mol)"
    assert below.get_ylabel() == "bias (kJ/mol)"
    assert below.get_xlabel() == "time (ps)"
    np.testing.assert_array_equal(above.lines[0].get_ydata(), [2.0, 3.0])
    assert "metadynamics" in labels(figure)


def test_png_of_every_figure(maps):
    figures = [
        plots.ramachandran_maps(maps),
        plots.coverage_curve({"a": ([1, 2], [0.1, 0.2])}),
        plots.uncertainty_against_error([1.0, 2.0], [0.5, 3.0], kind="force"),
        plots.colvar_series(plots.Colvar([0, 1], [2.0, 3.0], [0.0, 1.0])),
    ]
    for figure in figures:
        assert plots.png(figure, dpi=40).startswith(PNG)
    assert plots.png(figures[1], dpi=40) == plots.png(figures[1], dpi=40)


def test_pyplot_is_never_loaded():
    code = (
        "import sys; from uncv import plots;"
        "plots.png(plots.coverage_curve({'a': ([1], [0.5])}));"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_colours_differ_in_lightness_for_the_first_two():
    """Printed in grey, the two runs of a comparison must still differ (Rec. 709 luminance)."""

    def luminance(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    assert len(set(plots.COLOURS)) == len(plots.COLOURS)
    assert abs(luminance(plots.COLOURS[0]) - luminance(plots.COLOURS[1])) > 0.05
