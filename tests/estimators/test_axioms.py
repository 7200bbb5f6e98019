"""What every estimator promises of every design that it takes: the axioms, and that the table's order plays no part."""

from dataclasses import replace
from math import factorial

import numpy as np
import pytest
from closed_form import measure, random_game
from hypothesis import given, settings
from hypothesis import strategies as st

from shapley_core.estimators import ESTIMATORS, get_estimator
from shapley_core.estimators.accept import FITTING_DESIGNS

pytestmark = pytest.mark.usefixtures("few_trees")

N = 6
seeds = st.integers(0, 2**32 - 1)

PAIRS = [(name, design) for name, designs in FITTING_DESIGNS.items() for design in designs] + [("exact", "exhaustive")]
EXHAUSTIVE = sorted(name for name, design in PAIRS if design == "exhaustive")
#: Sums to v(N) - v(∅).
EFFICIENT = set(ESTIMATORS) - {"banzhaf_msr", "banzhaf_regression", "beta_shapley", "leave_one_out"}
#: The Shapley value itself on the whole game.
SHAPLEY = sorted(EFFICIENT - {"owen", "permutation", "odd_ridge"})
#: What is shrunk or split depends on the utilities.
LINEAR = set(ESTIMATORS) - {"odd_ridge", "polyshap", "tree_msr"}
#: Folds are drawn by chance, from the seed and who is in a coalition.
ANONYMOUS = set(ESTIMATORS) - {"regression_msr", "tree_msr"}

every_pair = pytest.mark.parametrize(("name", "design"), PAIRS)
on_the_whole_game = pytest.mark.parametrize("name", [name for name in EXHAUSTIVE if name != "odd_ridge"])
few = settings(max_examples=6)


def measured(v, design, seed=0):
    return measure(v, N, design, 44, seed % 1000)


def with_dummy(v, dummy, alone):
    def u(z):
        others = z.copy()
        others[:, dummy] = False
        return v(others) + alone * z[:, dummy]

    return u


@every_pair
@few
@given(seeds)
def test_efficiency(name, design, seed):
    game = measured(random_game(N, seed), design, seed)
    total = game.full_value - game.null_value
    result = get_estimator(name)(game)
    if name in EFFICIENT:
        assert result.values.sum() == pytest.approx(total, abs=1e-9)
    else:
        assert result.diagnostics["sum_of_values"] == pytest.approx(result.values.sum())
        assert "do not sum" in result.diagnostics["note"]


@pytest.mark.parametrize(("name", "design"), [pair for pair in PAIRS if pair[0] in ANONYMOUS])
@few
@given(seeds, st.permutations(range(N)))
def test_renaming_contributors_renames_values(name, design, seed, order):
    game = measured(random_game(N, seed), design, seed)
    position = np.argsort(order)
    renamed = replace(
        game,
        membership=game.membership[:, order],
        orders=position[game.orders] if game.orders.size else game.orders,
        unions=tuple(game.unions[i] for i in order),
    )
    one, other = (get_estimator(name)(g) for g in (game, renamed))
    np.testing.assert_allclose(other.values, one.values[order], atol=1e-7)
    np.testing.assert_allclose(other.std_errors, one.std_errors[order], rtol=1e-5, atol=1e-7)


@every_pair
@few
@given(seeds, st.randoms())
def test_row_order_plays_no_part(name, design, seed, random):
    game = measured(random_game(N, seed), design, seed)
    rows = random.sample(range(len(game.values)), len(game.values))
    shuffled = replace(
        game,
        membership=game.membership[rows],
        values=game.values[rows],
        weight=game.weight[rows],
        pair=game.pair[rows],
    )
    one, other = (get_estimator(name)(g) for g in (game, shuffled))
    np.testing.assert_allclose(other.values, one.values, atol=1e-7)
    np.testing.assert_allclose(other.std_errors, one.std_errors, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "design"), [pair for pair in PAIRS if pair[0] in LINEAR])
@few
@given(seeds, st.floats(-3, 3), st.floats(-3, 3))
def test_linearity(name, design, seed, a, b):
    v, w = random_game(N, seed), random_game(N, seed + 1)
    solve = get_estimator(name)
    parts = [solve(measured(game, design, seed)).values for game in (v, w)]
    both = solve(measured(lambda z: a * v(z) + b * w(z), design, seed)).values
    np.testing.assert_allclose(both, a * parts[0] + b * parts[1], atol=1e-8)


@pytest.mark.parametrize(("name", "design"), [pair for pair in PAIRS if pair[0] != "tree_msr"])  # rounding splits
@few
@given(seeds, st.floats(0.1, 10), st.floats(-5, 5))
def test_the_unit_of_the_property_is_of_no_account(name, design, seed, scale, shift):
    v = random_game(N, seed)
    one, other = (get_estimator(name)(measured(u, design, seed)) for u in (v, lambda z: scale * v(z) + shift))
    np.testing.assert_allclose(other.values, scale * one.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.std_errors, scale * one.std_errors, rtol=1e-4, atol=1e-6)


# --- the whole game ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPLEY)
@few
@given(seeds)
def test_all_coalitions_give_the_shapley_value(name, seed):
    v = random_game(N, seed)
    u = v((np.arange(2**N)[:, None] >> np.arange(N) & 1).astype(bool))
    expected = np.zeros(N)
    for s in range(2**N):
        for i in range(N):
            if not s >> i & 1:
                size = s.bit_count()
                expected[i] += factorial(size) * factorial(N - 1 - size) / factorial(N) * (u[s | 1 << i] - u[s])
    np.testing.assert_allclose(get_estimator(name)(measured(v, "exhaustive")).values, expected, atol=1e-9)


@on_the_whole_game
@few
@given(seeds, st.integers(0, N - 1), st.floats(-2, 2))
def test_a_dummy_gets_what_it_is_worth_alone(name, seed, dummy, alone):
    game = measured(with_dummy(random_game(N, seed), dummy, alone), "exhaustive")
    assert get_estimator(name)(game).values[dummy] == pytest.approx(alone, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "design"),
    [
        ("permutation", "permutation"),
        ("permutation", "antithetic_permutation"),
        ("owen", "two_level"),
        ("leave_one_out", "leave_one_out"),
    ],
)
@few
@given(seeds, st.integers(0, N - 1), st.floats(-2, 2))
def test_a_dummy_gets_that_at_any_number_of_coalitions(name, design, seed, dummy, alone):
    game = measured(with_dummy(random_game(N, seed), dummy, alone), design, seed)
    assert get_estimator(name)(game).values[dummy] == pytest.approx(alone, abs=1e-9)


@on_the_whole_game
@few
@given(seeds)
def test_interchangeable_contributors_get_the_same(name, seed):
    v = random_game(N, seed)
    # Contributors 0 and 1 are of one union, too.
    values = get_estimator(name)(measured(lambda z: v(z) + v(z[:, [1, 0, *range(2, N)]]), "exhaustive")).values
    assert values[0] == pytest.approx(values[1], abs=1e-9)


@few
@given(seeds)
def test_the_ridge_keeps_efficiency_and_symmetry_on_the_whole_game(seed):
    # It shrinks there, too, so it promises neither a dummy's worth nor the Shapley value.
    v = random_game(N, seed)
    game = measured(lambda z: v(z) + v(z[:, [1, 0, *range(2, N)]]), "exhaustive")
    values = get_estimator("odd_ridge")(game).values
    assert values[0] == pytest.approx(values[1], abs=1e-9)
    assert values.sum() == pytest.approx(game.full_value - game.null_value)
