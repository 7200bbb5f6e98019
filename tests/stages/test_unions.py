"""Values by two levels: contributors that belong to unions (an agency's artists) are valued within them."""

import json
from pathlib import Path

import jsonschema
import pytest
import torch
from tiny import TINY

from shapley_core.errors import UserError
from shapley_core.games.plan import Plan
from shapley_core.stages.chain import Chain, value

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
UNIONS = {f"digit {i}": ("round" if i in (0, 6, 8, 9) else "straight") for i in range(10)}
TWO_LEVEL = TINY | {"game.design": "two_level", "game.unions": UNIONS, "game.n_coalitions": 30}


def test_no_coalition_has_parts_of_two_unions_and_values_add_up(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    results = value(tmp_path, TWO_LEVEL)
    plan = Plan.load(tmp_path / "plan")
    unions = [
        {i for i, name in enumerate(plan.contributors) if UNIONS[name] == union} for union in ("round", "straight")
    ]
    for members in plan.table["members"]:
        assert sum(0 < len(union & set(members)) < len(union) for union in unions) <= 1
    result = json.loads((results / "values.json").read_text())
    assert result["estimator"] == "owen"
    total = sum(row["value"] for row in result["contributors"])
    assert total == pytest.approx(result["full_value"] - result["null_value"])
    jsonschema.validate(result, json.loads((SCHEMAS / "values.schema.json").read_text()))
    of_members = dict.fromkeys(UNIONS.values(), 0.0)
    for row in result["contributors"]:
        of_members[UNIONS[row["contributor"]]] += row["value"]
    assert {row["union"]: row["value"] for row in result["unions"]} == pytest.approx(of_members)
    assert "What each union is worth" in (results / "report.html").read_text()


@pytest.mark.parametrize(
    ("unions", "sentence"),
    [
        (None, r"name the union of each \(game.unions\)"),
        ({"digit 0": "a"}, "the contributor digit 1 belongs to no union, and 8 more do not"),
        (UNIONS | {"digit 11": "a"}, "game.unions names 'digit 11', and there is no such contributor; did you mean"),
    ],
)
def test_unions_that_do_not_fit_are_told_before_anything_is_trained(
    unions: dict[str, str] | None, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        Chain(tmp_path, str(tmp_path / "store")).prepare("digits", TWO_LEVEL | {"game.unions": unions})
