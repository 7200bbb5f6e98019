"""What sparsified fine-tuning itself predicts: Spearman's correlation of v(S), by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from shapley_core.evaluation.judgement import HeldOut
from shapley_core.evaluation.short_cut import COLUMNS, nearest_sum, short_cut_table

RNG = np.random.default_rng(0)
HALVES = np.unique(RNG.permuted(np.arange(8) < np.full((60, 1), 4), axis=1), axis=0)[:30]
JUDGE = HeldOut(0.5, HALVES, RNG.normal(size=30), np.arange(30) % 3)


def measured(v: np.ndarray, coalitions: np.ndarray = HALVES) -> pd.DataFrame:
    members = [np.flatnonzero(row).tolist() for row in coalitions]
    return pd.DataFrame({"members": members, "value": v, "purpose": "held_out", "status": "ok"})


def test_it_is_the_rank_correlation_of_the_same_coalitions_a_mean_over_the_sets() -> None:
    v = JUDGE.utilities + RNG.normal(size=30)
    order = RNG.permutation(30)  # the two tables need not be in one order
    row, _ = short_cut_table(measured(v[order], HALVES[order]), [JUDGE], seed=0).to_dict("records")
    by_hand = [spearmanr(v[k::3], JUDGE.utilities[k::3]).statistic for k in range(3)]
    assert row["lds"] == pytest.approx(np.mean(by_hand))
    assert row["low"] < row["lds"] < row["high"] and (row["alpha"], row["n_coalitions"]) == (0.5, 30)


def test_no_sum_stands_between() -> None:
    """What no sum of contributors can say, the short cut may see all the same."""
    pairs = (HALVES[:, ::2] & HALVES[:, 1::2]).sum(axis=1) + 0.001 * np.arange(30)
    judge = HeldOut(0.5, HALVES, pairs, np.zeros(30, dtype=np.int64))
    table = short_cut_table(measured(pairs**3), [judge], seed=0).set_index("prediction")
    assert table.loc["v", "lds"] == pytest.approx(1.0)
    assert table.loc["sum", "high"] < 0.9


def test_the_nearest_sum_is_that_of_an_ordinary_regression_and_never_sees_the_judges() -> None:
    v = RNG.normal(size=30)
    features = np.column_stack([np.ones(30), HALVES])[:, :-1]  # of one size: the last follows from the others
    by_normal_equations = features @ np.linalg.solve(features.T @ features, features.T @ v)
    np.testing.assert_allclose(nearest_sum(HALVES, v), by_normal_equations, atol=1e-10)
    table = short_cut_table(measured(v), [JUDGE], seed=0).set_index("prediction")
    by_hand = [spearmanr(by_normal_equations[k::3], JUDGE.utilities[k::3]).statistic for k in range(3)]
    assert table.loc["sum", "lds"] == pytest.approx(np.mean(by_hand))


def test_a_sum_loses_nothing_to_itself() -> None:
    tau = RNG.normal(size=8)
    table = short_cut_table(measured(2 + HALVES @ tau), [JUDGE], seed=0)
    np.testing.assert_allclose(table["lds"], table["lds"][0])


def test_what_was_not_measured_is_left_out() -> None:
    v = JUDGE.utilities.copy()
    v[:3] = np.nan
    table = measured(v).assign(status=["ok"] * 27 + ["failed"] * 3)
    assert short_cut_table(table, [JUDGE], seed=0)["n_coalitions"].tolist() == [24, 24]
    for nothing in (table.iloc[:0], table.assign(purpose="fit"), table.iloc[:5]):
        left = short_cut_table(nothing, [JUDGE], seed=0)
        assert left.empty and [*left] == COLUMNS and left["lds"].dtype == float
