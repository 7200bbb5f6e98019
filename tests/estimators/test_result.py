"""The result type: ranks, shares, and the files it becomes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from closed_form import measure
from hypothesis import given
from hypothesis import strategies as st

from shapley_core.estimators.result import Attribution, attribute

RESULT = Attribution(
    contributors=("cleo", "ada", "bo", "dora"),
    values=np.array([1.0, 3.0, 1.0, -1.0]),
    std_errors=np.array([0.5, 0.25, np.nan, np.inf]),
    ci_low=np.array([0.0, 2.5, np.nan, -np.inf]),
    ci_high=np.array([2.0, 3.5, np.nan, np.inf]),
    null_value=2.0,
    full_value=6.0,
    property="score",
    design="paired",
    estimator="kernel_shap",
    n_coalitions=64,
    confidence=0.95,
    diagnostics={"rank": np.int64(3), "r_squared": np.float64(np.nan), "warnings": ["a sentence"]},
)


def test_ranks_and_shares():
    assert RESULT.ranks.tolist() == [3, 1, 2, 4]  # bo before cleo by name
    assert RESULT.shares.tolist() == [0.25, 0.75, 0.25, -0.25]


@pytest.mark.parametrize(("null", "full"), [(2.0, 2.0), (0.1 + 0.2, 0.3), (0.0, 0.0)])
def test_there_are_no_shares_of_nothing(null, full):
    assert np.isnan(replace(RESULT, null_value=null, full_value=full).shares).all()


def test_shares_of_little_are_shares():
    tiny = replace(RESULT, values=np.array([1e-9, 2e-9, 0, 0]), null_value=0.0, full_value=3e-9)
    np.testing.assert_allclose(tiny.shares, [1 / 3, 2 / 3, 0, 0])


@pytest.mark.parametrize(("n", "difference", "warned"), [(2, 1.95, 1), (2, 1.97, 0), (3, 2.38, 1), (3, 2.40, 0)])
def test_two_are_told_apart_by_a_difference_either_way(n, difference, warned):
    """A standard error of 1: the normal distribution's 97.5th percentile is 1.960, that of three pairs 2.394."""
    values = np.array([difference, *[difference / 2] * (n - 2), 0.0])
    game = measure(lambda z: z @ values, n)
    found = attribute(game, "kernel_shap", values, np.eye(n) / 2, 1e9, 0.95, {}, [])
    assert len(found.diagnostics["warnings"]) == warned


def test_dictionary_is_the_content_of_values_json():
    content = RESULT.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["contributors"] == [
        {"contributor": "ada", "value": 3.0, "std_error": 0.25, "ci_low": 2.5, "ci_high": 3.5}
        | {"rank": 1, "share": 0.75},
        {"contributor": "bo", "value": 1.0, "std_error": None, "ci_low": None, "ci_high": None}
        | {"rank": 2, "share": 0.25},
        {"contributor": "cleo", "value": 1.0, "std_error": 0.5, "ci_low": 0.0, "ci_high": 2.0}
        | {"rank": 3, "share": 0.25},
        {"contributor": "dora", "value": -1.0, "std_error": None, "ci_low": None, "ci_high": None}
        | {"rank": 4, "share": -0.25},
    ]
    del content["contributors"]
    assert content == {
        "null_value": 2.0,
        "full_value": 6.0,
        "property": "score",
        "design": "paired",
        "estimator": "kernel_shap",
        "n_coalitions": 64,
        "confidence": 0.95,
        "diagnostics": {"rank": 3, "r_squared": None, "warnings": ["a sentence"]},
    }


def test_frame_holds_the_same_rows():
    frame = RESULT.to_frame()
    assert list(frame.columns) == ["contributor", "value", "std_error", "ci_low", "ci_high", "rank", "share"]
    assert list(frame["contributor"]) == ["ada", "bo", "cleo", "dora"]
    assert frame["ci_high"].iloc[-1] == np.inf


@given(st.lists(st.integers(-3, 3), min_size=4, max_size=4))
def test_ranks_order_the_values(values):
    result = replace(RESULT, values=np.array(values, dtype=float))
    assert sorted(result.ranks) == [1, 2, 3, 4]
    by_rank = [(-v, name) for _, v, name in sorted(zip(result.ranks, values, result.contributors, strict=True))]
    assert by_rank == sorted(by_rank)
