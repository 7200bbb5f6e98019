"""What a published report says of each method follows from the measurements that are published beside it."""

import re
from pathlib import Path

import pandas as pd
import pytest
from evaluations import lds_by_the_page

from shapley_core.evaluation.judgement import HeldOut
from shapley_core.evaluation.labels import TABLE_1_LABELS, attribution_label
from shapley_core.evaluation.result import BY_FINETUNING, NUMBER_OF_IMAGES
from shapley_core.evaluation.short_cut import short_cut_table
from shapley_core.seeds import derive_seed

DOCS = Path(__file__).parents[2] / "docs"
#: Where the valuation's coalitions were measured by another removal method, too.
FURTHER = {"evidence-openmoji-lora": (BY_FINETUNING,)}
PUBLISHED = sorted(path.parent.name for path in DOCS.glob("evidence-*/measurements.parquet"))


def test_measurements_are_published() -> None:
    assert PUBLISHED == ["evidence-digits-dirichlet", "evidence-digits20", "evidence-openmoji-lora"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_lds_of_the_table_from_the_measurements(name: str) -> None:
    told = lds_by_the_page(DOCS / name)
    section = (DOCS / f"{name}.md").read_text().partition("### Table 1")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| \**([^|*<]+?)\**(?:<br>[^|]+)? \| \**(−?[\d.]+)\** \|", section, re.MULTILINE)
    published = {label: float(score.replace("−", "-")) for label, score in rows}
    assert {*told} == {*TABLE_1_LABELS, NUMBER_OF_IMAGES, *FURTHER.get(name, ())} and len(published) == len(told)
    for attribution, score in told.items():
        assert round(100 * score, 1) == published[attribution_label(attribution)], attribution


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_short_cut_itself_and_the_nearest_sum_from_the_measurements(name: str) -> None:
    measured = pd.read_parquet(DOCS / name / "measurements.parquet")
    retrained, finetuned = (measured[measured["method"] == m] for m in ("retraining", "sparsified_finetuning"))
    n = len(pd.read_parquet(DOCS / name / "attributions.parquet"))
    section = (DOCS / f"{name}.md").read_text().partition("### What a sum")[2].partition("\n### ")[0]
    alphas = [float(alpha) for alpha in re.findall(r"α = ([\d.]+) \|", section)]
    judges = [HeldOut.of(retrained, alpha, n) for alpha in alphas]
    known = short_cut_table(finetuned, judges, derive_seed(0, "bootstrap")).set_index(["prediction", "alpha"])
    assert 0.5 in alphas
    for prediction, label in (("v", "Sparsified FT itself"), ("sum", "The nearest sum of contributors")):
        (row,) = re.findall(rf"^\| {label}<br>[^|]+ \| (.+) \|$", section, re.MULTILINE)
        for alpha, printed in zip(alphas, row.split(" | "), strict=True):
            score, low, high = 100 * known.loc[(prediction, alpha), ["lds", "low", "high"]].astype(float)
            assert printed.replace("−", "-") == f"{score:.1f}<br>{low:.1f} to {high:.1f}"
