"""Tables merged from several runs and designs: what is in them, what they weigh, and what estimators make of them."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from closed_form import GAMES, measure, play, random_game
from hypothesis import given, settings
from hypothesis import strategies as st

from shapley_core.errors import UserError
from shapley_core.estimators import exact, get_estimator
from shapley_core.estimators.accept import FITTING_DESIGNS, MERGING_DESIGNS, check_design, estimators_for
from shapley_core.estimators.convergence import convergence
from shapley_core.games.designs import merged_design, parts_of_design
from shapley_core.games.merge import merge_games

N = 7
seeds = st.integers(0, 2**32 - 1)
by_size = sorted(name for name in MERGING_DESIGNS if "leverage" in FITTING_DESIGNS[name])


def rows_of(game):
    return {tuple(row): value for row, value in zip(game.membership.astype(int).tolist(), game.values, strict=True)}


@settings(max_examples=40)
@given(seeds, st.lists(st.sampled_from(["iid", "paired", "leverage", "uniform"]), min_size=1, max_size=3))
def test_every_coalition_is_there_once(seed, designs):
    v = random_game(N, seed)
    games = [measure(v, N, design, 40, (seed + k) % 1000) for k, design in enumerate(designs)]
    merged = merge_games(games)
    assert rows_of(merged) == {row: value for game in games for row, value in rows_of(game).items()}
    assert len(merged.values) == len(rows_of(merged)) <= sum(len(game.values) for game in games)
    np.testing.assert_array_equal(merged.membership[:40], games[0].membership)
    assert set(parts_of_design(merged.design)) == set(designs)
    for number in np.unique(merged.pair[merged.pair >= 0]):
        one, other = merged.membership[merged.pair == number]
        np.testing.assert_array_equal(one, ~other)
    alone = {tuple(row) for row in merged.membership[merged.pair < 0]}
    assert not alone & {tuple(~row) for row in merged.membership}


def test_weights_by_hand():
    # Of size 1 the two tables have 3 of 4, of size 2 one of 6: 3/(3·1·3) and 3/(1·2·2).
    alone = replace(
        measure(random_game(4, 0), 4), membership=np.eye(4, dtype=bool)[:2], values=np.zeros(2), n_planned=5
    )
    both = replace(
        alone, membership=np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0]], dtype=bool), values=np.zeros(3)
    )
    merged = merge_games(
        [replace(game, weight=game.values, pair=game.pair[: len(game.values)]) for game in (alone, both)]
    )
    np.testing.assert_allclose(merged.weight, [1 / 3, 1 / 3, 1 / 3, 3 / 4])
    assert merged.n_planned == 4 + 3 + 2


def test_a_longer_run_adds_nothing_but_its_new_coalitions():
    v = random_game(N, 3)
    short, long = (measure(v, N, "leverage", m, 1) for m in (40, 90))
    merged = merge_games([short, long])
    assert merged.design == "leverage"
    for part in ("membership", "values", "weight"):
        np.testing.assert_array_equal(getattr(merged, part), getattr(long, part))
    for name in ("leverage_shap", "regression_msr"):
        np.testing.assert_allclose(get_estimator(name)(merged).std_errors, get_estimator(name)(long).std_errors)


# --- estimates --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stratified", "beta_shapley"])
def test_estimates_by_size_are_unbiased_whatever_two_plans_drew(name):
    # All pairs of plans that draw two and three of a size; the estimates add up over sizes, so one size at a time.
    n, v = 4, random_game(4, 6)
    whole = measure(v, n)
    truth = get_estimator(name)(whole).values
    sizes = whole.membership.sum(axis=1)

    def part(rows):
        membership = whole.membership[rows]
        alone = np.full(len(rows), -1)
        return replace(
            whole, membership=membership, values=v(membership), weight=np.ones(len(rows)), pair=alone, design="iid"
        )

    for size in range(1, n):
        here, elsewhere = np.flatnonzero(sizes == size), np.flatnonzero(sizes != size)
        drawn = [[list(rows) for rows in combinations(here, count)] for count in (2, 3)]
        merged = [merge_games([part([*elsewhere, *one]), part(other)]) for one, other in product(*drawn)]
        assert len({len(game.values) for game in merged}) > 1
        estimates = [get_estimator(name)(game).values for game in merged]
        np.testing.assert_allclose(np.mean(estimates, axis=0), truth, atol=1e-12)
        assert np.std(estimates, axis=0).max() > 0.01


@pytest.mark.parametrize("name", ["kernel_shap", "leverage_shap", "polyshap", "stratified", "banzhaf_regression"])
def test_halves_of_a_game_make_the_whole(name):
    whole = measure(random_game(6, 2), 6)
    rows = np.random.default_rng(0).permutation(len(whole.values))
    halves = [
        replace(whole, membership=whole.membership[part], values=whole.values[part], weight=np.ones(len(part)))
        for part in (rows[:40], rows[25:])
    ]
    merged = merge_games([replace(half, pair=np.full(len(half.values), -1)) for half in halves])
    one, other = get_estimator(name)(merged), get_estimator(name)(whole)
    np.testing.assert_allclose(one.values, other.values, atol=1e-9)
    np.testing.assert_allclose(one.std_errors, other.std_errors, atol=1e-9)
    np.testing.assert_allclose(exact(merged).values, exact(whole).values, atol=1e-12)


@pytest.mark.parametrize("name", ["kernel_shap", "leverage_shap", "odd_ridge", "polyshap", "regression_msr"])
@pytest.mark.parametrize("game", ["moebius", "saturating"])
def test_a_merged_table_errs_less_than_its_parts(name, game):
    closed = GAMES[game](12)
    estimate = get_estimator(name)

    def error(games):
        return np.sqrt(np.mean([(estimate(g).values - closed.values) ** 2 for g in games]))

    parts = [[play(closed, d, 150, seed, noise=0.0) for seed in range(15)] for d in ("iid", "stratified")]
    uniform = [play(closed, "uniform", 150, 50 + seed, noise=0.0) for seed in range(15)]
    merged = [merge_games(games) for games in zip(*parts, uniform, strict=True)]
    assert error(merged) < 0.85 * min(error(part) for part in parts)


def test_the_weights_of_single_designs_would_not_do():
    # Fair coins prefer middle sizes. Taken for draws of the kernel, they bias the regression; counted by size, not.
    closed = GAMES["airport"](8)
    fair, kernel = play(closed, "uniform", 200, 1), play(closed, "iid", 60, 1)
    merged = merge_games([fair, kernel])
    taken_alike = replace(merged, weight=np.ones(len(merged.values)))
    errors = [np.abs(get_estimator("kernel_shap")(g).values - closed.values).max() for g in (merged, taken_alike)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("design", ["permutation", "antithetic_permutation"])
def test_orders_of_one_design_are_merged(design):
    v = random_game(N, 1)
    games = [measure(v, N, design, m, seed) for m, seed in ((40, 1), (60, 1), (40, 5))]
    merged = merge_games(games)
    orders = np.concatenate([games[1].orders, games[2].orders])
    np.testing.assert_array_equal(merged.orders, orders)
    as_one = replace(merged, orders=orders)
    np.testing.assert_allclose(get_estimator("permutation")(merged).values, get_estimator("permutation")(as_one).values)
    assert get_estimator("permutation")(merged).diagnostics["n_orders"] == len(orders)


def test_convergence_of_a_merged_table():
    v = random_game(N, 1)
    merged = merge_games([measure(v, N, "iid", 40, 1), measure(v, N, "leverage", 60, 1)])
    assert convergence(merged, get_estimator("leverage_shap")).n_coalitions[-1] == len(merged.values)


# --- what fits, what is refused -----------------------------------------------------------------------


def test_which_estimators_take_a_merged_table():
    assert estimators_for("merged(iid, leverage)") == by_size
    assert estimators_for("merged(held_out(0.3), uniform)") == []
    assert estimators_for("merged(leave_one_out, leverage)") == sorted([*by_size, "leave_one_out"])
    assert estimators_for("merged(antithetic_permutation, permutation)") == []
    assert estimators_for("merged(iid, permutation)") == []
    assert estimators_for("merged(exhaustive, uniform)") == sorted(
        [*by_size, *["banzhaf_msr", "banzhaf_regression"], "leave_one_out"]
    )
    with pytest.raises(UserError, match=r"'banzhaf_msr' cannot use .*merged\(iid, uniform\)"):
        check_design("banzhaf_msr", "merged(iid, uniform)")


def test_names_of_merged_designs():
    name = merged_design(["leverage", "merged(held_out(0.5), iid)", "iid"])
    assert name == "merged(held_out(0.5), iid, leverage)"
    assert parts_of_design(name) == ("held_out(0.5)", "iid", "leverage")
    assert merged_design(["iid", "iid"]) == "iid" and parts_of_design("held_out(0.5)") == ("held_out(0.5)",)


GAME = measure(random_game(N, 0), N, "iid", 40)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"property": "other"}, "'score' and of 'other' cannot be merged"),
        ({"contributors": (*GAME.contributors[:-1], "eve")}, "not in both: c006, eve"),
        ({"contributors": GAME.contributors[::-1]}, "in the same order"),
        ({"null_value": 7.0}, r"v\(∅\) of 'score' is .* and 7 in another"),
        ({"full_value": 7.0}, r"v\(N\) of 'score' is .* and 7 in another"),
        ({"values": GAME.values + 1}, "the coalition of c.* has two values of 'score'"),
    ],
)
def test_what_cannot_be_merged(changes, message):
    with pytest.raises(UserError, match=message):
        merge_games([GAME, replace(GAME, **changes)])


def test_rounding_makes_no_other_game():
    # The sums of a score are taken in another order by another processor.
    changes = {part: np.nextafter(getattr(GAME, part), np.inf) for part in ("values", "null_value", "full_value")}
    merged = merge_games([GAME, replace(GAME, **changes)])
    np.testing.assert_array_equal(merged.values, merge_games([GAME]).values)


def test_nothing_cannot_be_merged():
    with pytest.raises(UserError, match="nothing to merge"):
        merge_games([])
