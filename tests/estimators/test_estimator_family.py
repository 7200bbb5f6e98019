"""The family of estimators: exact values, axioms, intervals, and which designs each takes."""

import importlib
from dataclasses import replace
from itertools import permutations
from math import comb, factorial

import numpy as np
import pytest
from closed_form import GAMES, airport, measure, moebius, play, random_game, sqrt_sum
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import beta as beta_function

from shapley_core.errors import UserError
from shapley_core.estimators import ESTIMATORS, estimators_for, get_estimator
from shapley_core.estimators.accept import FITTING_DESIGNS, check_design
from shapley_core.estimators.interactions import RATIOS
from shapley_core.estimators.regression import Contrasts, Spectrum, units
from shapley_core.estimators.result import Attribution, attribute
from shapley_core.estimators.size_curve import size_curve
from shapley_core.games.designs import DESIGNS
from shapley_core.games.designs.by_size import kernel_weight_by_size

N = 7
seeds = st.integers(0, 2**32 - 1)


def measured(v, design, seed=0, n=N, m=60, noise=0.0):
    return measure(v, n, design, m, seed, noise)


def mean_gains(v, n, weight_of_size):
    """Σ over the coalitions of the others of weight(size) · gain, contributor by contributor, word for word."""
    u = v((np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool))
    size = np.bitwise_count(np.arange(2**n))
    return np.array(
        [sum(weight_of_size(size[c]) * (u[c | 1 << i] - u[c]) for c in range(2**n) if not c >> i & 1) for i in range(n)]
    )


def shapley(v, n):
    return mean_gains(v, n, lambda s: factorial(s) * factorial(n - 1 - s) / factorial(n))


# --- exact values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("n", [5, 9])
def test_closed_forms_are_the_shapley_values(game, n):
    closed = GAMES[game](n, seed=2)
    np.testing.assert_allclose(closed.values, shapley(closed.v, n), atol=1e-10)


@pytest.mark.parametrize("name", ["leverage_shap", "polyshap", "stratified", "regression_msr", "tree_msr"])
@pytest.mark.parametrize("n", [4, 5, 7])
def test_all_coalitions_give_shapley_values(name, n):
    v = random_game(n, n)
    np.testing.assert_allclose(get_estimator(name)(measured(v, "exhaustive", n=n)).values, shapley(v, n), atol=1e-10)


def test_all_orders_give_shapley_values():
    n, v = 5, random_game(5, 3)
    game = replace(measured(v, "exhaustive", n=n), design="permutation", orders=np.array(list(permutations(range(n)))))
    np.testing.assert_allclose(get_estimator("permutation")(game).values, shapley(v, n), atol=1e-12)


@pytest.mark.parametrize("name", ["banzhaf_msr", "banzhaf_regression"])
@pytest.mark.parametrize("n", [3, 4, 7])
def test_all_coalitions_give_banzhaf_values(name, n):
    v = random_game(n, n)
    expected = mean_gains(v, n, lambda s: 2.0 ** (1 - n))
    np.testing.assert_allclose(get_estimator(name)(measured(v, "exhaustive", n=n)).values, expected, atol=1e-10)


@pytest.mark.parametrize(("alpha", "beta"), [(4.0, 1.0), (16.0, 1.0), (1.0, 1.0), (1.0, 4.0)])
def test_all_coalitions_give_beta_shapley_values(alpha, beta):
    # Kwon & Zou 2022, eq. 5: w(j) = n B(j + β - 1, n - j + α) / B(α, β) with j = s + 1, over n C(n - 1, s) coalitions.
    v = random_game(N, 1)
    expected = mean_gains(v, N, lambda s: beta_function(s + beta, N - 1 - s + alpha) / beta_function(alpha, beta))
    result = get_estimator("beta_shapley")(measured(v, "exhaustive"), alpha=alpha, beta=beta)
    np.testing.assert_allclose(result.values, expected, atol=1e-10)
    assert result.diagnostics["sum_of_values"] == pytest.approx(expected.sum())


@pytest.mark.parametrize("design", ["leave_one_out", "exhaustive"])
def test_leave_one_out_by_hand(design):
    # Gloves: two left (0, 1), one right (2). Without a left one a pair is left; without the right one nothing is.
    glove = lambda z: ((z[:, 0] | z[:, 1]) & z[:, 2]).astype(float)  # noqa: E731
    result = get_estimator("leave_one_out")(measured(glove, design, n=3))
    np.testing.assert_array_equal(result.values, [0, 0, 1])
    assert np.isnan(result.std_errors).all()
    assert "nothing can be said" in result.diagnostics["warnings"][0]


def test_leave_one_out_names_who_was_not_measured():
    game = measured(random_game(4, 0), "leave_one_out", n=4)
    with pytest.raises(UserError, match="everybody but c002 was not measured, and 1 more"):
        get_estimator("leave_one_out")(game.first(2))


def test_permutation_by_hand():
    # Runways for planes that need 1, 2 and 4. In order 0, 1, 2 they add 1, 1, 2; in order 2, 0, 1: 0, 0, 4.
    airport = lambda z: (z * [1, 2, 4]).max(axis=1)  # noqa: E731
    game = replace(measured(airport, "exhaustive", n=3), design="permutation", orders=np.array([[0, 1, 2], [2, 0, 1]]))
    result = get_estimator("permutation")(game)
    np.testing.assert_allclose(result.values, [0.5, 0.5, 3])
    np.testing.assert_allclose(result.std_errors, [0.5, 0.5, 1])


def test_an_order_with_a_hole_is_left_out():
    game = measured(random_game(N, 0), "permutation", m=40)
    k = len(game.orders)
    # A coalition that the first order meets, and no other.
    path = [np.isin(np.arange(N), game.orders[0][:s]) for s in range(1, N)]
    met_once = [row for row in path if game.weight[(game.membership == row).all(axis=1)] == 1]
    kept = ~(game.membership == met_once[0]).all(axis=1)
    holed = replace(
        game, membership=game.membership[kept], values=game.values[kept], weight=game.weight[kept], pair=game.pair[kept]
    )
    whole = replace(game, orders=game.orders[1:])
    assert get_estimator("permutation")(holed).diagnostics["n_orders"] == k - 1
    np.testing.assert_allclose(get_estimator("permutation")(holed).values, get_estimator("permutation")(whole).values)
    with pytest.raises(UserError, match="no order of joining"):
        get_estimator("permutation")(game.first(3))


@pytest.mark.parametrize("name", ["leverage_shap", "polyshap", "odd_ridge", "regression_msr", "banzhaf_regression"])
def test_an_additive_game_is_recovered(name):
    worth = np.arange(N) - 2.0
    result = get_estimator(name)(measured(lambda z: 3 + z @ worth, FITTING_DESIGNS[name][0]))
    np.testing.assert_allclose(result.values, worth, atol=1e-5)


def test_interactions_are_regressed_out_without_pairs():
    closed = moebius(N, seed=1)
    quadratic = lambda z: z @ closed.values + 3.0 * z[:, 0] * z[:, 1] - 2.0 * z[:, 2] * z[:, 5]  # noqa: E731
    expected = closed.values + np.array([1.5, 1.5, -1, 0, 0, -1, 0])
    game = measured(quadratic, "iid", m=60)
    np.testing.assert_allclose(get_estimator("polyshap")(game).values, expected, atol=1e-4)
    assert np.abs(get_estimator("leverage_shap")(game).values - expected).max() > 0.01


def test_polyshap_of_pairs_is_leverage_shap():
    game = measured(random_game(N, 2), "leverage")
    one, other = get_estimator("polyshap")(game), get_estimator("leverage_shap")(game)
    np.testing.assert_allclose(one.values, other.values, atol=1e-10)
    np.testing.assert_allclose(one.std_errors, other.std_errors, atol=1e-10)


def test_polyshap_is_generalised_least_squares_by_its_dense_formulas():
    game = play(moebius(8, seed=3), "iid", 60, 2, noise=0.3)
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    x, y = rows.x * np.sqrt(rows.weight)[:, None], rows.target * np.sqrt(rows.weight)
    half = game.membership - 0.5
    features = np.array([half[:, i] * half[:, j] - 0.25 for i in range(8) for j in range(i)]).T
    features *= np.sqrt(rows.weight)[:, None]
    similarity = features @ features.T
    similarity *= len(y) / np.trace(similarity)
    # The restricted likelihood as in textbooks, with σ² profiled out.
    scores = []
    for ratio in RATIOS:
        v = np.eye(len(y)) + ratio * similarity
        normal = x.T @ np.linalg.solve(v, x)
        residual = y - x @ np.linalg.solve(normal, x.T @ np.linalg.solve(v, y))
        rss = residual @ np.linalg.solve(v, residual)
        determinants = np.linalg.slogdet(v)[1] + np.linalg.slogdet(normal)[1]
        scores.append(-0.5 * ((len(y) - 7) * np.log(rss) + determinants))
    # Its mean share, each ratio weighed by how much of [0, 1] it stands for.
    shares = RATIOS / (1 + RATIOS)
    posterior = np.exp(np.array(scores) - max(scores)) * np.gradient(shares)
    share = posterior @ shares / posterior.sum()
    ratio = share / (1 - share)
    assert 0.5 < share < 0.99

    def solve(keep):
        v = (np.eye(len(y)) + ratio * similarity)[np.ix_(keep, keep)]
        return np.linalg.solve(x[keep].T @ np.linalg.solve(v, x[keep]), x[keep].T @ np.linalg.solve(v, y[keep]))

    everything = np.arange(len(y))
    whole = solve(everything)
    moved = np.array([solve(np.delete(everything, out)) - whole for out in everything]) @ rows.basis
    # A unit's error: of what it is off by, as told from the others, the part that is left with it in the regression.
    precise = np.linalg.inv(np.eye(len(y)) + ratio * similarity)
    without = precise - precise @ x @ np.linalg.solve(x.T @ precise @ x, x.T @ precise)
    moved *= np.sqrt(np.diag(without) / np.diag(precise))[:, None]
    result = get_estimator("polyshap")(game)
    assert result.diagnostics["interaction_share"] == pytest.approx(share)
    np.testing.assert_allclose(result.values, rows.values(whole), atol=1e-9)
    np.testing.assert_allclose(result.std_errors, np.sqrt((moved**2).sum(axis=0)), rtol=1e-6)


def test_polyshap_leaves_interactions_out_of_very_many_coalitions(monkeypatch):
    game = measured(random_game(N, 2), "iid")
    # The package exports the function under the module's name, hence by way of importlib.
    monkeypatch.setattr(importlib.import_module("shapley_core.estimators.polyshap"), "MOST_UNITS", 59)
    result = get_estimator("polyshap")(game)
    np.testing.assert_allclose(result.values, get_estimator("leverage_shap")(game).values)
    assert "too many to fit interactions to (at most 59)" in result.diagnostics["warnings"][-1]


def test_leverage_shap_is_the_weighted_regression_of_the_paper():
    # The constrained regression over all rows, by its KKT system, with weights 1 / (m_s s (n - s)).
    game = measured(random_game(N, 4), "stratified", m=50)
    z, size = game.membership * 1.0, game.membership.sum(axis=1)
    weight = 1 / (np.bincount(size)[size] * size * (N - size))
    kkt = np.block([[z.T * weight @ z, np.ones((N, 1))], [np.ones((1, N)), np.zeros((1, 1))]])
    right = np.append(z.T @ (weight * (game.values - game.null_value)), game.full_value - game.null_value)
    result = get_estimator("leverage_shap")(game)
    np.testing.assert_allclose(result.values, np.linalg.solve(kkt, right)[:N], atol=1e-9)


def test_stratified_is_unbiased_at_two_of_each_size():
    v = random_game(5, 8)
    estimates = [get_estimator("stratified")(measured(v, "stratified", s, 5, 8)).values for s in range(1500)]
    error = np.mean(estimates, axis=0) - shapley(v, 5)
    assert (np.abs(error) < 4.5 * np.std(estimates, axis=0) / np.sqrt(1500)).all()


# --- ridge ------------------------------------------------------------------------------------------


def test_the_ridge_minimises_generalised_cross_validation():
    game = play(sqrt_sum(12), "leverage", 120, 0, noise=0.5)
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership), size_curve(game))
    x, y = rows.x * np.sqrt(rows.weight)[:, None], rows.target * np.sqrt(rows.weight)
    scores, solutions = [], []
    for ridge in np.geomspace(1e-3, 1e3, 400) * np.trace(x.T @ x) / 11:
        solve = np.linalg.solve(x.T @ x + ridge * np.eye(11), x.T)
        residual = y - x @ (solve @ y)
        scores.append(residual @ residual / (1 - np.trace(x @ solve) / len(y)) ** 2)
        solutions.append(rows.values(solve @ y))
    values = get_estimator("odd_ridge")(game).values
    np.testing.assert_allclose(values, solutions[np.argmin(scores)], atol=0.05 * np.ptp(values))


def test_what_depends_on_size_alone_is_shared_equally():
    closed = measure(lambda z: np.sqrt(z.sum(axis=1)), 9, "iid", 60, 1)
    np.testing.assert_allclose(get_estimator("odd_ridge")(closed).values, 1 / 3, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from(["iid", "leverage", "stratified"]), st.floats(0, 2))
def test_the_size_curve_begins_and_ends_with_what_was_measured(seed, design, noise):
    game = measured(random_game(N, seed), design, seed, m=40, noise=noise)
    curve = size_curve(game)
    assert curve.shape == (N + 1,) and np.isfinite(curve).all()
    assert (curve[0], curve[-1]) == pytest.approx((game.null_value, game.full_value))


def test_nothing_to_tell_is_said():
    noise = np.random.default_rng(1).normal(size=2**10)
    game = measured(lambda z: noise[z @ (1 << np.arange(10))], "leverage", n=10, m=40)
    result = get_estimator("odd_ridge")(game)
    assert result.diagnostics["rank_stability"] < 0.65
    assert any("do not read the values as a ranking" in warning for warning in result.diagnostics["warnings"])


# --- uncertainty ------------------------------------------------------------------------------------


def test_standard_errors_are_hc2():
    game = play(sqrt_sum(8), "leverage", 80, 3, noise=0.5)
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    whole = Spectrum.of(rows.x, rows.target, rows.weight).coefficients()
    covariance = np.zeros((7, 7))
    for out in range(len(rows.target)):
        x, y, w = (np.delete(part, out, axis=0) for part in (rows.x, rows.target, rows.weight))
        without = np.linalg.solve(x.T * w @ x, x.T @ (w * y))
        left = (rows.target - rows.x @ whole)[out] / (rows.target - rows.x @ without)[out]  # 1 - leverage
        covariance += left * np.outer(without - whole, without - whole)
    expected = np.sqrt(np.diag(rows.basis.T @ covariance @ rows.basis))
    np.testing.assert_allclose(get_estimator("leverage_shap")(game).std_errors, expected, rtol=1e-8)


def test_a_pair_is_one_unit():
    np.testing.assert_array_equal(units(np.array([3, -1, 3, 7, -1, 7])), units(np.array([0, -1, 0, 1, -1, 1])))
    assert units(np.array([3, -1, 3, 7, -1, 7])).max() == 3


@pytest.mark.parametrize(
    ("name", "design", "low"),
    [
        ("leverage_shap", "leverage", 0.92),
        ("leverage_shap", "iid", 0.92),
        ("odd_ridge", "leverage", 0.91),
        ("polyshap", "iid", 0.92),
        ("stratified", "stratified", 0.9),
        ("permutation", "antithetic_permutation", 0.9),
        ("regression_msr", "leverage", 0.89),
    ],
)
@pytest.mark.parametrize("game", ["moebius", "sqrt_sum"])
def test_intervals_cover_the_truth_about_as_often_as_they_say(name, design, low, game):
    closed = GAMES[game](12)
    results = [get_estimator(name)(play(closed, design, 144, seed, noise=0.5)) for seed in range(60)]
    covered = [(r.ci_low <= closed.values) & (closed.values <= r.ci_high) for r in results]
    assert low <= np.mean(covered) <= 0.99


@pytest.mark.parametrize(("make", "n", "m"), [(airport, 20, 200), (airport, 100, 1000), (moebius, 20, 100)])
def test_the_interval_of_who_is_far_from_the_others_covers_as_often(make, n, m):
    """The ridge draws in most whoever towers over all; their interval must not go with it."""
    closed = make(n)
    top = np.argmax(np.abs(closed.values - closed.values.mean()))
    results = [get_estimator("odd_ridge")(play(closed, "leverage", m, seed, noise=0.5)) for seed in range(60)]
    assert np.mean([(r.ci_low <= closed.values)[top] & (closed.values <= r.ci_high)[top] for r in results]) >= 0.88


def test_what_is_said_of_shrunk_values_is_centred_on_those_that_are_not():
    game = play(sqrt_sum(12), "paired", 144, 0, noise=1.0)
    result = get_estimator("odd_ridge")(game)
    plain = result.centre
    assert result.diagnostics["shrinkage"] > 0.1
    assert np.ptp(plain) > np.ptp(result.values) and plain.sum() == pytest.approx(result.values.sum())
    np.testing.assert_allclose((result.ci_low + result.ci_high) / 2, plain)
    i, j = np.argmax(plain), np.argmin(plain)
    t = (plain[i] - plain[j]) / np.sqrt(np.array([1, -1]) @ result.covariance[np.ix_([i, j], [i, j])] @ [1, -1])
    assert result.probability_above[i, j] == pytest.approx(stats.t.cdf(t, result.degrees_of_freedom))
    drawn = result.drawn_values(20_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(axis=0), plain, atol=0.05 * result.std_errors.max())


def test_probability_above_by_hand():
    game = measured(random_game(3, 0), "exhaustive", n=3)
    covariance = np.array([[1.0, 0.5, 0], [0.5, 1, 0], [0, 0, 4]])
    result = attribute(game, "x", np.array([2.0, 1, 0]), covariance, 10, 0.95, {}, [])
    # Var(φ0 - φ1) = 1 + 1 - 2 · 0.5 = 1, Var(φ0 - φ2) = 5, so t = 1 and 2/√5.
    above = result.probability_above
    assert above[0, 1] == pytest.approx(stats.t.cdf(1, 10))
    assert above[0, 2] == pytest.approx(stats.t.cdf(2 / np.sqrt(5), 10))
    np.testing.assert_allclose(above + above.T, 1)
    stability = np.mean(2 * np.array([above[0, 1], above[0, 2], above[1, 2]]) - 1)
    assert result.diagnostics["rank_stability"] == pytest.approx(stability)


def test_certain_values_are_certainly_ordered():
    result = get_estimator("exact")(measured(random_game(4, 0), "exhaustive", n=4))
    expected = np.where(result.values[:, None] > result.values, 1.0, 0.0) + 0.5 * np.eye(4)
    np.testing.assert_array_equal(result.probability_above, expected)
    assert result.diagnostics["rank_stability"] == 1


@pytest.mark.parametrize(("name", "design", "m"), [("leverage_shap", "leverage", 14), ("odd_ridge", "iid", 10)])
def test_too_few_coalitions_give_no_intervals(name, design, m):
    game = measured(random_game(N, 1), design, 1, m=2 * N).first(min(m, 2 * N) - 4)
    result = get_estimator(name)(game)
    assert np.isfinite(result.values).all() and np.isnan(result.std_errors).all()
    assert np.isnan(result.diagnostics["rank_stability"])
    assert any("cannot say how certain" in warning for warning in result.diagnostics["warnings"])
    assert {row["std_error"] for row in result.to_dict()["contributors"]} == {None}


def test_unknown_sizes_are_reported_and_refused():
    game = measured(random_game(N, 1), "stratified", m=12)
    with pytest.raises(UserError, match="fewer than two coalitions"):
        get_estimator("stratified")(game.first(6))
    result = get_estimator("stratified")(game.first(11))
    assert 0 < result.diagnostics["unknown_sizes"] < 0.5
    assert "fewer than two coalitions" in result.diagnostics["warnings"][0]


# --- what each takes --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FITTING_DESIGNS)
@pytest.mark.parametrize("design", DESIGNS)
def test_an_estimator_takes_the_designs_it_says_and_refuses_the_others(name, design):
    game = measured(random_game(N, 0), design, m=min(60, comb(N, 4)) if design == "held_out" else 60)
    if design in FITTING_DESIGNS[name]:
        result = get_estimator(name)(game, confidence=0.9, seed=1)
        assert isinstance(result, Attribution)
        assert (result.estimator, result.design, result.confidence) == (name, design, 0.9)
        assert np.isfinite(result.values).all()
        assert name in estimators_for(design)
    else:
        with pytest.raises(UserError, match=f"'{name}' cannot use .* '{design}': it needs one of"):
            get_estimator(name)(game)


def test_the_fit_is_known_before_anything_is_measured():
    assert set(FITTING_DESIGNS) | {"exact"} == set(ESTIMATORS)
    check_design("exact", "iid")
    with pytest.raises(UserError, match=r"held_out\(0.3\)"):
        check_design("leverage_shap", "held_out(0.3)")


def test_parameters_of_beta_shapley_are_checked():
    with pytest.raises(UserError, match="must be positive"):
        get_estimator("beta_shapley")(measured(random_game(N, 0), "exhaustive"), alpha=0.0)


def test_regression_msr_needs_enough_for_its_folds():
    with pytest.raises(UserError, match="measure more, or use 'leverage_shap'"):
        get_estimator("regression_msr")(measured(random_game(N, 0), "leverage", m=16).first(14))
