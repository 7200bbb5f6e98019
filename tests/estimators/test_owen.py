"""Owen values: by hand, over all admissible orders, and what they promise the unions."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from closed_form import measure, random_game
from hypothesis import given, settings
from hypothesis import strategies as st

from shapley_core.errors import UserError
from shapley_core.estimators import exact, get_estimator
from shapley_core.games.designs.two_level import members_of_unions
from shapley_core.games.merge import merge_games

owen = get_estimator("owen")
seeds = st.integers(0, 2**32 - 1)
partitions = st.lists(st.integers(0, 3), min_size=3, max_size=6).map(tuple)


def over_all_admissible_orders(v, unions):
    """The mean contribution on joining, order by order."""
    n, members = len(unions), members_of_unions(unions)
    gains = []
    for order_of_unions in permutations(members):
        for within in product(*(permutations(union) for union in order_of_unions)):
            joined, gain = np.zeros((1, n), dtype=bool), np.zeros(n)
            for i in np.concatenate(within):
                before = v(joined)[0]
                joined[0, i] = True
                gain[i] = v(joined)[0] - before
            gains.append(gain)
    return np.mean(gains, axis=0)


def quotient(v, unions):
    """The game that the unions play as wholes."""
    number = np.unique(unions, return_inverse=True)[1]
    return lambda z: v(z[:, number])


def test_gloves_by_hand():
    # Left gloves 0 and 1 have joined against the right one: half for each side, and the left ones are alike. Had they
    # not, 2 would have had 4/6.
    glove = lambda z: ((z[:, 0] | z[:, 1]) & z[:, 2]).astype(float)  # noqa: E731
    np.testing.assert_allclose(owen(measure(glove, 3, unions=(0, 0, 1))).values, [1 / 4, 1 / 4, 1 / 2])


@settings(max_examples=25)
@given(seeds, partitions, st.sampled_from(["exhaustive", "two_level"]))
def test_a_whole_game_gives_the_mean_over_all_admissible_orders(seed, unions, design):
    v = random_game(len(unions), seed)
    result = owen(measure(v, len(unions), design, 1000, seed % 1000, unions=unions))
    np.testing.assert_allclose(result.values, over_all_admissible_orders(v, unions), atol=1e-12)
    assert (result.std_errors == 0).all() and "no sampling error" in result.diagnostics["note"]


@pytest.mark.parametrize("unions", [(0,) * 5, (4, 2, 0, 1, 3)])
def test_one_union_or_unions_of_one_give_shapley_values(unions):
    v = random_game(5, 1)
    game = measure(v, 5, unions=unions)
    np.testing.assert_allclose(owen(game).values, exact(game).values, atol=1e-12)


@settings(max_examples=40)
@given(seeds, st.lists(st.integers(0, 3), min_size=6, max_size=8).map(tuple))
def test_members_share_what_the_quotient_game_gives_their_union(seed, unions):
    # With the orders of the unions that were walked, this holds at any number of coalitions.
    n, v = len(unions), random_game(len(unions), seed)
    members = members_of_unions(unions)
    game = measure(v, n, "two_level", 2 * n, seed % 1000, unions=unions)
    result = owen(game)
    sums = [result.values[union].sum() for union in members]
    assert sum(sums) == pytest.approx(game.full_value - game.null_value)
    if len(members) == 1:
        return
    whole = measure(quotient(v, unions), len(members), unions=())
    if "n_orders" not in result.diagnostics:
        np.testing.assert_allclose(sums, exact(whole).values, atol=1e-10)
        return
    number = np.unique(unions, return_inverse=True)[1]
    of_unions = [number[order][np.sort(np.unique(number[order], return_index=True)[1])] for order in game.orders]
    walked = replace(whole, design="antithetic_permutation", orders=np.array(of_unions))
    np.testing.assert_allclose(sums, get_estimator("permutation")(walked).values, atol=1e-10)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_intervals_cover_the_truth_about_as_often_as_they_say(noise):
    v, unions = random_game(12, 2), tuple(i // 3 for i in range(12))
    truth = owen(measure(v, 12, unions=unions)).values
    results = [owen(measure(v, 12, "two_level", 100, seed, noise, unions)) for seed in range(60)]
    covered = [(r.ci_low <= truth) & (truth <= r.ci_high) for r in results]
    assert 0.88 <= np.mean(covered) <= 0.99


def test_a_coalition_that_is_missing_leaves_the_orders():
    game = measure(random_game(6, 0), 6, "two_level", 1000)
    holed = game.first(len(game.values) - 1)
    result = owen(holed)
    assert 0 < result.diagnostics["n_orders"] < len(game.orders)
    np.testing.assert_allclose(result.values, owen(game).values, atol=1.5)
    whole = measure(random_game(6, 0), 6)
    short = np.flatnonzero(~whole.membership[:, [0, 2, 4]].all(axis=1))  # that of 0, 2 and 4 is of no account
    kept = replace(whole, membership=whole.membership[short], values=whole.values[short], weight=whole.weight[short])
    with pytest.raises(UserError, match="no order of joining was measured whole, and the estimator 'owen' needs one"):
        owen(replace(kept, membership=kept.membership[2:], values=kept.values[2:], pair=np.full(len(short) - 2, -1)))


def test_runs_of_one_partition_are_merged():
    v = random_game(6, 0)
    runs = [measure(v, 6, "two_level", 20, seed) for seed in (1, 2)]
    assert owen(merge_games(runs)).diagnostics.get("n_orders", 99) > len(runs[0].orders)
    with pytest.raises(UserError, match="grouped into the same unions"):
        merge_games([runs[0], replace(runs[1], unions=(0, 1, 2, 3, 4, 5))])


def test_unions_have_to_be_known():
    with pytest.raises(UserError, match="which contributors belong together"):
        owen(measure(random_game(4, 0), 4, unions=()))
