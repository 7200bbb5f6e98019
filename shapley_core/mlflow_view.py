"""How MLflow's UI shows the experiment of valuations: a note on what the numbers mean, and a view to open by address.

A view is what "Share view" in MLflow's UI makes: JSON in a label of the experiment, opened by its key in the address
(``#/experiments/<id>/runs?viewStateShareKey=valuations``). A release of MLflow that arranges views otherwise passes
over it. How people use it: docs/mlflow.md.
"""

import json
from collections.abc import Mapping
from typing import Any

from shapley_core.tracking import NOTE, safe_name

#: Key of the view, in its label and in the address.
VIEW = "valuations"
#: Contributors whose values have columns of their own: the first by value, if their names are not longer; MLflow's
#: labels have 5,000 characters. Fewer of them have lines over time.
_SHOWN, _IN_TIME, _LONGEST = 12, 5, 60
#: Columns that tell runs apart, then what came of them; MLflow would put all metrics first.
_COLUMNS = (
    *("tags.design", "tags.estimator", "metrics.n_coalitions", "metrics.mean_width", "metrics.rank_stability"),
    *("metrics.lds/alpha_0.5", "metrics.cost_total", "metrics.full_value"),
)
_LAST_COLUMNS = ("params.pruning.ratio", "tags.property", "tags.kind")
#: The column of the runs' names, as MLflow calls it, and its width in pixels.
_NAME, _NAME_WIDTH = "attributes.`Run Name`", 300
_MEANINGS = {
    "value/NAME, std_error/NAME": "what the contributor is worth, in the property's unit, and its standard error",
    "width/NAME, mean_width": "width of the interval around the value, and the mean of all: how much is not known",
    "rank_stability": "1 where the order of every two contributors is certain, 0 where of none",
    "n_coalitions": "m, the coalitions that the values rest on",
    "cost_per_coalition, cost_total": "seconds of training and sampling, of one coalition (median) and of all",
    "null_value, full_value": "the property without anybody's data, and with everybody's",
    "lds/alpha_0.5": "evaluations: rank correlation of what the values predict with what retraining on half of the "
    "contributors showed",
    "cost/METHOD": "evaluations: seconds of one coalition, by each way to make its model",
    "history/value/NAME": "values of the series so far; the step is the number of the valuation",
}
_NOTE = "\n".join(
    (
        "What contributors of training data are worth to a property of a diffusion model: a run for each valuation, "
        "and one for each evaluation of a valuation by retraining (tag `kind`).",
        "",
        f"To compare runs, add `?viewStateShareKey={VIEW}` to the address of the experiment's page of runs.",
        "",
        *(f"- `{names}`: {meaning}" for names, meaning in _MEANINGS.items()),
    )
)


def view_labels(values: Mapping[str, Any]) -> dict[str, str]:
    """Labels of an experiment for MLflow's UI; ``values`` is the content of values.json of its latest valuation."""
    return {NOTE: _NOTE, f"mlflow.sharedViewState.{VIEW}": json.dumps(_view(values), ensure_ascii=False)}


def _view(values: Mapping[str, Any]) -> dict[str, Any]:
    """The state of MLflow's page of runs: columns of the table, and charts that stand before its own."""
    names = [safe_name(row["contributor"]) for row in values["contributors"]]
    shown = [f"value/{name}" for name in names if len(name) <= _LONGEST][:_SHOWN]
    past = [f"history/{name}" for name in shown[:_IN_TIME]]
    others = (*(f"metrics.{name}" for name in shown), *_LAST_COLUMNS)
    glance = [_points("cost_total", "mean_width"), *map(_bars, ("mean_width", "lds/alpha_0.5", "cost_per_coalition"))]
    sections = (  # name, charts side by side, charts
        ("values", 1, [{"type": "PARALLEL", "selectedMetrics": shown, "selectedParams": []}]),
        ("at a glance", 2, glance),
        ("over time", 1, [_lines(past)]),
    )
    return {
        "selectedColumns": [*map(_column, (*_COLUMNS, *others))],
        "columnOrder": [_NAME, *map(_column, _COLUMNS)],  # others come after them
        "columnWidths": {_NAME: _NAME_WIDTH},
        "compareRunCharts": [
            {"uuid": f"{name} {i}", "metricSectionId": name, "deleted": False, "isGenerated": False, **chart}
            for name, _, charts in sections
            for i, chart in enumerate(charts)
        ],
        "compareRunSections": [
            {"uuid": name, "name": name, "columns": n, "display": True, "isReordered": False, "deleted": False}
            for name, n, _ in sections
        ],
        "isAccordionReordered": True,  # or MLflow sorts the sections by name, ours among its own
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
    }


def _bars(metric: str) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": 20}


def _points(x: str, y: str) -> dict[str, Any]:
    axes = {axis: {"key": key, "type": "METRIC"} for axis, key in (("xaxis", x), ("yaxis", y))}
    return {"type": "SCATTER", "runsCountToCompare": 100, **axes}


def _lines(metrics: list[str]) -> dict[str, Any]:
    as_they_are = {"useGlobalLineSmoothing": False, "lineSmoothness": 0}
    return {"type": "LINE", "selectedMetricKeys": metrics, "metricKey": "".join(metrics[:1]), **as_they_are}


def _column(name: str) -> str:
    kind, _, key = name.partition(".")
    return f"{kind}.`{key}`"
