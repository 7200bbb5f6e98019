"""Interactions as errors that hang together: the features' inner products, the variances, and what is gained."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from closed_form import measure, moebius, play, random_game

from shapley_core.estimators import get_estimator
from shapley_core.estimators.exact import shapley_values
from shapley_core.estimators.interactions import (
    generalised,
    restricted_likelihood,
    second_order,
    similarity_of_units,
    third_order,
)
from shapley_core.estimators.regression import Contrasts
from shapley_core.games.designs.by_size import kernel_weight_by_size

ALL = np.arange(2**6)[:, None] >> np.arange(6) & 1 == 1


def features(membership, order):
    sign = 2.0 * membership - 1
    sets = combinations(range(membership.shape[1]), order)
    taken_off = {2: lambda s: np.ones(len(s)), 3: lambda s: s.sum(axis=1) / 3}[order]
    return np.array([sign[:, list(t)].prod(axis=1) - taken_off(sign[:, list(t)]) for t in sets]).T


@pytest.mark.parametrize(("order", "similarity"), [(2, second_order), (3, third_order)])
def test_inner_products_are_those_of_the_features(order, similarity):
    q = features(ALL, order)
    np.testing.assert_allclose(similarity(ALL), q @ q.T, atol=1e-9)


@pytest.mark.parametrize("order", [2, 3])
def test_features_give_nobody_anything(order):
    for q in features(ALL, order).T:
        assert q[0] == pytest.approx(q[-1], abs=1e-12)
        np.testing.assert_allclose(shapley_values(q), 0, atol=1e-12)


def test_lone_coalitions_have_the_second_order_besides():
    lone = np.array([True, False] * 10)
    membership, weight = ALL[1:21], np.linspace(0.5, 1.5, 20)
    third, second = third_order(membership), second_order(membership[lone])
    expected = third * (20 / np.trace(third))
    expected[np.ix_(lone, lone)] += second * (10 / np.trace(second))
    expected *= np.sqrt(np.outer(weight, weight))
    found = similarity_of_units(membership, lone, weight)
    np.testing.assert_allclose(found, expected * (20 / np.trace(expected)), atol=1e-12)


def test_two_contributors_have_no_third_order():
    assert similarity_of_units(np.array([[True, False]]), np.array([False]), np.ones(1)) is None


def test_too_many_to_fit_are_left_alone(monkeypatch):
    known = moebius(12)
    game = play(known, "leverage", 200, 0)
    fitted = get_estimator("odd_ridge")(game)
    monkeypatch.setattr("shapley_core.estimators.interactions.MOST_CONTRIBUTORS", 11)
    plain = get_estimator("odd_ridge")(game)
    assert fitted.diagnostics["interaction_share"] > plain.diagnostics["interaction_share"] == 0
    assert np.abs(fitted.values - plain.values).max() > 1e-4
    monkeypatch.undo()
    monkeypatch.setattr("shapley_core.estimators.interactions.MOST_UNITS", 99)
    np.testing.assert_array_equal(get_estimator("odd_ridge")(game).values, plain.values)


@pytest.mark.parametrize("design", ["iid", "leverage"])
@pytest.mark.parametrize("name", ["odd_ridge", "polyshap"])
def test_what_is_read_does_not_hang_on_the_order_of_rows(monkeypatch, name, design):
    game = measure(third, 10, design, 300, noise=0.5)
    monkeypatch.setattr("shapley_core.estimators.interactions._UNITS_FOR_RATIO", 40)
    order = np.random.default_rng(0).permutation(300)
    other = replace(
        game, **{field: getattr(game, field)[order] for field in ("membership", "values", "weight", "pair")}
    )
    one, two = get_estimator(name)(game), get_estimator(name)(other)
    np.testing.assert_allclose(two.values, one.values, rtol=1e-9)
    np.testing.assert_allclose(two.std_errors, one.std_errors, rtol=1e-9)


def test_variances_are_found():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    basis = rng.normal(size=(300, 40))
    similarity = basis @ basis.T * (300 / np.trace(basis @ basis.T))
    ratios, variances = [], []
    for _ in range(20):
        errors = 0.5 * (
            rng.normal(size=300)
            + np.sqrt(2.0) * np.linalg.cholesky(similarity + 1e-9 * np.eye(300)) @ rng.normal(size=300)
        )
        ratio, variance = restricted_likelihood(x, x @ np.ones(4) + errors, similarity)
        ratios.append(ratio)
        variances.append(variance)
    assert np.median(ratios) == pytest.approx(2, rel=0.2)
    assert np.mean(variances) == pytest.approx(0.25, rel=0.05)


def test_a_column_twice_costs_a_degree_of_freedom_and_tells_nothing():
    """As of two who were in the same coalitions throughout."""
    rng = np.random.default_rng(1)
    x, basis = rng.normal(size=(300, 4)), rng.normal(size=(300, 40))
    similarity = basis @ basis.T * (300 / np.trace(basis @ basis.T))
    y = x @ np.ones(4) + rng.normal(size=300)
    once, twice = (restricted_likelihood(rows, y, similarity) for rows in (x, np.hstack([x, x[:, :1]])))
    assert twice == pytest.approx(once, rel=0.05)


def test_a_part_of_the_units_tells_the_ratio_of_all(monkeypatch):
    v = random_game(10, 0)
    game = measure(lambda z: 20 * third(z) + v(z), 10, "leverage", 800)
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    similarity = similarity_of_units(game.membership[rows.row], rows.lone, rows.weight)
    _, by_all = generalised(rows.spectrum(), similarity.copy())
    monkeypatch.setattr("shapley_core.estimators.interactions._UNITS_FOR_RATIO", 200)
    _, by_part = generalised(rows.spectrum(), similarity.copy())
    assert by_part != by_all
    assert by_part / (1 + by_part) == pytest.approx(by_all / (1 + by_all), abs=0.1)


def third(z):
    return (z[:, 0] & z[:, 1] & z[:, 2]).astype(float) - (z[:, 3] & z[:, 4] & z[:, 5])


@pytest.mark.parametrize("design", ["paired", "leverage"])
def test_interactions_of_three_are_taken_off(design):
    """Three who are worth something together only, and three who are in each other's way: no noise, many coalitions."""
    expected = np.array([1, 1, 1, -1, -1, -1, 0, 0]) / 3
    errors = {name: [] for name in ("odd_ridge", "leverage_shap")}
    for seed in range(10):
        game = measure(third, 8, design, 160, seed)
        for name, found in errors.items():
            found.append(np.mean((get_estimator(name)(game).values - expected) ** 2))
    assert np.mean(errors["odd_ridge"]) < 0.3 * np.mean(errors["leverage_shap"])


def test_the_whole_table_stays_exact():
    v = random_game(6, 1)
    game = measure(v, 6, "leverage", 62)
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    similarity = similarity_of_units(game.membership[rows.row], rows.lone, rows.weight)
    spectrum, ratio = generalised(rows.spectrum(), similarity)
    assert ratio > 0
    np.testing.assert_allclose(rows.values(spectrum.coefficients()), shapley_values(v(ALL)), atol=1e-9)
