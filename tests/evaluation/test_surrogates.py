"""What adding up loses: the regressions on contributors and pairs against dense ones, and on games that are known."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from shapley_core.evaluation.judgement import HeldOut
from shapley_core.evaluation.surrogates import COLUMNS, PENALTIES, predicted_utilities, surrogates_table
from shapley_core.games.measured import MeasuredGame


def game(membership: np.ndarray, values: np.ndarray) -> MeasuredGame:
    m, n = membership.shape
    return MeasuredGame(
        contributors=tuple(f"c{i}" for i in range(n)),
        membership=membership,
        values=values,
        weight=np.ones(m),
        pair=np.full(m, -1),
        null_value=0.0,
        full_value=1.0,
        property="score",
        design="uniform",
        n_planned=m,
    )


def features(membership: np.ndarray, order: int) -> np.ndarray:
    signs = np.where(membership, 1.0, -1.0)
    sets = [t for k in range(1, order + 1) for t in itertools.combinations(range(membership.shape[1]), k)]
    return np.column_stack([signs[:, t].prod(axis=1) for t in sets])


@pytest.mark.parametrize("order", [1, 2])
def test_it_is_the_ridge_regression_on_features_with_the_smallest_leave_one_out_error(order: int) -> None:
    rng = np.random.default_rng(order)
    membership, others = rng.random((25, 6)) < 0.5, rng.random((9, 6)) < 0.5
    values = features(membership, 2) @ rng.normal(size=21) + rng.normal(size=25)
    x = features(membership, order)
    scale = np.sum((x - x.mean(axis=0)) ** 2) / len(x)
    errors = {}
    for penalty in PENALTIES * scale:
        left_out = [np.delete(np.arange(25), i) for i in range(25)]
        fits = [Ridge(alpha=penalty).fit(x[rest], values[rest]) for rest in left_out]
        errors[penalty] = sum((values[i] - fit.predict(x[[i]])[0]) ** 2 for i, fit in enumerate(fits))
    best = Ridge(alpha=min(errors, key=lambda penalty: errors[penalty])).fit(x, values)
    predicted = predicted_utilities(game(membership, values), others, order)
    np.testing.assert_allclose(predicted, best.predict(features(others, order)), rtol=1e-8)


def test_substitutes_are_seen_by_pairs_and_not_by_a_sum() -> None:
    """Twenty contributors, each of ten things from two of them; a coalition is worth the number of its things."""
    rng = np.random.default_rng(0)
    rows = rng.permuted(np.arange(20) < np.arange(1, 20).repeat(30)[:, None], axis=1)
    worth = (rows[:, ::2] | rows[:, 1::2]).sum(axis=1).astype(float)
    halves = rng.permuted(np.arange(20) < np.full((60, 1), 10), axis=1)
    truth = (halves[:, ::2] | halves[:, 1::2]).sum(axis=1)
    known = game(rows, worth)
    np.testing.assert_allclose(predicted_utilities(known, halves, 2), truth, atol=0.01)
    assert abs(spearmanr(predicted_utilities(known, halves, 1), truth).statistic) < 0.5
    judge = HeldOut(0.5, halves, truth.astype(float), np.arange(60) % 3)
    table = surrogates_table(known, [judge], seed=0).set_index("order")
    assert table.loc[2, "gain"] == pytest.approx(table.loc[2, "lds"] - table.loc[1, "lds"])
    assert table.loc[2, "gain_low"] > 0 and np.isnan(table.loc[1, "gain"])
    assert (table["low"] < table["lds"]).all() and (table["lds"] <= table["high"]).all()


def test_a_sum_is_seen_by_both() -> None:
    rng = np.random.default_rng(1)
    rows, halves = rng.random((200, 12)) < 0.5, rng.permuted(np.arange(12) < np.full((40, 1), 6), axis=1)
    worth = rng.normal(size=12)
    for order in (1, 2):
        predicted = predicted_utilities(game(rows, rows @ worth), halves, order)
        np.testing.assert_allclose(predicted, halves @ worth, atol=0.02)


def test_few_and_constant_coalitions_predict_nothing() -> None:
    rows = np.eye(4, dtype=bool)
    for known in (game(rows[:1], np.ones(1)), game(rows, np.full(4, 2.0))):
        np.testing.assert_allclose(predicted_utilities(known, rows, 2), known.values[0])
    assert [*surrogates_table(None, [], seed=0)] == COLUMNS
