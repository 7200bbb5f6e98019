"""Sampling designs: the distribution they draw from, and what they promise about their rows."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shapley_core.errors import UserError
from shapley_core.games.designs import DESIGNS, draw_design, sampling_distribution


def expected_sizes(n):
    weight = np.array([1 / (s * (n - s)) for s in range(1, n)])
    return weight / weight.sum()


def test_sampling_distribution_by_hand():
    # n = 4: 1/3, 1/4, 1/3 over their sum 11/12.
    np.testing.assert_allclose(sampling_distribution(4), [4 / 11, 3 / 11, 4 / 11])


@pytest.mark.parametrize("seed", range(3))
def test_iid_draws_sizes_and_members_as_the_formula_says(seed):
    # The weights are numbers of draws, so together they are a sample of the formula's distribution.
    n, design = 9, draw_design("iid", 9, 480, seed)
    draws = design.weight.sum()
    sizes = np.bincount(design.membership.sum(axis=1), design.weight, n)[1:]
    assert stats.chisquare(sizes, draws * expected_sizes(n)).pvalue > 1e-3
    singles = design.membership.sum(axis=1) == 1
    by_contributor = design.weight[singles] @ design.membership[singles]
    assert stats.chisquare(by_contributor).pvalue > 1e-3


def test_paired_draws_sizes_as_the_formula_says():
    n, design = 9, draw_design("paired", 9, 400, 5)
    first = slice(0, None, 2)  # the drawn coalition; its complement follows
    sizes = np.bincount(design.membership[first].sum(axis=1), design.weight[first], n)[1:]
    assert stats.chisquare(sizes, sizes.sum() * expected_sizes(n)).pvalue > 1e-3


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["iid", "paired"]), st.integers(5, 12), st.integers(0, 2**63 - 1), st.data())
def test_rows_are_distinct_interior_and_as_many_as_asked(name, n, seed, data):
    m = data.draw(st.integers(min(8 * n, 2**n - 2), min(16 * n, 2**n - 2)))
    design = draw_design(name, n, m, seed)
    assert design.membership.shape == (m + (m % 2 if name == "paired" else 0), n)
    assert len(np.unique(design.membership, axis=0)) == len(design.membership)
    sizes = design.membership.sum(axis=1)
    assert sizes.min() >= 1 and sizes.max() <= n - 1
    assert design.weight.min() >= 1
    if name == "paired":
        np.testing.assert_array_equal(design.membership[::2], ~design.membership[1::2])
        np.testing.assert_array_equal(design.weight[::2], design.weight[1::2])
        np.testing.assert_array_equal(design.pair, np.arange(len(design.pair)) // 2)
    else:
        np.testing.assert_array_equal(design.pair, -1)


@pytest.mark.parametrize("name", ["iid", "paired"])
def test_more_coalitions_keep_the_first_ones(name):
    small, large = draw_design(name, 10, 40, 7), draw_design(name, 10, 900, 7)
    np.testing.assert_array_equal(small.membership, large.membership[:40])
    np.testing.assert_array_equal(small.pair, large.pair[:40])
    assert (small.weight <= large.weight[:40]).all()


@pytest.mark.parametrize("name", ["iid", "paired"])
def test_seeds_decide(name):
    one, again, other = (draw_design(name, 10, 60, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.membership, again.membership)
    np.testing.assert_array_equal(one.weight, again.weight)
    assert (one.membership != other.membership).any()


@pytest.mark.parametrize("name", ["iid", "paired"])
@pytest.mark.parametrize("n", [3, 7, 12])
def test_all_coalitions_can_be_drawn(name, n):
    design = draw_design(name, n, 2**n - 2, 0)
    codes = design.membership @ (1 << np.arange(n))
    np.testing.assert_array_equal(np.sort(codes), np.arange(1, 2**n - 1))


def test_large_games_are_drawn():
    design = draw_design("paired", 1000, 20_000, 0)
    assert design.membership.shape == (20_000, 1000)


def test_exhaustive_by_hand():
    # n = 3: kernel (n - 1) / (C(n, s) s (n - s)) = 2 / (3 * 1 * 2) = 1/3 for both sizes.
    design = draw_design("exhaustive", 3, 1, 0)
    np.testing.assert_array_equal(
        design.membership.astype(int),
        [[1, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]],
    )
    np.testing.assert_allclose(design.weight, 1 / 3)
    np.testing.assert_array_equal(design.pair, [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize("n", [2, 4, 5, 8])
def test_exhaustive_holds_every_coalition_once_with_its_kernel_weight(n):
    design = draw_design("exhaustive", n, 0, 0)
    codes = design.membership @ (1 << np.arange(n))
    np.testing.assert_array_equal(np.sort(codes), np.arange(1, 2**n - 1))
    np.testing.assert_array_equal(design.membership[::2], ~design.membership[1::2])
    for row, weight in zip(design.membership, design.weight, strict=True):
        s = row.sum()
        assert weight == pytest.approx((n - 1) / (comb(n, s) * s * (n - s)))
    # Summed over the coalitions of a size, the kernel is the distribution that iid draws sizes from.
    by_size = np.bincount(design.membership.sum(axis=1), design.weight, n)[1:]
    np.testing.assert_allclose(by_size / by_size.sum(), expected_sizes(n))


@pytest.mark.parametrize(
    ("name", "n", "m", "message"),
    [
        ("piared", 5, 10, "did you mean 'paired'"),
        ("paired", 1, 10, "at least two contributors"),
        ("iid", 10, 9, r"is 9, too few to value 10 contributors: .* needs at least 10"),
        ("paired", 10, 18, r"needs at least 20"),
        ("iid", 5, 31, "30 coalitions .* 'exhaustive'"),
        ("paired", 4, 15, "14 coalitions .* 'exhaustive'"),
        ("exhaustive", 21, 64, "at most 20"),
    ],
)
def test_what_is_refused(name, n, m, message):
    with pytest.raises(UserError, match=message):
        draw_design(name, n, m, 0)


def test_a_design_that_does_not_determine_the_values_is_refused():
    # With the fewest coalitions allowed, some seeds draw dependent ones; the check must find just those.
    refused = 0
    for seed in range(60):
        try:
            z = draw_design("iid", 5, 5, seed).membership.astype(float)
        except UserError as error:
            refused += 1
            assert "raise game.n_coalitions or change the seed" in str(error)
        else:
            assert np.linalg.matrix_rank(z - z.mean(axis=1, keepdims=True)) == 4
    assert 0 < refused < 60


def test_two_contributors():
    for name in DESIGNS:
        design = draw_design(name, 2, 2, 0, unions=[0, 0])
        assert sorted(design.membership.tolist()) == [[False, True], [True, False]]
