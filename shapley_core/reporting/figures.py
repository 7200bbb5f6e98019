"""The figures of a valuation, drawn with matplotlib: inline SVG for the report, PNG for MLflow.

The SVG keeps its text as text, so that the reader's browser sets names in any script, and takes its colours
from the page's style sheet, so that one drawing serves the light and the dark scheme.
"""

import io
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from PIL import Image

from shapley_core.contributor_facts import ContributorFacts
from shapley_core.estimators.convergence import Convergence
from shapley_core.estimators.result import Attribution
from shapley_core.formats import number_format
from shapley_core.games.measured import MeasuredGame

if TYPE_CHECKING:
    from shapley_core.reporting.report import ReportData

#: Contributors drawn from each end of the ranking where there are too many for one chart.
BARS_PER_END = 20
#: Contributors named from each end of the ranking in the convergence figure.
LINES_PER_END = 3

#: Contributors from each end of the ranking in the gallery, and images of each.
GALLERY_PER_END, GALLERY_IMAGES = 5, 10

#: The colours of the light scheme, and the property of ``report.css`` that stands for each in the SVG.
INK, MUTED, RULE, ACCENT, SECOND, THIRD = "#1e2329", "#5c6470", "#d9d6cf", "#2c6e8a", "#b4502f", "#8a7a2c"
_PROPERTY = {
    INK: "--ink", MUTED: "--muted", RULE: "--rule", ACCENT: "--accent", SECOND: "--second", THIRD: "--third"
}  # fmt: skip

#: Bidirectional classes of the marks that embed, override or isolate (Unicode Standard Annex 9).
_REORDERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

WIDTH = 5.0  # inches: 360 SVG units, so that its 10-unit text can still be read on a phone
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a contributor may be called $x^2$
    "text.usetex": False,
    "axes.unicode_minus": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "svg.fonttype": "none",
}


def figures(data: "ReportData") -> dict[str, bytes]:
    """The figures of the report as PNG files: name (``"values"``, ``"utilities"``, ...) to bytes.

    With them ``"contributors"`` and ``"samples"``, which the page shows as pictures with text.
    """
    drawn = {**drawings(data), "contributors": lambda: gallery_figure(data.attribution, data.contributors)}
    if data.grids:
        drawn["samples"] = lambda: samples_figure(data.grids)
    return {name: png(draw) for name, draw in drawn.items()}


def svg_figures(data: "ReportData") -> dict[str, Markup]:
    """The same figures as SVG elements to be put into the page; their text is escaped."""
    return {name: svg(name, draw) for name, draw in drawings(data).items()}


def drawings(data: "ReportData") -> dict[str, Callable[[], Figure]]:
    """What there is to draw: name of the figure to the function that draws it."""
    draw: dict[str, Callable[[], Figure]] = {
        "values": lambda: values_figure(data.attribution),
        "utilities": lambda: utilities_figure(data.game),
    }
    if len(data.convergence.n_coalitions) > 1:
        draw["convergence"] = lambda: convergence_figure(data.convergence, data.attribution)
    for name, curve in data.curves.items():
        draw[curve_key(name)] = lambda name=name, curve=curve: curve_figure(name, curve)  # type: ignore[misc]
    return draw


def values_figure(attribution: Attribution) -> Figure:
    """Horizontal bars of the values with their intervals, the largest on top; dots where these are centred apart."""
    order = np.argsort(attribution.ranks)
    left_out = len(order) - 2 * BARS_PER_END
    # An empty row stands for those left out.
    rows = [*order[:BARS_PER_END], None, *order[-BARS_PER_END:]] if left_out > 1 else list(order)
    figure = Figure(figsize=(WIDTH, 0.8 + (0.25 if len(rows) <= 20 else 0.2) * max(len(rows), 4)), layout="constrained")
    axes = figure.subplots()
    places = np.array([place for place, row in enumerate(rows) if row is not None])
    shown = np.array([row for row in rows if row is not None])
    values = attribution.values[shown]
    axes.barh(places, values, height=0.62, color=np.where(values < 0, SECOND, ACCENT), alpha=0.75)
    axes.hlines(places, attribution.ci_low[shown], attribution.ci_high[shown], color=INK, linewidth=1.3)
    if attribution.centre is not None:
        axes.scatter(attribution.centre[shown], places, s=9, color=INK, zorder=3)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    if left_out > 1:
        axes.annotate(
            f"… {left_out} more in between …", (0.5, BARS_PER_END), xycoords=("axes fraction", "data"),
            ha="center", va="center", color=MUTED, fontstyle="italic",
        )  # fmt: skip
    axes.set_yticks(places, [short(attribution.contributors[i]) for i in shown], color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"Shapley value ({words(attribution.property)})")
    return figure


def utilities_figure(game: MeasuredGame) -> Figure:
    """Every measured coalition's property against its size, with the null and the full coalition marked."""
    sizes, ends = [0, len(game.contributors)], [game.null_value, game.full_value]
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.scatter(
        game.membership.sum(axis=1),
        game.values,
        s=20,
        color=ACCENT,
        alpha=0.6,
        linewidths=0,
        label="a coalition",
    )
    axes.plot(sizes, ends, color=MUTED, linewidth=0.8, linestyle=(0, (4, 4)))
    axes.scatter(sizes, ends, s=44, color=SECOND, zorder=3, label="v(∅) and v(N)")
    axes.legend(loc="best", frameon=False, labelcolor=INK, handletextpad=0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(length=0)
    axes.set_xlabel("contributors in the coalition")
    axes.set_ylabel(words(game.property))
    return figure


def convergence_figure(convergence: Convergence, attribution: Attribution) -> Figure:
    """The values solved from the first m coalitions, against m; the ends of the ranking are named."""
    order = np.argsort(attribution.ranks)
    n, m = len(order), np.asarray(convergence.n_coalitions)
    first, last = order[:LINES_PER_END], order[max(LINES_PER_END, n - LINES_PER_END) :]
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.plot(m, convergence.values, color=MUTED, linewidth=0.7, alpha=0.45 if n <= 40 else 0.15)
    for colour, group in ((ACCENT, first), (SECOND, last)):
        axes.plot(m, convergence.values[:, group], color=colour, linewidth=1.7)
    axes.set_ylim(_settled_range(convergence.values))
    axes.set_xlim(m[0], m[-1])
    named = np.concatenate([first, last])
    heights = _spread(convergence.values[-1, named], axes, figure)
    for i, height in zip(named, heights, strict=True):
        axes.annotate(
            short(attribution.contributors[i], 14), (1, height), (6, 0), ("axes fraction", "data"),
            "offset points", va="center", color=ACCENT if i in first else SECOND, annotation_clip=False,
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(length=0)
    axes.set_xlabel("coalitions used")
    axes.set_ylabel("Shapley value")
    return figure


def gallery_figure(attribution: Attribution, facts: ContributorFacts) -> Figure:
    """Images of the contributors at either end of the ranking, a row each."""
    order = np.argsort(attribution.ranks)
    k = min(GALLERY_PER_END, len(order) // 2)
    shown = [*order[:k], *order[len(order) - k :]]
    thumbnails = facts.thumbnails
    value = number_format(attribution.values, digits=3)
    figure = Figure(figsize=(WIDTH, 0.62 * len(shown)), layout="constrained")
    for i, axes in zip(shown, figure.subplots(len(shown), squeeze=False)[:, 0], strict=True):
        name = attribution.contributors[i]
        axes.imshow(_strip(thumbnails[name]))
        axes.set_axis_off()
        axes.set_title(
            f"{short(name, 40)}   {value(attribution.values[i], signed=True)}", fontsize=9, loc="left", pad=2
        )
    return figure


def samples_figure(grids: Mapping[str, bytes]) -> Figure:
    """The grids of sample images, three beside each other."""
    n_rows = -(-len(grids) // 3)
    figure = Figure(figsize=(WIDTH, 0.37 * WIDTH * n_rows), layout="constrained")
    places = figure.subplots(n_rows, 3, squeeze=False).flatten()
    for axes in places:
        axes.set_axis_off()
    for (title, png), axes in zip(grids.items(), places, strict=False):
        axes.imshow(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")), interpolation="nearest")
        axes.set_title(textwrap.fill(visible(title), 30, max_lines=3), fontsize=7, loc="left", pad=2)
    return figure


def _strip(files: Sequence[bytes]) -> np.ndarray:
    """The first images side by side with a gap, RGB; white where there are fewer."""
    tiles = [np.asarray(Image.open(io.BytesIO(webp)).convert("RGB")) for webp in files[:GALLERY_IMAGES]]
    tiles += [np.full_like(tiles[0], 255)] * (GALLERY_IMAGES - len(tiles))
    gap = max(1, len(tiles[0]) // 16)
    padded = [np.pad(tile, ((0, 0), (0, gap), (0, 0)), constant_values=255) for tile in tiles]
    return np.concatenate(padded, axis=1)


def curve_figure(name: str, curve: Mapping[str, list[float]]) -> Figure:
    """A training curve: every recorded value faintly, and a running mean over a twentieth of them."""
    step, value = np.asarray(curve["step"], float), np.asarray(curve["value"], float)
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axes = figure.subplots()
    window = max(1, len(value) // 20)
    mean = np.convolve(value, np.full(window, 1 / window), mode="valid") if len(value) else value
    axes.plot(step, value, color=ACCENT, linewidth=0.7, alpha=0.4, marker="o" if len(value) < 3 else "")
    axes.plot(step[window // 2 :][: len(mean)], mean, color=ACCENT, linewidth=1.7)
    if len(value) and value.min() > 0 and value.max() > 3 * value.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(length=0)
    axes.set_xlabel("step")
    axes.set_ylabel(short(name, 24))
    return figure


def curve_key(name: str) -> str:
    """The name of a curve's figure, fit for a file name: ``curve_training_loss``."""
    return "curve_" + re.sub(r"\W+", "_", name)


def short(name: str, length: int = 20) -> str:
    """``name`` for a figure: its unprintable characters made visible, cut to ``length`` characters."""
    name = " ".join(visible(name).split())
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def visible(text: str) -> str:
    """``text`` with U+FFFD for what could hide in it or break a page; tabs and line breaks stay.

    That is control characters, surrogates, noncharacters, and marks that reorder the text around them.
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if _hides(c) else c for c in text)


def _hides(c: str) -> bool:
    if c in "\t\n":
        return False
    reorders = unicodedata.bidirectional(c) in _REORDERING
    return reorders or unicodedata.category(c) in ("Cc", "Cs") or ord(c) & 0xFFFE == 0xFFFE


def words(name: str) -> str:
    """A name from the configuration as words: ``inception_score`` is the inception score."""
    return name.replace("_", " ")


def _settled_range(values: np.ndarray) -> tuple[float, float]:
    """Limits that hold the later half of the values ``(k, n)``; the first, wild estimates may leave them."""
    later = values[len(values) // 2 :]
    later = later[np.isfinite(later)]
    if not later.size:
        return -1.0, 1.0
    low, high = min(later.min(), 0.0), max(later.max(), 0.0)
    room = 0.15 * (high - low) or 1.0
    return low - room, high + room


def _spread(heights: np.ndarray, axes: Axes, figure: Figure) -> np.ndarray:
    """``heights`` moved apart, in their order, until labels at them do not overlap."""
    low, high = axes.get_ylim()
    apart = (high - low) * 13 / (72 * figure.get_figheight() * 0.82)
    order = np.argsort(heights, kind="stable")
    spread = heights[order].astype(float)
    for i in range(1, len(spread)):
        spread[i] = max(spread[i], spread[i - 1] + apart)
    spread += (heights[order] - spread).mean()
    result = np.empty_like(spread)
    result[order] = spread
    return result


def png(draw: Callable[[], Figure]) -> bytes:
    """The drawing as a PNG file, in the light scheme."""
    return _save(draw, format="png", dpi=160, facecolor="white")


def svg(name: str, draw: Callable[[], Figure]) -> Markup:
    """The drawing as an ``<svg>`` element that fits its container and uses the page's colours and fonts."""
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    text = _save(draw, name, format="svg", transparent=True, metadata=no_metadata).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.S)
    # Only tags are touched, never the text between them, which holds names from outside.
    return Markup(re.sub(r"<[^<>]*>", lambda tag: _page_tag(tag[0]), text))


def _save(draw: Callable[[], Figure], salt: str = "", **options: Any) -> bytes:
    """The drawing as a file; ``salt`` keeps the ids in one drawing's SVG apart from those in another's."""
    buffer = io.BytesIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}), warnings.catch_warnings():
        # A name in a script that matplotlib's fonts lack: the browser sets it, a PNG shows boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        draw().savefig(buffer, **options)
    return buffer.getvalue()


def _page_tag(tag: str) -> str:
    """A tag of matplotlib's SVG without ids that several drawings would share and with the page's colours."""
    if tag.startswith("<g "):
        tag = re.sub(r' id="[^"]*"', "", tag)
    if tag.startswith("<svg "):
        tag = re.sub(r' width="[^"]*" height="[^"]*"', ' aria-hidden="true"', tag)
    for colour, name in _PROPERTY.items():
        tag = tag.replace(colour, f"var({name})")
    return tag
