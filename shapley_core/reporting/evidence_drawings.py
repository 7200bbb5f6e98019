"""The figures of an evaluation: Table 1 as a chart, Figures 2 and 3 of the paper, fidelity by size of a coalition."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from shapley_core.evaluation import paper
from shapley_core.evaluation.labels import (
    TABLE_1_LABELS,
    action_label,
    attribution_label,
    in_order,
    method_label,
)
from shapley_core.evaluation.removal import REMOVAL_METHODS
from shapley_core.evaluation.result import BY_FINETUNING, BY_RETRAINING, OURS, EvaluationResult
from shapley_core.reporting.figures import ACCENT, INK, MUTED, SECOND, THIRD, WIDTH, short

#: The same colour for a removal method, and for the Shapley values by it, in every figure; the others are muted.
_COLOURS = {
    "sparsified_finetuning": ACCENT, "retraining": SECOND, "finetuning": THIRD,
    OURS: ACCENT, BY_RETRAINING: SECOND, BY_FINETUNING: THIRD,
}  # fmt: skip
_STYLES = ["solid", "dashed", "dotted", "dashdot"]


def drawings(result: EvaluationResult) -> dict[str, Callable[[], Figure]]:
    """What there is to draw: name of the figure to the function that draws it."""
    alpha = float(result.facts["alpha"])
    lds = result.lds[np.isclose(result.lds["alpha"], alpha) & np.isfinite(result.lds["lds"])]
    budget = result.budget[np.isclose(result.budget["alpha"], alpha)].dropna(subset=["lds", "cost"])
    changes = result.counterfactuals.dropna(subset=["change"])
    by_size = result.fidelity[result.fidelity["size"] >= 0].dropna(subset=["spearman"])
    draw: dict[str, Callable[[], Figure]] = {}
    if len(lds):
        draw["lds"] = lambda: lds_figure(lds, result.ceiling)
    if len(budget):
        draw["budget"] = lambda: budget_figure(budget, result.ceiling)
    if len(by_size):
        draw["fidelity"] = lambda: fidelity_figure(by_size)
    if len(changes):
        draw["counterfactuals"] = lambda: counterfactuals_figure(changes)
    return draw


def lds_figure(lds: pd.DataFrame, ceiling: float) -> Figure:
    """Dots with intervals, a row per attribution in the order of Table 1; hollow: the paper's on CIFAR-20."""
    known = lds.set_index("attribution")
    names = in_order(known.index, TABLE_1_LABELS)
    rows = known.loc[names]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.25 * max(len(names), 4)), layout="constrained")
    axes = figure.subplots()
    colours = [_COLOURS.get(name, MUTED) for name in names]
    places = np.arange(len(names))
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.hlines(places, 100 * rows["low"], 100 * rows["high"], color=colours, linewidth=1.7)
    axes.scatter(100 * rows["lds"], places, s=26, color=colours, zorder=3, label="here, 95 % interval")
    printed = [(paper.TABLE_1[name][0], place) for place, name in enumerate(names) if name in paper.TABLE_1]
    theirs = np.array([(score.mean, place) for score, place in printed if score]).reshape(-1, 2)
    axes.scatter(
        theirs[:, 0], theirs[:, 1], s=24, marker="D", facecolors="none", edgecolors=MUTED, linewidths=0.9,
        label="the paper, CIFAR-20",
    )  # fmt: skip
    _draw_ceiling(axes, 100 * ceiling, axes.axvline)
    _name_rows(axes, [attribution_label(name) for name in names])
    axes.set_xlabel("LDS, %")
    _legend(figure, axes)
    return figure


def budget_figure(budget: pd.DataFrame, ceiling: float) -> Figure:
    """LDS against the cost of the coalitions that the values were solved from, a line with a band per method."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    for method, rows in _by_method(budget):
        rows = rows.sort_values("cost")
        colour = _COLOURS.get(method, MUTED)
        axes.fill_between(rows["cost"], 100 * rows["low"], 100 * rows["high"], color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            rows["cost"], 100 * rows["lds"], color=colour, linewidth=1.7, marker="o", markersize=4,
            label=method_label(method),
        )  # fmt: skip
    axes.axhline(0, color=MUTED, linewidth=0.8)
    _draw_ceiling(axes, 100 * ceiling, axes.axhline)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(length=0)
    axes.set_xlabel("budget, in retrainings of a full model")
    axes.set_ylabel("LDS, %")
    _legend(figure, axes)
    return figure


def fidelity_figure(by_size: pd.DataFrame) -> Figure:
    """Rank correlation with retraining against the size of a coalition, a line per method."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    others = 0
    for method, rows in _by_method(by_size):
        rows = rows.sort_values("size")
        style: Any = "solid"
        if method not in _COLOURS:
            style, others = _STYLES[others % len(_STYLES)], others + 1
        label = "Retraining, another seed" if method == "retraining" else method_label(method)
        axes.plot(
            rows["size"], rows["spearman"], color=_COLOURS.get(method, MUTED), linestyle=style, linewidth=1.5,
            marker="o", markersize=3 if len(rows) <= 30 else 0, label=label,
        )  # fmt: skip
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(length=0)
    axes.set_xlabel("contributors in the coalition")
    axes.set_ylabel("Spearman correlation")
    _legend(figure, axes)
    return figure


def counterfactuals_figure(changes: pd.DataFrame) -> Figure:
    """Bars of the relative change with intervals, a panel for each share that is removed or kept.

    Intervals of three sets may be many times as wide as the bars; they are cut where they would squeeze the bars.
    """
    titles = [action_label(action, share) for action, share in zip(changes["action"], changes["share"], strict=True)]
    panels = dict(list(changes.groupby(titles, sort=False)))
    heights = [0.9 + 0.26 * max(len(rows), 2) for rows in panels.values()]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    low, high = _limits(changes)
    all_axes = figure.subplots(len(panels), squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, (title, rows) in zip(all_axes, panels.items(), strict=True):
        places = np.arange(len(rows))
        colours = [_COLOURS.get(name, MUTED) for name in rows["attribution"]]
        axes.barh(places, 100 * rows["change"], height=0.62, color=colours, alpha=0.75)
        axes.hlines(places, 100 * rows["low"], 100 * rows["high"], color=INK, linewidth=1.3)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        _name_rows(axes, [attribution_label(name) for name in rows["attribution"]])
        axes.set_title(str(title), fontsize=10, loc="left", color=INK)
        axes.set_xlim(low, high)
        axes.set_xlabel("change of the property, %")
    return figure


def _limits(changes: pd.DataFrame) -> tuple[float, float]:
    """Of the axis: all bars, and the intervals as far as half the length of the axis beyond."""
    bars = 100 * np.append(changes["change"], 0.0)
    bounds = 100 * np.append(changes[["change", "low", "high"]].to_numpy(), 0.0)
    room = 0.5 * np.ptp(bars) or 1.0
    low, high = max(bars.min() - room, np.nanmin(bounds)), min(bars.max() + room, np.nanmax(bounds))
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _by_method(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(method, table[table["method"] == method]) for method in in_order(table["method"], REMOVAL_METHODS)]


def _draw_ceiling(axes: Axes, ceiling: float, line: Callable[..., Any]) -> None:
    if np.isfinite(ceiling):
        line(ceiling, color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label="ceiling")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """The first row on top."""
    axes.set_yticks(range(len(names)), [short(name, 34) for name in names], color=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the drawing, where it hides nothing."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=2, frameon=False, labelcolor=INK, handletextpad=0.4,
        columnspacing=1.2,
    )  # fmt: skip
