"""docs/schemas: what is written is what the schemas promise, and they notice when it is not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from shapley_core.games.utilities import UTILITY_SCHEMA

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def written(data: Any) -> dict[str, Any]:
    """values.json as it is read by another program: strict JSON, without NaN."""
    text = json.dumps({**data.attribution.to_dict(), "seconds": dict(data.stage_seconds)}, allow_nan=False)
    return json.loads(text)


@pytest.mark.parametrize(
    ("estimator", "design", "n_coalitions"),
    [
        ("kernel_shap", "paired", 24),
        ("kernel_shap", "iid", 7),
        ("exact", "exhaustive", 62),
        ("stratified", "stratified", 30),
        ("permutation", "permutation", 30),
        ("banzhaf_msr", "uniform", 24),
        ("banzhaf_regression", "uniform", 24),
        ("beta_shapley", "stratified", 30),
        ("leave_one_out", "leave_one_out", 6),
    ],
)
def test_values_json(valuation, estimator, design, n_coalitions):
    values = written(valuation(n_coalitions=n_coalitions, design=design, estimator=estimator))
    validator("values").validate(values)
    total = sum(row["value"] for row in values["contributors"])
    if "sum_of_values" in values["diagnostics"]:
        assert values["diagnostics"]["sum_of_values"] == pytest.approx(total)
        assert f"`{estimator}`" in (SCHEMAS.parent / "results.md").read_text()
    else:
        assert total == pytest.approx(values["full_value"] - values["null_value"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: values.pop("seconds"),
        lambda values: values.pop("null_value"),
        lambda values: values.update(full_value=None),
        lambda values: values.update(n_coalitions=2.5),
        lambda values: values.update(confidence=95),
        lambda values: values["contributors"][0].pop("share"),
        lambda values: values["contributors"][0].update(rank=0),
        lambda values: values["contributors"][0].update(value=None),
        lambda values: values["contributors"][0].update(ci_lo=1.0),
        lambda values: values.update(contributors={}),
    ],
)
def test_damaged_values_json_is_noticed(valuation, damage: Callable[[dict[str, Any]], Any]):
    values = written(valuation())
    damage(values)
    with pytest.raises(ValidationError):
        validator("values").validate(values)


def test_utility_rows(valuation):
    utilities = valuation(failed=[(4, "out of memory")]).utilities
    schema = validator("utilities")
    assert set(schema.schema["properties"]) == set(UTILITY_SCHEMA.names)
    rows = json.loads(utilities.replace({np.nan: None}).to_json(orient="records"))
    assert len(rows) == 26
    for row in rows:
        schema.validate(row)
    for damage in ({"value": None}, {"key": "short"}, {"seed": -1}, {"status": ""}, {"more": 1}):
        with pytest.raises(ValidationError):
            schema.validate({**rows[0], **damage})
