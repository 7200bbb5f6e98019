"""What a published report says of each method follows from the measurements that are published beside it."""

import re
from pathlib import Path

import pytest
from evaluations import lds_by_the_page

from shapley_core.evaluation.labels import TABLE_1_LABELS, attribution_label
from shapley_core.evaluation.result import NUMBER_OF_IMAGES

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = sorted(path.parent.name for path in DOCS.glob("evidence-*/measurements.parquet"))


def test_measurements_are_published() -> None:
    assert PUBLISHED == ["evidence-digits-dirichlet", "evidence-digits20"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_lds_of_the_table_from_the_measurements(name: str) -> None:
    told = lds_by_the_page(DOCS / name)
    section = (DOCS / f"{name}.md").read_text().partition("### Table 1")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| \**([^|*<]+?)\**(?:<br>[^|]+)? \| \**(−?[\d.]+)\** \|", section, re.MULTILINE)
    published = {label: float(score.replace("−", "-")) for label, score in rows}
    assert {*told} == {*TABLE_1_LABELS, NUMBER_OF_IMAGES} and len(published) == len(told)
    for attribution, score in told.items():
        assert round(100 * score, 1) == published[attribution_label(attribution)], attribution
