"""Who the top contributors are: the comparison against SciPy's t test, and that it is not fooled by chance."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from shapley_core.contributor_facts import ContributorFacts, Label
from shapley_core.estimators.result import Attribution
from shapley_core.reporting.top_contributors import top_contributors


def attribution(values: np.ndarray, std_error: float) -> Attribution:
    n = len(values)
    return Attribution(
        contributors=tuple(f"artist {i:02d}" for i in range(n)),
        values=values,
        std_errors=np.full(n, std_error),
        ci_low=values - 2 * std_error,
        ci_high=values + 2 * std_error,
        null_value=0.0,
        full_value=float(values.sum()),
        property="colourfulness",
        design="paired",
        estimator="odd_ridge",
        n_coalitions=100,
        confidence=0.95,
        diagnostics={},
        covariance=std_error**2 * np.eye(n),
    )


def facts(**columns: np.ndarray) -> ContributorFacts:
    """Facts in an order of rows that is not that of the values."""
    n = len(next(iter(columns.values())))
    table = pd.DataFrame({"contributor": [f"artist {i:02d}" for i in range(n)], **columns, "thumbnails": [[]] * n})
    return ContributorFacts(table[::-1], {name: Label(name, "number") for name in columns})


@pytest.mark.parametrize(("n", "k"), [(6, 1), (10, 2), (20, 4), (258, 52)])
def test_known_values_leave_the_t_test(n: int, k: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(size=n)
    columns = {"lightness": rng.normal(size=n), "size": rng.integers(1, 100, n).astype(float)}
    result = top_contributors(attribution(values, 0.0), facts(**columns))
    order = np.argsort(-values)
    assert result.names == tuple(f"artist {i:02d}" for i in order[:k])
    for row, numbers in zip(result.comparisons, columns.values(), strict=True):
        top, others = numbers[order[:k]], numbers[order[k:]]
        assert (row.top, row.others) == (pytest.approx(top.mean()), pytest.approx(others.mean()))
        if k > 1:
            expected = stats.ttest_ind(top, others).confidence_interval(1 - 0.05 / 2)  # two facts
        else:  # SciPy wants two in each group
            reach = stats.t.ppf(1 - 0.05 / 4, n - 2) * np.sqrt(others.var(ddof=1) * (1 + 1 / (n - 1)))
            expected = (top.mean() - others.mean() - reach, top.mean() - others.mean() + reach)
        assert (row.low, row.high) == pytest.approx(tuple(expected))


def test_a_difference_is_found_where_the_values_are_known_well_enough() -> None:
    values = np.arange(20.0)
    lightness = values + np.random.default_rng(0).normal(size=20)
    known = top_contributors(attribution(values, 0.5), facts(lightness=lightness)).comparisons[0]
    vague = top_contributors(attribution(values, 50.0), facts(lightness=lightness)).comparisons[0]
    assert known.tells
    assert not vague.tells
    assert vague.high - vague.low > known.high - known.low


def test_what_has_nothing_to_do_with_the_values_is_seldom_found() -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(100):
        columns = {name: rng.normal(size=10) for name in "abcde"}
        result = top_contributors(attribution(rng.normal(size=10), 0.3), facts(**columns))
        found += any(row.tells for row in result.comparisons)
    assert found / 100 <= 0.08  # at most 0.05 in the long run


def test_nothing_is_said_without_a_covariance_or_of_two() -> None:
    blind = replace(attribution(np.arange(10.0), 0.0), covariance=None)
    for values, n in ((blind, 10), (attribution(np.arange(2.0), 0.0), 2)):
        row = top_contributors(values, facts(lightness=np.arange(float(n)))).comparisons[0]
        assert np.isnan([row.low, row.high]).all()
        assert not row.tells
