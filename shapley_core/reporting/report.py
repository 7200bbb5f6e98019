"""The report of a valuation: one HTML file that needs nothing else, for a browser, the KFP UI and MLflow.

It holds no script and asks for nothing (a content security policy says so), so it can be mailed and kept.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from shapley_core.contributor_facts import ContributorFacts
from shapley_core.estimators.convergence import Convergence
from shapley_core.estimators.result import Attribution
from shapley_core.formats import number_format
from shapley_core.games.measured import MeasuredGame
from shapley_core.history import SinceLastTime
from shapley_core.payout import Payout
from shapley_core.reporting import figures, portraits
from shapley_core.reporting.templates import page_environment
from shapley_core.reporting.top_contributors import top_contributors

#: Failed coalitions listed one by one.
MAX_FAILURES = 20
_COALITION_SECONDS = ("training_seconds", "sampling_seconds", "scoring_seconds")


@dataclass(frozen=True)
class ReportData:
    """What a report tells.

    Attributes:
        attribution: the values.
        contributors: images and facts of the contributors.
        game: the measured coalitions the values were solved from.
        n_planned: coalitions that were to be measured.
        utilities: the utility table of the property, failed coalitions included.
        convergence: the values solved from the first m coalitions.
        grids: title of a sample grid to its PNG file.
        curves: name of a training curve to ``{"step": [...], "value": [...]}``.
        source: where the images come from: ``origin`` and ``licence``, as far as they are known.
        facts: what was run, on what and where; counts as int, identifiers (a seed too) as str.
        stage_seconds: process seconds per stage (tasks side by side add up).
        time_split: wall seconds by what they were spent on.
        config_yaml: the whole configuration.
        notes: warnings, each a sentence.
        payout: amounts of money by the values; None where none was asked for or possible.
        unions: what the members of each union are worth together, in the order to be shown; empty: there are none.
        since: what has changed since the last valuation of the series; None: this is the first.
    """

    attribution: Attribution
    contributors: ContributorFacts
    game: MeasuredGame
    n_planned: int
    utilities: pd.DataFrame
    convergence: Convergence
    grids: Mapping[str, bytes]
    curves: Mapping[str, Mapping[str, list[float]]]
    source: Mapping[str, str]
    facts: Mapping[str, str | float | int]
    stage_seconds: Mapping[str, float]
    time_split: Mapping[str, float]
    config_yaml: str
    notes: Sequence[str] = ()
    payout: Payout | None = None
    unions: Mapping[str, float] = field(default_factory=dict)
    since: SinceLastTime | None = None


def render_report(data: ReportData) -> str:
    """The report as one self-contained HTML page."""
    environment = page_environment()
    value = number_format(data.attribution.values, digits=3)
    level = number_format(np.array([data.attribution.null_value, data.attribution.full_value]), digits=4)
    environment.filters.update(value=value, level=level, curve_key=figures.curve_key)
    everybody = portraits.portraits(data.attribution, data.contributors)
    top = top_contributors(data.attribution, data.contributors)
    return environment.get_template("report.html.jinja").render(
        data=data,
        notes=list(dict.fromkeys([*data.notes, *data.attribution.diagnostics.get("warnings", [])])),
        attribution=data.attribution,
        figures=figures.svg_figures(data),
        contributors=everybody,
        fact_names=[label.text for label in data.contributors.labels.values()],
        galleries=portraits.ends(everybody),
        tiny=portraits.is_tiny(data.contributors),
        row_images=portraits.ROW_IMAGES,
        per_end=portraits.PICTURED_PER_END,
        top=top,
        telling=[comparison for comparison in top.comparisons if comparison.tells],
        mean_format=portraits.mean_format,
        licence_address=licence_address(data.source.get("licence", "")),
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


def licence_address(licence: str) -> str:
    """Where the text of a Creative Commons licence stands, whose terms ask for that; empty for other licences."""
    named = re.match(r"cc[ -](by(?:-nc)?(?:-sa|-nd)?)[ -](\d\.\d)\b", licence, re.IGNORECASE)
    return f"https://creativecommons.org/licenses/{named[1].lower()}/{named[2]}/" if named else ""


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
