"""Payout: amounts to the cent, by hand and in what they promise, and the intervals of the amounts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapley_core.errors import UserError
from shapley_core.estimators.result import Attribution
from shapley_core.payout import MAX_POOL, pay_out

values_of_some = st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, 1e-300, 5e-324]), min_size=1, max_size=12)
pools = st.integers(1, MAX_POOL)


def valued(values, covariance=None, names=None, df=np.inf, confidence=0.95):
    n = len(values)
    errors = np.full(n, np.nan) if covariance is None else np.sqrt(np.diag(covariance))
    return Attribution(
        contributors=tuple(names or (f"c{i:02d}" for i in range(n))),
        values=np.array(values, dtype=float),
        std_errors=errors,
        ci_low=np.array(values) - errors,
        ci_high=np.array(values) + errors,
        null_value=0.0,
        full_value=float(np.sum(values)),
        property="score",
        design="iid",
        estimator="leverage_shap",
        n_coalitions=64,
        confidence=confidence,
        diagnostics={},
        covariance=covariance,
        degrees_of_freedom=df,
    )


@pytest.mark.parametrize(
    ("values", "pool", "amounts"),
    [
        ([1, 2, 1], 100, [25, 50, 25]),
        # 33⅓ each: equal fractions and values, so the first name gets the cent.
        ([1, 1, 1], 100, [34, 33, 33]),
        # 14.28…, 28.57…, 57.14…: 14 + 28 + 57 = 99, and the cent goes to the fraction .57.
        ([1, 2, 4], 100, [14, 29, 57]),
        # 2.5 and 7.5: equal fractions, so the larger value gets the cent.
        ([1, 3], 10, [2, 8]),
        ([3, -1, 1], 100, [75, 0, 25]),
        ([0.1, 0.2, 0.0], 1, [0, 1, 0]),
    ],
)
def test_amounts_by_hand(values, pool, amounts):
    assert pay_out(valued(values), pool).amounts.tolist() == amounts


@given(values_of_some, pools)
def test_amounts_sum_to_the_pool_and_follow_the_values(values, pool):
    if max(values) <= 0:
        with pytest.raises(UserError, match="nobody's is positive"):
            pay_out(valued(values), pool)
        return
    amounts = pay_out(valued(values), pool).amounts
    assert sum(amounts.tolist()) == pool
    assert amounts.min() >= 0 and all(a == 0 for a, v in zip(amounts, values, strict=True) if v <= 0)
    for one, a in zip(values, amounts, strict=True):
        assert all(a >= b for other, b in zip(values, amounts, strict=True) if one > other)
        assert all(abs(a - b) <= 1 for other, b in zip(values, amounts, strict=True) if one == other)


@given(values_of_some, pools, st.randoms())
def test_the_order_of_contributors_is_of_no_account(values, pool, random):
    if max(values) <= 0:
        return
    names = [f"c{i}" for i in range(len(values))]
    order = random.sample(range(len(values)), len(values))
    one = pay_out(valued(values, names=names), pool)
    other = pay_out(valued([values[i] for i in order], names=[names[i] for i in order]), pool)
    assert dict(zip(one.contributors, one.amounts, strict=True)) == dict(
        zip(other.contributors, other.amounts, strict=True)
    )


@given(values_of_some, pools, st.integers(0, 60))
def test_the_unit_of_the_values_is_of_no_account(values, pool, doublings):
    values = [value for value in values if value == 0 or abs(value) > 1e-200]
    if not values or max(values) <= 0:
        return
    scaled = [value * 2.0**doublings for value in values]
    np.testing.assert_array_equal(pay_out(valued(values), pool).amounts, pay_out(valued(scaled), pool).amounts)


# --- intervals --------------------------------------------------------------------------------------


def test_the_interval_of_a_share_of_two_by_hand():
    # Values 6 and 4 of a sum that is certain: amounts 60 and 40 give or take 1.96 · 10 · 1.
    covariance = np.array([[1.0, -1.0], [-1.0, 1.0]])
    payout = pay_out(valued([6.0, 4.0], covariance), 100, n_draws=40_000)
    np.testing.assert_allclose(payout.low, [60 - 19.6, 40 - 19.6], atol=1.2)
    np.testing.assert_allclose(payout.high, [60 + 19.6, 40 + 19.6], atol=1.2)
    # With 3 degrees of freedom the quantile is 3.18.
    wide = pay_out(valued([6.0, 4.0], covariance, df=3), 100, n_draws=40_000)
    np.testing.assert_allclose(wide.high[1], 40 + 31.8, atol=1.5)


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=6), st.integers(0, 1000), st.floats(0, 5))
def test_intervals_hold_their_amounts_within_the_pool(values, seed, noise):
    root = np.random.default_rng(seed).normal(size=(len(values), len(values))) * noise
    payout = pay_out(valued(values, root @ root.T, df=9), 12_345, n_draws=200, seed=seed)
    assert (payout.low >= 0).all() and (payout.high <= 12_345).all()
    assert (payout.low <= payout.amounts).all() and (payout.amounts <= payout.high).all()


def test_certain_values_have_intervals_without_width():
    payout = pay_out(valued([1.0, 2.0, 4.0], np.zeros((3, 3))), 100)
    np.testing.assert_array_equal([payout.low, payout.high], [payout.amounts] * 2)
    assert payout.warnings == ()


def test_intervals_cover_what_the_true_values_would_have_paid():
    rng = np.random.default_rng(0)
    truth = np.array([5.0, 3.0, 2.0, 1.0, 0.2])
    owed = pay_out(valued(truth), 100_000).amounts
    covariance = 0.3 * (np.eye(5) - 0.2)
    covered = []
    for seed in range(200):
        values = rng.multivariate_normal(truth, covariance)
        payout = pay_out(valued(values, covariance), 100_000, n_draws=400, seed=seed)
        covered.append((payout.low <= owed) & (owed <= payout.high))
    assert 0.92 <= np.mean(covered) <= 0.99


def test_one_seed_one_interval():
    attribution = valued([3.0, 2.0], np.eye(2))
    one, again, other = (pay_out(attribution, 1000, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.low, again.low)
    assert (one.low != other.low).any()


def test_the_frame():
    frame = pay_out(valued([1.0, 3.0, 1.0], np.zeros((3, 3))), 100).to_frame()
    assert frame.to_dict("list") == {
        "contributor": ["c01", "c00", "c02"],
        "amount": [60, 20, 20],
        "low": [60, 20, 20],
        "high": [60, 20, 20],
    }
    assert pay_out(valued([1.0, 3.0]), 100).to_frame()["low"].isna().all()


# --- what is said and refused -------------------------------------------------------------------------


def test_warnings():
    assert "no intervals" in pay_out(valued([1.0, 2.0]), 100).warnings[0]
    assert pay_out(valued([1.0, -2.0, -1.0], np.zeros((3, 3))), 100).warnings == (
        "The value of c01 (and of 1 more) is negative and counts as zero.",
    )
    unsure = pay_out(valued([0.1, 0.1], np.eye(2)), 100)
    assert "nobody's value is positive" in unsure.warnings[-1]


@pytest.mark.parametrize("pool", [0, -5, 10.5, True, MAX_POOL + 1, "100"])
def test_pools_that_are_no_money(pool):
    with pytest.raises(UserError, match="whole number of cents"):
        pay_out(valued([1.0]), pool)


def test_what_is_refused():
    with pytest.raises(UserError, match="the value of c01 is negative: look into it"):
        pay_out(valued([1.0, -1.0]), 100, negative="refuse")
    with pytest.raises(UserError, match="nobody's is positive"):
        pay_out(valued([0.0, -1.0]), 100)
    with pytest.raises(UserError, match="the value of c00 is not known"):
        pay_out(replace(valued([1.0, 1.0]), values=np.array([np.nan, 1.0])), 100)
