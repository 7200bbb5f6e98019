"""The intervals of permutation sampling: the shrunk covariance against scikit-learn's, and coverage with few orders."""

import numpy as np
import pytest
from closed_form import play, sqrt_sum
from scipy.linalg import null_space
from sklearn.covariance import LedoitWolf

from shapley_core.estimators import get_estimator
from shapley_core.estimators.permutation import _marginal_contributions, _shrunk_covariance


@pytest.mark.parametrize("m", [40, 100, 200])
def test_the_covariance_is_ledoit_and_wolfs_among_differences(m):
    game = play(sqrt_sum(8), "permutation", m, seed=3, noise=0.5)
    observations = _marginal_contributions(game)
    basis = null_space(np.ones((1, 8)))  # orthonormal, of what sums to zero
    theirs = basis @ LedoitWolf().fit(observations @ basis).covariance_ @ basis.T
    k = len(observations)
    np.testing.assert_allclose(_shrunk_covariance(observations), theirs * k / (k - 1), atol=1e-12)


def test_many_orders_are_not_shrunk():
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(20_000, 4)) * [1, 2, 3, 4]
    observations -= observations.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(_shrunk_covariance(observations), np.cov(observations, rowvar=False), atol=0.02)


def test_intervals_cover_where_few_orders_tell_the_first_step():
    known = sqrt_sum(20)  # the first to join gains most
    covered = []
    for seed in range(40):
        result = get_estimator("permutation")(play(known, "antithetic_permutation", 200, seed))
        covered.append((result.ci_low <= known.values) & (known.values <= result.ci_high))
    assert np.mean(covered) > 0.93  # 0.66 with the sample covariance


def test_two_orders_that_agree_on_a_contributor_tell_a_number():
    # Scatter is nothing but rounding with two orders: the diagonal must not fall below zero.
    for seed in range(200):
        observations = np.random.default_rng(seed).normal(size=(2, 5))
        observations[1, 0] = observations[0, 0]
        assert (np.diag(_shrunk_covariance(observations)) >= 0).all()


def test_equal_orders_leave_no_spread():
    assert not _shrunk_covariance(np.tile([1.0, 2.0, -3.0], (5, 1))).any()
