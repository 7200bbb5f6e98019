"""The figures: that they draw what was measured, and take any name."""

import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from shapley_core.estimators.convergence import Convergence
from shapley_core.reporting import figures

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_pngs_for_mlflow(valuation):
    pictures = figures.figures(valuation())
    assert set(pictures) == {"values", "utilities", "convergence", "curve_training_loss", "contributors", "samples"}
    for png in pictures.values():
        image = Image.open(io.BytesIO(png))
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image.convert("L")))) > 10  # something was drawn


def test_svgs_scale_and_take_the_colours_of_the_page(valuation):
    for svg in figures.svg_figures(valuation()).values():
        root = ET.fromstring(svg)
        assert "viewBox" in root.attrib
        assert not {"width", "height"} & set(root.attrib)
        assert "var(--ink)" in svg or "var(--muted)" in svg
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) == set(), "a colour of the dark scheme would be missing"


def test_one_valuation_is_always_drawn_alike(valuation):
    assert figures.svg_figures(valuation()) == figures.svg_figures(valuation())


def test_hostile_names_are_text(valuation, hostile):
    data = valuation((*hostile, "digit 0"), 64)
    labels = texts(figures.svg_figures(data)["values"])
    assert {figures.short(name) for name in data.attribution.contributors} <= set(labels)
    assert "{{7*7}}{% raw %}" in labels
    assert "a" * 19 + "…" in labels
    assert figures.figures(data)["values"].startswith(b"\x89PNG")


def test_bars_stand_at_the_values(valuation):
    attribution = valuation().attribution
    axes = figures.values_figure(attribution).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    lengths = [patch.get_width() for patch in axes.patches]
    expected = sorted(zip(attribution.values, attribution.contributors, strict=True), reverse=True)
    assert list(zip(lengths, names, strict=True)) == [(pytest.approx(value), name) for value, name in expected]
    segments = axes.collections[0].get_segments()
    bounds = sorted((low, high) for low, high in (segment[:, 0] for segment in segments))
    assert bounds == sorted(zip(attribution.ci_low, attribution.ci_high, strict=True))


def test_dots_stand_where_intervals_are_centred(valuation):
    attribution = valuation().attribution
    centre = attribution.values + np.arange(6)
    axes = figures.values_figure(replace(attribution, centre=centre)).axes[0]
    (dots,) = (collection for collection in axes.collections if len(collection.get_offsets()) == 6)
    assert sorted(dots.get_offsets()[:, 0]) == sorted(centre)


def test_only_the_ends_of_a_long_ranking_are_drawn(valuation):
    data = valuation([f"artist {i:03d}" for i in range(60)], 150)
    axes = figures.values_figure(data.attribution).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    ranking = [name for _, name in sorted(zip(data.attribution.ranks, data.attribution.contributors, strict=True))]
    assert names == ranking[:20] + ranking[-20:]
    assert [text.get_text() for text in axes.texts] == ["… 20 more in between …"]


def test_intervals_may_be_unknown_or_beside_the_value(valuation):
    attribution = valuation().attribution
    unknown = np.full(6, np.nan)
    for bounds in ({"ci_low": unknown, "ci_high": unknown}, {"ci_low": attribution.values + 1}):
        figure = figures.values_figure(replace(attribution, **bounds))
        figure.savefig(io.BytesIO(), format="svg")


def test_gallery_shows_the_images_of_both_ends(valuation):
    data = valuation([f"artist {i:02d}" for i in range(14)], 60)
    figure = figures.gallery_figure(data.attribution, data.contributors)
    order = np.argsort(data.attribution.ranks)
    assert [axes.get_title(loc="left").split("   ")[0] for axes in figure.axes] == [
        f"artist {i:02d}" for i in (*order[:5], *order[-5:])
    ]
    for i, axes in zip((*order[:5], *order[-5:]), figure.axes, strict=True):
        pixels = axes.images[0].get_array()
        assert pixels.shape == (8, 10 * 9, 3)  # ten images of 8 pixels, each with a gap
        for j in range(10):
            assert pixels[3, 9 * j + 3].tolist() == ([i, j, 128] if j <= i else [255, 255, 255])


def test_every_coalition_is_a_dot(valuation):
    game = valuation(failed=[(5, "out of memory")]).game
    dots, ends = (c.get_offsets() for c in figures.utilities_figure(game).axes[0].collections)
    assert np.asarray(dots) == pytest.approx(np.column_stack([game.membership.sum(axis=1), game.values]))
    assert np.asarray(ends) == pytest.approx(np.array([[0, 1.25], [6, 3.35]]))


def test_convergence_shows_settled_values_and_names_the_ends(valuation):
    data = valuation([f"artist {i}" for i in range(9)], 30)
    settled = np.tile(data.attribution.values, (4, 1))
    wild = Convergence(np.array([10, 16, 24, 30]), settled * np.array([[1e6], [1.1], [1], [1]]))
    axes = figures.convergence_figure(wild, data.attribution).axes[0]
    low, high = axes.get_ylim()
    assert low <= settled.min() and settled.max() <= high < 10 * settled.max()
    ranking = [name for _, name in sorted(zip(data.attribution.ranks, data.attribution.contributors, strict=True))]
    assert [text.get_text() for text in axes.texts] == ranking[:3] + ranking[-3:]


def test_labels_are_moved_apart_in_their_order(valuation):
    data = valuation([f"artist {i}" for i in range(9)], 30)
    equal = Convergence(np.array([10, 30]), np.full((2, 9), 0.3))
    axes = figures.convergence_figure(equal, data.attribution).axes[0]
    heights = sorted(text.xy[1] for text in axes.texts)
    figure_height = 72 * axes.get_figure().get_figheight()
    points = np.diff(heights) / np.ptp(axes.get_ylim()) * figure_height
    assert points.min() > 10  # the size of the letters
    assert np.mean(heights) == pytest.approx(0.3)


@pytest.mark.parametrize("n", [0, 1, 2, 19, 20, 500])
def test_curves_of_any_length(n):
    curve = {"step": [10.0 * i for i in range(n)], "value": [float(i % 3) for i in range(n)]}
    figure = figures.curve_figure("loss", curve)
    figure.savefig(io.BytesIO(), format="svg")
    mean = figure.axes[0].lines[1]
    window = max(1, n // 20)
    expected = [np.mean(curve["value"][i : i + window]) for i in range(n - window + 1)]
    assert mean.get_ydata() == pytest.approx(expected)
    assert len(mean.get_xdata()) == len(expected)


def test_drawing_needs_no_window_system_and_no_torch():
    code = "import sys, shapley_core.reporting.report; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "matplotlib.figure" in loaded
    assert not {"matplotlib.pyplot", "torch", "mlflow", "tkinter"} & set(loaded)
