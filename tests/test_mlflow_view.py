"""The view of valuations for MLflow's UI: it names only what runs have, and fits where MLflow keeps it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evaluations import evaluation, lds

from shapley_core.config import resolve
from shapley_core.estimators.result import Attribution
from shapley_core.history import Earlier, PastValuation
from shapley_core.mlflow_view import VIEW, view_labels
from shapley_core.stages.evaluate import evaluation_metrics
from shapley_core.tracking import NOTE, coalition_curves, cost_metrics, history_curves, value_metrics, value_tags

ROOT = Path(__file__).parents[1]
UTILITIES = pd.DataFrame(
    {"status": ["ok"], "value": [3.0], "training_seconds": [2.0], "sampling_seconds": [1.0], "scoring_seconds": [0.5]}
)


def attribution(*names: str) -> Attribution:
    values = np.arange(len(names), 0.0, -1)
    facts = ("inception_score", "paired", "kernel_shap", 64, 0.95, {"rank_stability": 0.75})
    return Attribution(names, values, values, values - 1, values + 1, 1.0, 2.0, *facts)


def view(*names: str) -> tuple[str, dict[str, Any]]:
    labels = view_labels(attribution(*names).to_dict())
    text = labels[f"mlflow.sharedViewState.{VIEW}"]
    return text, json.loads(text)


def test_a_view_names_what_runs_have():
    found = attribution("ada", "a/b")
    now = PastValuation.of(found, {"ada": "0", "a/b": "1"}, "s", "g", "d")
    judged = evaluation(lds=lds({"shapley_sparsified_finetuning": (0.5, 0.4, 0.6)}))
    there = (
        value_metrics(found.to_dict()).keys()
        | cost_metrics(UTILITIES).keys()
        | evaluation_metrics(judged).keys()
        | history_curves(Earlier(0, []), now).keys()
    )
    _, shown = view("ada", "a/b")
    columns = {name.removeprefix("metrics.").strip("`") for name in shown["selectedColumns"] if name[0] == "m"}
    charts = shown["compareRunCharts"]
    charted = {
        *(chart[axis]["key"] for chart in charts for axis in ("xaxis", "yaxis") if axis in chart),
        *(chart["metricKey"] for chart in charts if "metricKey" in chart),
        *(name for chart in charts for name in chart.get("selectedMetrics", [])),
        *(name for chart in charts for name in chart.get("selectedMetricKeys", [])),
    }
    assert "value/ada" in columns & charted and "mean_width" in columns & charted
    assert columns | charted <= there


def test_parts_of_a_view_fit_together():
    _, shown = view("ada", "a/b")
    assert {*shown["columnOrder"]} - {*shown["selectedColumns"]} == {*shown["columnWidths"]}  # the runs' names
    sections = [section["uuid"] for section in shown["compareRunSections"]]
    assert [*dict.fromkeys(chart["metricSectionId"] for chart in shown["compareRunCharts"])] == sections
    charts = [chart["uuid"] for chart in shown["compareRunCharts"]]
    assert len(set(charts)) == len(charts)


def test_the_note_and_the_page_name_what_runs_have():
    found = attribution("NAME")
    note, page = view_labels(found.to_dict())[NOTE], (ROOT / "docs" / "mlflow.md").read_text()
    for name in (*value_metrics(found.to_dict()), *cost_metrics(UTILITIES)):
        assert name in note and name in page
    now = PastValuation.of(found, {"NAME": "0"}, "s", "g", "d")
    for name in (*history_curves(Earlier(0, []), now), *coalition_curves(UTILITIES)):
        assert f"`{name}`" in page
    tags = value_tags(resolve("digits"), found.to_dict() | {"game_id": "g"})
    for name in ("kind", "series", *tags):
        assert f"`{name}`" in page
    assert f"viewStateShareKey={VIEW}" in note and f"viewStateShareKey={VIEW}" in page


def test_long_names_and_many_fit_a_label_of_mlflow():
    text, shown = view(*(f"{i:03}" + "\u5c71" * 57 for i in range(300)), "x" * 300)
    assert len(text) <= 5000
    assert sum(name.startswith("metrics.`value/") for name in shown["selectedColumns"]) == 12
    text, shown = view("x" * 300)
    assert not any("value/" in name for name in shown["selectedColumns"])
