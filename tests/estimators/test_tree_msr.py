"""Trees as a surrogate: the Shapley values of a tree, and what the correction makes of them."""

import builtins
from math import factorial
from types import SimpleNamespace

import numpy as np
import pytest
from closed_form import GAMES, measure, play, random_game
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.tree import DecisionTreeRegressor

from shapley_core.errors import UserError
from shapley_core.estimators import exact, get_estimator
from shapley_core.estimators.tree_msr import _BOOSTING, tree_shapley


def test_a_leaf_by_hand():
    # Worth 12 to coalitions with 0 and 2 and without 3. Two of the 6 orders of these three have 3 last: in one 0 and in
    # the other 2 completes the pair, and in both 3 takes the 12 away again.
    tree = SimpleNamespace(
        children_left=[1, -1, 3, -1, 5, -1, -1],
        children_right=[2, -1, 4, -1, 6, -1, -1],
        feature=[0, -2, 2, -2, 3, -2, -2],
        value=np.array([0, 0, 0, 0, 0, 12.0, 0]),
    )
    np.testing.assert_allclose(tree_shapley(tree, 5), [2, 0, 2, -4, 0])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 6))
def test_values_of_a_tree_are_its_shapley_values(seed, depth, n):
    z = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(float)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 2, size=(40, n)).astype(float)
    tree = DecisionTreeRegressor(max_depth=depth, random_state=0).fit(drawn, rng.normal(size=40))
    u = tree.predict(z)
    size = np.bitwise_count(np.arange(2**n))
    expected = [
        sum(
            factorial(size[s]) * factorial(n - 1 - size[s]) / factorial(n) * (u[s | 1 << i] - u[s])
            for s in range(2**n)
            if not s >> i & 1
        )
        for i in range(n)
    ]
    np.testing.assert_allclose(tree_shapley(tree.tree_, n), expected, atol=1e-12)


def test_boosted_trees_add_up():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, size=(60, 5)).astype(float)
    trees = GradientBoostingRegressor(n_estimators=7, learning_rate=0.3).fit(z, rng.normal(size=60))
    as_game = measure(lambda rows: trees.predict(rows.astype(float)), 5)
    values = 0.3 * np.sum([tree_shapley(one.tree_, 5) for one in trees.estimators_[:, 0]], axis=0)
    np.testing.assert_allclose(values, exact(as_game).values, atol=1e-12)


@pytest.mark.parametrize("design", ["stratified", "leverage"])
def test_the_trees_do_not_bias_the_values(monkeypatch, design):
    # Few trees that learn everything by heart: the worst there are, and quickly grown.
    monkeypatch.setitem(_BOOSTING, "n_estimators", 3)
    monkeypatch.setitem(_BOOSTING, "learning_rate", 1.0)
    monkeypatch.setitem(_BOOSTING, "max_depth", 9)
    n, v = 6, random_game(6, 3)
    truth = exact(measure(v, n)).values
    games = [measure(v, n, design, 40, seed) for seed in range(300)]
    estimates = np.array([get_estimator("tree_msr")(game, seed=seed).values for seed, game in enumerate(games)])
    error = estimates.mean(axis=0) - truth
    assert (np.abs(error) < 4 * estimates.std(axis=0) / np.sqrt(300)).all()


def test_trees_find_what_saturates():
    closed = GAMES["saturating"](12)

    def error(name):
        games = [play(closed, "leverage", 200, seed) for seed in range(6)]
        return np.mean([np.sum((get_estimator(name)(game).values - closed.values) ** 2) for game in games])

    assert error("tree_msr") < 0.8 * error("regression_msr")


def test_the_seed_is_all_that_chance_hangs_on():
    game = play(GAMES["airport"](8), "iid", 80, 1, noise=0.5)
    one, again = (get_estimator("tree_msr")(game, seed=2**60 + 1) for _ in range(2))
    np.testing.assert_array_equal(one.values, again.values)


def test_without_scikit_learn_the_sentence_says_so(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    game = measure(random_game(6, 0), 6, "leverage", 40)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"scikit-learn, which is not installed here.*'regression_msr'"):
        get_estimator("tree_msr")(game)
