"""The estimators against hand-computed values, dense formulas, the axioms, and what intervals promise."""

from dataclasses import replace
from itertools import permutations
from math import comb

import numpy as np
import pytest
from closed_form import measure, random_game
from scipy.stats import t

from shapley_core.errors import UserError
from shapley_core.estimators import ESTIMATORS, exact, get_estimator, kernel_shap
from shapley_core.estimators.convergence import convergence


def quadratic_game(n, seed, interaction):
    """Contributions plus pairwise interactions, and its Shapley values: half an interaction to each side."""
    rng = np.random.default_rng(seed)
    alone = rng.uniform(0, 2, n)
    pairwise = interaction * np.triu(rng.normal(size=(n, n)), 1)
    shapley = alone + (pairwise.sum(axis=0) + pairwise.sum(axis=1)) / 2
    return lambda z: 1 + z @ alone + np.einsum("ri,ij,rj->r", z * 1.0, pairwise, z * 1.0), shapley


def covert_lee(game):
    """Covert & Lee 2021, eq. 7, word for word."""
    z, w = game.membership.astype(float), game.weight / game.weight.sum()
    a = np.einsum("r,ri,rj->ij", w, z, z)
    b = np.einsum("r,ri,r->i", w, z, game.values - game.null_value)
    inverse, one = np.linalg.inv(a), np.ones(z.shape[1])
    excess = one @ inverse @ b - (game.full_value - game.null_value)
    return inverse @ (b - one * excess / (one @ inverse @ one))


def naive_hc2(game):
    """Standard errors by leaving each unit out in turn and solving the constrained regression's KKT system anew.

    A unit's error is the geometric mean of what it is off by with it and without it in the regression.
    """
    n = len(game.contributors)

    def solve(rows):
        z, w, y = game.membership[rows] * 1.0, game.weight[rows], game.values[rows] - game.null_value
        kkt = np.block([[z.T * w @ z, np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
        right = np.append(z.T @ (w * y), game.full_value - game.null_value)
        return np.linalg.solve(kkt, right)[:n]

    def off(values, rows):
        """What the unit's coalition, or half the difference of its two, is off by."""
        errors = (game.values - game.null_value - game.membership @ values)[rows]
        return errors[0] if len(errors) == 1 else (errors[0] - errors[1]) / 2

    unit = np.where(game.pair >= 0, game.pair, 1000 + np.arange(len(game.pair)))
    whole, variance = solve(unit >= 0), np.zeros(n)
    for out in np.unique(unit):
        without = solve(unit != out)
        variance += (without - whole) ** 2 * off(whole, unit == out) / off(without, unit == out)
    return np.sqrt(variance)


# --- games whose values are known ---------------------------------------------------------------------------


def glove(z):
    """Two left gloves (0, 1) and a right one (2); a pair sells for 1."""
    return ((z[:, 0] | z[:, 1]) & z[:, 2]).astype(float)


def airport(z):
    """Runways for planes that need 1, 2 and 4: the longest must be built."""
    return (z * [1, 2, 4]).max(axis=1)


@pytest.mark.parametrize("estimator", [exact, kernel_shap])
@pytest.mark.parametrize(
    ("v", "shapley"),
    [
        (glove, [1 / 6, 1 / 6, 4 / 6]),
        # The first third of 1 to each, half of the next 1 to the two larger, the last 2 to the largest.
        (airport, [1 / 3, 1 / 3 + 1 / 2, 1 / 3 + 1 / 2 + 2]),
        (lambda z: 7 - (z @ [1, -2, 0.5]), [-1, 2, -0.5]),
    ],
)
def test_games_computed_by_hand(estimator, v, shapley):
    np.testing.assert_allclose(estimator(measure(v, 3)).values, shapley, atol=1e-12)


def test_exact_is_the_mean_marginal_contribution_over_all_orders():
    n, v = 5, random_game(5, 1)
    mean = np.zeros(n)
    orders = list(permutations(range(n)))
    for order in orders:
        joined = np.zeros((1, n), dtype=bool)
        for i in order:
            before = v(joined)[0]
            joined[0, i] = True
            mean[i] += (v(joined)[0] - before) / len(orders)
    np.testing.assert_allclose(exact(measure(v, n)).values, mean, atol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 6, 9])
def test_kernel_shap_on_all_coalitions_is_exact(n):
    game = measure(random_game(n, n), n)
    np.testing.assert_allclose(kernel_shap(game).values, exact(game).values, atol=1e-8)


@pytest.mark.parametrize(("design", "m"), [("iid", 25), ("iid", 100), ("paired", 30), ("paired", 100)])
def test_kernel_shap_is_the_closed_form(design, m):
    game = measure(random_game(8, m), 8, design, m, seed=2)
    np.testing.assert_allclose(kernel_shap(game).values, covert_lee(game), atol=1e-9)


@pytest.mark.parametrize("design", ["iid", "paired"])
def test_an_additive_game_is_recovered_from_few_coalitions(design):
    worth = np.arange(12.0) - 4  # the fifth contributor is a dummy
    result = kernel_shap(measure(lambda z: 3 + z @ worth, 12, design, 100))
    np.testing.assert_allclose(result.values, worth, atol=1e-10)
    np.testing.assert_allclose(result.std_errors, 0, atol=1e-6)
    assert result.diagnostics["r_squared"] == pytest.approx(1)
    assert result.diagnostics["residual_std"] == pytest.approx(0, abs=1e-10)


def test_paired_values_of_a_quadratic_game_are_exact():
    # The pairwise part of a utility is the same for a coalition and its complement up to an additive term, so
    # that complementary pairs see none of it (Covert & Lee 2021).
    v, shapley = quadratic_game(9, 3, interaction=1.0)
    np.testing.assert_allclose(kernel_shap(measure(v, 9, "paired", 40)).values, shapley, atol=1e-10)


def test_estimates_converge_to_the_exact_values():
    n, v = 8, random_game(8, 5)
    truth = exact(measure(v, n)).values
    for design in ("iid", "paired"):
        error = {
            m: np.mean([np.std(kernel_shap(measure(v, n, design, m, s)).values - truth) for s in range(20)])
            for m in (32, 120, 240)
        }
        assert error[240] < 0.6 * error[120] < 0.36 * error[32]


# --- uncertainty ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("design", "m"), [("iid", 80), ("paired", 120)])
def test_standard_errors_are_hc2_over_units(design, m):
    game = measure(random_game(8, 4), 8, design, m, seed=1)
    np.testing.assert_allclose(kernel_shap(game).std_errors, naive_hc2(game), rtol=1e-6)


def test_torn_pairs_are_units_of_their_own():
    game = measure(random_game(8, 4), 8, "paired", 120, seed=1)
    torn = replace(game, pair=np.where(game.pair < 20, -1, game.pair))
    result = kernel_shap(torn)
    assert result.diagnostics["n_units"] == 40 + 40
    np.testing.assert_allclose(result.std_errors, naive_hc2(torn), rtol=1e-6)


@pytest.mark.parametrize(
    ("design", "interaction", "noise"), [("paired", 0.3, 0.5), ("iid", 0.0, 0.5), ("iid", 0.2, 0.1)]
)
def test_intervals_cover_the_truth_about_as_often_as_they_say(design, interaction, noise):
    covered = []
    for seed in range(200):
        v, shapley = quadratic_game(10, seed, interaction)
        result = kernel_shap(measure(v, 10, design, 64, seed, noise))
        covered.append((result.ci_low <= shapley) & (shapley <= result.ci_high))
    assert 0.88 <= np.mean(covered) <= 0.995


def test_intervals_are_t_quantiles_times_standard_errors():
    result = kernel_shap(measure(random_game(8, 1), 8, "paired", 24), confidence=0.9)
    reach = t.ppf(0.95, result.diagnostics["degrees_of_freedom"]) * result.std_errors
    assert result.confidence == 0.9
    np.testing.assert_allclose(result.ci_high - result.values, reach)
    np.testing.assert_allclose(result.values - result.ci_low, reach)


def of_units_that_err_alike(m):
    """What is made of one design, all coalitions weighing the same, measured 2,000 times with noise of one."""
    game = replace(measure(lambda z: z.sum(axis=1) * 1.0, 8, "paired", m), weight=np.ones(m))
    rng = np.random.default_rng(0)
    return [kernel_shap(replace(game, values=game.values + rng.normal(size=m))) for _ in range(2000)]


def test_degrees_of_freedom_are_those_of_the_variance():
    """Where units err alike, the variance of a variance's estimate says how many there are: 2 / df of its square."""
    results = of_units_that_err_alike(60)
    variance = np.array([result.std_errors**2 for result in results])
    seen = np.mean(2 * variance.mean(axis=0) ** 2 / variance.var(axis=0))
    said = {result.diagnostics["degrees_of_freedom"] for result in results}
    assert len(said) == 1 and said.pop() == pytest.approx(seen, rel=0.2)
    assert seen < 18  # 30 units less 7 values would be 23


def test_standard_errors_are_right_on_average():
    results = of_units_that_err_alike(30)
    true = np.var([result.values for result in results], axis=0)
    np.testing.assert_allclose(np.mean([result.std_errors**2 for result in results], axis=0), true, rtol=0.15)


def test_as_many_units_as_contributors_give_wide_intervals():
    game = measure(quadratic_game(10, 0, 0.0)[0], 10, "paired", 20, seed=0, noise=0.5)
    result = kernel_shap(game)
    assert result.diagnostics["degrees_of_freedom"] == 1
    assert np.isfinite(result.std_errors).all() and (result.std_errors > 0).all()
    assert "do not read the values as a ranking" in result.diagnostics["warnings"][0]


def test_too_few_units_give_values_without_intervals():
    v, shapley = quadratic_game(10, 0, 0.0)
    game = measure(v, 10, "paired", 20, seed=8).first(18)
    result = kernel_shap(game)
    np.testing.assert_allclose(result.values, shapley, atol=1e-9)
    assert result.diagnostics["rank"] == 9
    assert np.isnan([result.std_errors, result.ci_low, result.ci_high]).all()
    (warning,) = result.diagnostics["warnings"]
    assert warning.startswith("9 independent measurements cannot say how certain the values of 10 contributors")
    assert {c["ci_low"] for c in result.to_dict()["contributors"]} == {None}


def test_contributors_that_were_not_told_apart_share_equally():
    # Contributors 2 and 3 are in the same coalitions, always.
    membership = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]], dtype=bool)
    worth = np.array([1.0, 2, 3, 7])
    game = replace(measure(lambda z: z @ worth, 4), membership=membership, values=membership @ worth, weight=np.ones(5))
    result = kernel_shap(replace(game, pair=np.full(5, -1)))
    np.testing.assert_allclose(result.values, [1, 2, 5, 5], atol=1e-9)
    assert result.diagnostics["rank"] == 2
    assert "do not determine the values (rank 2 of 3)" in result.diagnostics["warnings"][0]


def test_residuals_tell_the_noise():
    v, _ = quadratic_game(10, 0, 0.0)
    stds = [kernel_shap(measure(v, 10, "iid", 60, s, noise=0.5)).diagnostics["residual_std"] for s in range(40)]
    assert np.sqrt(np.mean(np.square(stds))) == pytest.approx(0.5, rel=0.1)


def test_r_squared_by_hand():
    # The glove game: the residuals v(S) - sum of values are -1/6, -1/6, -4/6 alone; -2/6, 1/6, 1/6 in pairs.
    diagnostics = kernel_shap(measure(glove, 3)).diagnostics
    residual = np.array([1, 1, 4, 2, 1, 1]) / 6
    explained = 1 - np.mean(residual**2) / np.var([0, 0, 0, 0, 1, 1])
    assert diagnostics["r_squared"] == pytest.approx(explained)
    assert diagnostics["residual_std"] == pytest.approx(np.sqrt(np.sum(residual**2) / (6 - 2)))


# --- the rest ---------------------------------------------------------------------------------------


def test_exact_needs_every_coalition():
    game = measure(glove, 3)
    with pytest.raises(UserError, match=r"all 6 coalitions of 3 contributors, and 1 are missing.*'exhaustive'"):
        exact(game.first(5))
    with pytest.raises(UserError, match="missing"):
        exact(measure(lambda z: z.sum(axis=1), 100, "paired", 400))


def test_exact_has_no_sampling_error_and_says_what_that_leaves_out():
    result = exact(measure(random_game(4, 0), 4))
    np.testing.assert_array_equal(result.std_errors, 0)
    np.testing.assert_array_equal(result.ci_low, result.values)
    assert "no sampling error" in result.diagnostics["note"]
    assert result.diagnostics["warnings"] == []


def test_exact_takes_any_design_that_drew_everything():
    v = random_game(4, 2)
    np.testing.assert_allclose(
        exact(measure(v, 4, "iid", comb(4, 1) + comb(4, 2) + comb(4, 3))).values, exact(measure(v, 4)).values
    )


def test_estimators_by_name():
    for name in ESTIMATORS:
        assert get_estimator(name).__name__ == name
    with pytest.raises(UserError, match="did you mean 'kernel_shap'"):
        get_estimator("kernelshap")


def test_convergence_ends_with_the_values():
    game = measure(random_game(8, 0), 8, "paired", 120)
    curve = convergence(game, kernel_shap, points=6)
    assert curve.n_coalitions[0] == 16 and curve.n_coalitions[-1] == 120
    assert (np.diff(curve.n_coalitions) > 0).all() and (curve.n_coalitions % 2 == 0).all()
    assert curve.values.shape == (len(curve.n_coalitions), 8)
    for m, values in zip(curve.n_coalitions, curve.values, strict=True):
        np.testing.assert_allclose(values, covert_lee(game.first(m)), atol=1e-8)


def test_convergence_of_an_estimator_that_takes_only_the_whole():
    curve = convergence(measure(glove, 3), exact)
    assert curve.n_coalitions.tolist() == [6]
    with pytest.raises(UserError, match="missing"):
        convergence(measure(random_game(8, 0), 8, "paired", 120), exact)


@pytest.mark.parametrize("m", [9, 11])
def test_convergence_of_a_torn_or_tiny_game(m):
    curve = convergence(measure(random_game(5, 0), 5, "iid", m), kernel_shap)
    assert curve.n_coalitions[-1] == m


@pytest.mark.parametrize("design", ["iid", "paired"])
def test_standard_errors_are_not_below_those_of_resampling_pairs_together(design):
    """The closed form against what it stands for: a bootstrap of whole pairs, or of coalitions where there are none."""
    game = measure(random_game(10, seed=1), 10, design, 600, 3, noise=0.3)
    rng = np.random.default_rng(0)
    units = np.unique(game.pair) if design == "paired" else np.arange(len(game.values))
    rows_of = [np.flatnonzero(game.pair == unit) if design == "paired" else np.array([unit]) for unit in units]
    total = game.full_value - game.null_value
    n = game.membership.shape[1]
    replicates = []
    for _ in range(400):
        rows = np.concatenate([rows_of[i] for i in rng.integers(len(units), size=len(units))])
        z, y = game.membership[rows].astype(float), game.values[rows] - game.null_value
        reduced = z[:, :-1] - z[:, -1:]
        root = np.sqrt(game.weight[rows])[:, None]
        phi = np.linalg.lstsq(root * reduced, root[:, 0] * (y - z[:, -1] * total), rcond=None)[0]
        replicates.append([*phi, total - phi.sum()])
    assert len(replicates[0]) == n
    ratio = kernel_shap(game).std_errors / np.std(replicates, axis=0)
    # The jackknife is the more careful of the two where a few small coalitions weigh much.
    assert (ratio > 0.95).all() and (ratio < 1.5).all()
