"""What docs/evidence-digits20.md says of each method follows from the measurements that are published beside it."""

import re
from pathlib import Path

from evaluations import lds_by_the_page

from shapley_core.evaluation.labels import TABLE_1_LABELS

DOCS = Path(__file__).parents[2] / "docs"


def test_every_lds_of_the_table_from_the_measurements() -> None:
    told = lds_by_the_page(DOCS / "evidence-digits20")
    section = (DOCS / "evidence-digits20.md").read_text().partition("### Table 1")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| \**([^|*<]+?)\**(?:<br>[^|]+)? \| \**(−?[\d.]+)\** \|", section, re.MULTILINE)
    published = {label: float(score.replace("−", "-")) for label, score in rows}
    assert len(published) == len(told) == 17
    for name, score in told.items():
        assert round(100 * score, 1) == published[TABLE_1_LABELS[name]], name
