"""The designs beyond the paper's: what each promises about sizes, weights, complements and extension."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shapley_core.errors import UserError
from shapley_core.games.designs import draw_design
from shapley_core.games.designs.two_level import members_of_unions, n_admissible

EXTENSIBLE = ["leverage", "stratified", "uniform", "permutation", "antithetic_permutation", "held_out(0.4)"]


def sizes_of(design):
    return np.bincount(design.membership.sum(axis=1), minlength=design.membership.shape[1])[1:]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EXTENSIBLE), st.integers(5, 11), st.integers(0, 2**63 - 1), st.data())
def test_extension_keeps_the_first_rows(name, n, seed, data):
    most = comb(n, round(0.4 * n)) if name.startswith("held_out") else 2**n - 2
    m = data.draw(st.integers(min(2 * n, most), most))
    longer = data.draw(st.integers(m, most))
    try:
        short, long = draw_design(name, n, m, seed), draw_design(name, n, longer, seed)
    except UserError as error:
        assert "do not determine" in str(error)
        return
    rows = len(short.membership)
    np.testing.assert_array_equal(short.membership, long.membership[:rows])
    np.testing.assert_array_equal(short.pair, long.pair[:rows])
    np.testing.assert_array_equal(short.orders, long.orders[: len(short.orders)])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*EXTENSIBLE, "leave_one_out"]), st.integers(5, 11), st.integers(0, 2**63 - 1))
def test_rows_are_distinct_interior_and_pairs_are_complements(name, n, seed):
    m = min(4 * n, comb(n, round(0.4 * n))) if name.startswith("held_out") else 4 * n
    design = draw_design(name, n, m, seed)
    assert len(np.unique(design.membership, axis=0)) == len(design.membership)
    sizes = design.membership.sum(axis=1)
    assert sizes.min() >= 1 and sizes.max() <= n - 1
    assert (design.weight > 0).all()
    paired = name in ("leverage", "uniform", "antithetic_permutation")
    assert (design.pair >= 0).all() if paired else (design.pair == -1).all()
    for pair in np.unique(design.pair[design.pair >= 0]):
        one, other = design.membership[design.pair == pair]
        np.testing.assert_array_equal(one, ~other)
    if name in ("leverage", "stratified", "uniform"):
        assert len(design.membership) == m


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 9), st.integers(0, 2**32), st.data())
def test_leverage_fills_sizes_evenly_and_takes_all_of_the_small_ones(n, seed, data):
    m = 2 * data.draw(st.integers(min(n, 2 ** (n - 1) - 1), 2 ** (n - 1) - 1))
    try:
        sizes = sizes_of(draw_design("leverage", n, m, seed))
    except UserError as error:
        assert "do not determine" in str(error)
        return
    assert sizes.sum() == m
    available = np.array([comb(n, s) for s in range(1, n)])
    # Sizes that are not all taken differ by a round at most; none has more than a size that could take more.
    open_sizes = sizes[sizes < available]
    if len(open_sizes):
        assert open_sizes.max() - open_sizes.min() <= 2
        assert (sizes[sizes == available] <= open_sizes.max() + 1).all()


def test_leverage_of_everything_is_the_exhaustive_design():
    n = 6
    drawn, exact = draw_design("leverage", n, 2**n - 2, 5), draw_design("exhaustive", n, 0, 0)

    def weights(design):
        return dict(zip(design.membership @ (1 << np.arange(n)), design.weight, strict=True))

    assert weights(drawn) == pytest.approx(weights(exact))


def test_leverage_weights_by_hand():
    # n = 5, 16 coalitions, 8 pairs: rounds of a pair of sizes 1 and 4, and one of 2 and 3, so 4 of each size;
    # a coalition of size 1 weighs 4 / (4 * 1 * 4), one of size 2 weighs 4 / (4 * 2 * 3).
    design = draw_design("leverage", 5, 16, 1)
    np.testing.assert_array_equal(sizes_of(design), [4, 4, 4, 4])
    expected = {1: 1 / 4, 2: 1 / 6, 3: 1 / 6, 4: 1 / 4}
    for row, weight in zip(design.membership, design.weight, strict=True):
        assert weight == pytest.approx(expected[row.sum()])


@pytest.mark.parametrize("name", ["leverage", "stratified"])
def test_subsets_of_a_size_are_uniform(name):
    counts = np.zeros((7, 7))
    for seed in range(400):
        design = draw_design(name, 7, 42, seed)
        for size in range(1, 7):
            counts[size] += design.membership[design.membership.sum(axis=1) == size].sum(axis=0)
    for size in range(1, 7):
        # Drawing without repetition varies less than the multinomial, so a large statistic means a real bias.
        assert stats.chisquare(counts[size]).pvalue > 1e-3


@pytest.mark.parametrize("name", ["leverage", "stratified", "uniform", "permutation", "antithetic_permutation"])
def test_large_games_are_drawn(name):
    design = draw_design(name, 300, 5000, 0)
    assert 5000 - 2 * 299 < len(design.membership) <= 5000


def test_subsets_too_many_to_list_are_distinct():
    design = draw_design("held_out(0.5)", 24, 3000, 0)
    assert (design.membership.sum(axis=1) == 12).all()
    assert len(np.unique(design.membership, axis=0)) == 3000


@pytest.mark.parametrize(("name", "per_order"), [("permutation", 5), ("antithetic_permutation", 10)])
def test_permutations_meet_their_coalitions(name, per_order):
    n = 6
    design = draw_design(name, n, 40, 2)
    met = {}
    for order in design.orders:
        assert sorted(order) == list(range(n))
        for s in range(1, n):
            row = np.zeros(n, dtype=bool)
            row[order[:s]] = True
            met[row.tobytes()] = met.get(row.tobytes(), 0) + 1
    assert met == {row.tobytes(): weight for row, weight in zip(design.membership, design.weight, strict=True)}
    assert 40 - per_order < len(design.membership) <= 40
    if name == "antithetic_permutation":
        np.testing.assert_array_equal(design.orders[::2], design.orders[1::2, ::-1])


def test_uniform_throws_fair_coins():
    design = draw_design("uniform", 12, 2000, 3)
    first = design.membership[::2].sum(axis=1)
    observed = np.bincount(first, minlength=13)[1:12]
    expected = np.array([comb(12, s) for s in range(1, 12)]) / (2**12 - 2)
    assert stats.chisquare(observed, len(first) * expected).pvalue > 1e-3
    np.testing.assert_array_equal(design.membership.sum(axis=0), 1000)


def test_leave_one_out_by_hand():
    design = draw_design("leave_one_out", 3, 99, 0)
    np.testing.assert_array_equal(design.membership.astype(int), [[0, 1, 1], [1, 0, 1], [1, 1, 0]])


def test_held_out_takes_a_share():
    assert (draw_design("held_out(0.3)", 10, 20, 0).membership.sum(axis=1) == 3).all()
    assert (draw_design("held_out", 10, 20, 0).membership.sum(axis=1) == 5).all()


@pytest.mark.parametrize(
    ("name", "n", "m", "message"),
    [
        ("leverage", 10, 18, "'leverage' needs at least 20"),
        ("stratified", 10, 17, "'stratified' needs at least 18"),
        ("permutation", 10, 8, "'permutation' needs at least 9"),
        ("antithetic_permutation", 10, 17, "needs at least 18"),
        ("uniform", 4, 16, "14 coalitions .* 'exhaustive'"),
        ("held_out(1.5)", 10, 20, "between 0 and 1, and is 1.5"),
        ("held_out(0.1)", 10, 11, "needs 2 to 10 coalitions"),
        ("held_out(half)", 10, 11, r"as in held_out\(0.5\)"),
        ("paired(2)", 10, 20, "only held_out takes a share"),
        ("leverages", 10, 20, "did you mean 'leverage'"),
    ],
)
def test_what_is_refused(name, n, m, message):
    with pytest.raises(UserError, match=message):
        draw_design(name, n, m, 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=9), st.integers(0, 2**32), st.data())
def test_two_level_orders_keep_unions_together_and_can_be_extended(unions, seed, data):
    n = len(unions)
    members = members_of_unions(unions)
    m = data.draw(st.integers(2 * (n - 1), 6 * n))
    try:
        short, long = (draw_design("two_level", n, most, seed, unions) for most in (m, 2 * m))
    except UserError as error:
        assert "does not end" in str(error)
        return
    np.testing.assert_array_equal(short.membership, long.membership[: len(short.membership)])
    np.testing.assert_array_equal(short.orders, long.orders[: len(short.orders)])
    np.testing.assert_array_equal(short.orders[::2], short.orders[1::2, ::-1])
    for order in short.orders:
        blocks = np.asarray(unions)[order]
        assert np.count_nonzero(np.diff(blocks)) == len(members) - 1
    for row in short.membership:
        assert sum(0 < row[union].sum() < len(union) for union in members) <= 1
    assert len(short.membership) <= min(m, n_admissible(members))


def test_two_level_takes_all_there_are():
    # {0, 1}, {2, 3}, {4}: 6 of whole unions; a half of {0, 1} with any of the other two unions, 2 · 4; so of {2, 3}.
    design = draw_design("two_level", 5, 1000, 0, [0, 0, 1, 1, 2])
    assert len(design.membership) == n_admissible(members_of_unions([0, 0, 1, 1, 2])) == 6 + 8 + 8
