"""The report of a valuation: one HTML file that needs nothing else, for a browser, the KFP UI and MLflow.

It holds no script and asks for nothing (a content security policy says so), so it can be mailed and kept.
Whatever comes from outside (contributors, settings, error messages) is escaped by Jinja, and characters that
could hide in it are made visible.
"""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from shapley_core.estimators.convergence import Convergence
from shapley_core.estimators.result import Attribution
from shapley_core.games.measured import MeasuredGame
from shapley_core.payout import Payout
from shapley_core.reporting import figures

#: Failed coalitions listed one by one.
MAX_FAILURES = 20
_DASH, _MINUS, _NBSP = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
_COALITION_SECONDS = ("training_seconds", "sampling_seconds", "scoring_seconds")


@dataclass(frozen=True)
class ReportData:
    """What a report tells.

    Attributes:
        attribution: the values.
        game: the measured coalitions the values were solved from.
        utilities: the utility table of the property, failed coalitions included.
        convergence: the values solved from the first m coalitions.
        grids: title of a sample grid to its PNG file.
        curves: name of a training curve to ``{"step": [...], "value": [...]}``.
        facts: what was run, on what and where; counts as int, identifiers (a seed too) as str.
        stage_seconds: process seconds per stage (tasks side by side add up).
        time_split: wall seconds by what they were spent on.
        config_yaml: the whole configuration.
        notes: warnings, each a sentence.
        payout: amounts of money by the values; None where none was asked for or possible.
        unions: what the members of each union are worth together, in the order to be shown; empty: there are none.
    """

    attribution: Attribution
    game: MeasuredGame
    utilities: pd.DataFrame
    convergence: Convergence
    grids: Mapping[str, bytes]
    curves: Mapping[str, Mapping[str, list[float]]]
    facts: Mapping[str, str | float | int]
    stage_seconds: Mapping[str, float]
    time_split: Mapping[str, float]
    config_yaml: str
    notes: Sequence[str] = ()
    payout: Payout | None = None
    unions: Mapping[str, float] = field(default_factory=dict)


def render_report(data: ReportData) -> str:
    """The report as one self-contained HTML page."""
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: figures.visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    value = number_format(data.attribution.values, digits=3)
    level = number_format(np.array([data.attribution.null_value, data.attribution.full_value]), digits=4)
    environment.filters.update(
        value=value,
        level=level,
        percent=percent,
        duration=duration,
        fact=fact,
        money=money,
        words=figures.words,
        short=figures.short,
        curve_key=figures.curve_key,
    )
    return environment.get_template("report.html.jinja").render(
        data=data,
        notes=list(dict.fromkeys([*data.notes, *data.attribution.diagnostics.get("warnings", [])])),
        attribution=data.attribution,
        css=Markup((here / "report.css").read_text()),
        figures=figures.svg_figures(data),
        contributors=sorted(data.attribution.to_dict()["contributors"], key=lambda row: row["rank"]),
        leader=leader(data.attribution),
        grids=[_Picture.read(title, png) for title, png in data.grids.items()],
        coalition_seconds=coalition_seconds(data.utilities),
        failures=failures(data.utilities),
        max_failures=MAX_FAILURES,
        payments=data.payout.to_frame().to_dict("records") if data.payout else [],
        diagnostics=scalars(data.attribution.diagnostics),
    )


@dataclass(frozen=True)
class Leader:
    """Who stands first, and how sure that is.

    Attributes:
        name: contributor with the largest value.
        value: their value.
        share: their share of v(N) - v(null); NaN where there is nothing to share.
        rivals: how many others' intervals reach into the leader's; None where there are no intervals.
    """

    name: str
    value: float
    share: float
    rivals: int | None


def leader(attribution: Attribution) -> Leader:
    """The contributor of rank 1."""
    first, *others = attribution.to_frame().to_dict("records")
    bounds = np.concatenate([attribution.ci_low, attribution.ci_high])
    rivals = sum(other["ci_high"] >= first["ci_low"] for other in others)
    return Leader(first["contributor"], first["value"], first["share"], rivals if np.isfinite(bounds).all() else None)


def failures(utilities: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of the utility table that hold no usable value, with the reason why."""
    unusable = (utilities["status"] != "ok") | ~np.isfinite(utilities["value"].astype(float))
    rows = utilities[unusable]
    reason = rows["status"].where(rows["status"] != "ok", "the value is not a finite number")
    return [{"key": k, "seed": s, "reason": r} for k, s, r in zip(rows["key"], rows["seed"], reason, strict=True)]


def coalition_seconds(utilities: pd.DataFrame) -> dict[str, float]:
    """Median seconds per measured coalition: training, sampling, scoring and their sum."""
    measured = utilities.loc[utilities["status"] == "ok", list(_COALITION_SECONDS)].astype(float)
    if measured.empty:
        return {}
    medians = {name.removesuffix("_seconds"): float(measured[name].median()) for name in _COALITION_SECONDS}
    return {**medians, "all": float(measured.sum(axis=1).median())}


def scalars(diagnostics: Mapping[str, Any]) -> dict[str, str | float | int]:
    """The single numbers and words among an estimator's diagnostics."""
    return {key: value for key, value in diagnostics.items() if isinstance(value, str | float | int)}


def number_format(numbers: np.ndarray, digits: int) -> Callable[..., str]:
    """A format for all of ``numbers``: ``digits`` significant ones of the largest, equal decimals for all.

    The function returned takes a number (or None, shown as a dash) and ``signed``, which puts a + before.
    """
    largest = float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0))
    decimals = min(8, max(0, digits - 1 - math.floor(math.log10(largest)))) if largest else digits

    def text(number: float | None, signed: bool = False) -> str:
        if number is None or not math.isfinite(number):
            return _DASH
        return f"{number:{'+' if signed else ''},.{decimals}f}".replace("-", _MINUS)

    return text


def money(cents: Any) -> str:
    """Cents as an amount with two decimals, 1,234.56; a dash where it is not known."""
    return _DASH if pd.isna(cents) else f"{int(cents) // 100:,}.{int(cents) % 100:02d}"


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal; a dash where there is none."""
    if share is None or not math.isfinite(share):
        return _DASH
    return f"{100 * share:.1f}{_NBSP}%".replace("-", _MINUS)


def duration(seconds: float) -> str:
    """Seconds in the units people use: ``0.4 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        text = f"{seconds:.1f} s"
    elif seconds < 3600:
        text = f"{int(seconds // 60)} min {int(seconds % 60)} s"
    else:
        text = f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return text.replace(" ", _NBSP)


def fact(value: str | float | int) -> str:
    """A run fact as text: counts with thousands separated, other numbers to six digits."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**12 else str(value)
    return f"{value:.6g}"


@dataclass(frozen=True)
class _Picture:
    """A PNG file as the page shows it."""

    title: str
    uri: Markup
    width: int
    height: int

    @classmethod
    def read(cls, title: str, png: bytes) -> "_Picture":
        # The size stands in the first chunk (PNG specification, 11.2.2 IHDR).
        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
        return cls(title, Markup("data:image/png;base64," + base64.b64encode(png).decode()), width, height)
