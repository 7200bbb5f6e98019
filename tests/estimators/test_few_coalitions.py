"""Intervals of the odd ridge from hardly more coalitions than it takes: by the model that the ridge stands for."""

import importlib

import numpy as np
import pytest
from closed_form import airport, moebius, play, sqrt_sum, weighted_voting

from shapley_core.estimators import get_estimator
from shapley_core.estimators.regression import Spectrum

odd_ridge = importlib.import_module("shapley_core.estimators.odd_ridge")


@pytest.mark.parametrize(("make", "low"), [(moebius, 0.9), (sqrt_sum, 0.9), (weighted_voting, 0.9), (airport, 0.8)])
def test_they_cover_and_are_of_use(make, low) -> None:
    closed = make(20)
    results = [get_estimator("odd_ridge")(play(closed, "leverage", 48, seed, noise=0.5)) for seed in range(40)]
    covered = np.mean([(r.ci_low <= closed.values) & (closed.values <= r.ci_high) for r in results])
    width = np.median([r.ci_high - r.ci_low for r in results]) / closed.spread
    assert low <= covered <= 0.999
    assert width < 1.5  # the residuals say 4 to 10


def test_against_the_dense_formulas() -> None:
    """The posterior of a Gaussian linear model by matrices, at every ratio of variances, mixed with its weights."""
    rng = np.random.default_rng(4)
    x, truth = rng.normal(size=(12, 7)), rng.normal(size=7)
    y = x @ truth + 0.5 * rng.normal(size=12)
    spectrum = Spectrum.of(x, y, np.ones(12))
    kept = np.full(7, 0.8)
    estimate = spectrum.v @ (kept * spectrum.a / spectrum.d)
    scale = np.mean(spectrum.d**2)
    weights, errors, shrinkage = [], [], []
    for ratio in odd_ridge._VARIANCE_RATIOS:
        marginal = np.eye(12) + ratio / scale * x @ x.T  # of y, over sigma squared
        squares = y @ np.linalg.solve(marginal, y)
        weights.append(-0.5 * np.linalg.slogdet(marginal)[1] - 6 * np.log(squares))
        precision = x.T @ x + scale / ratio * np.eye(7)
        mean = np.linalg.solve(precision, x.T @ y)
        errors.append(np.outer(estimate - mean, estimate - mean) + squares / 12 * np.linalg.inv(precision))
        shrinkage.append(1 - np.trace(np.linalg.solve(precision, x.T @ x)) / 7)
    posterior = np.exp(np.array(weights) - max(weights)) * np.abs(np.gradient(shrinkage))
    expected = np.tensordot(posterior / posterior.sum(), errors, axes=1)
    found = odd_ridge._by_model(spectrum, kept, 12)
    # Ours leaves out what the errors of two axes have in common.
    axes = spectrum.v
    np.testing.assert_allclose(found, np.diag(axes.T @ expected @ axes), rtol=1e-8)


def test_ample_coalitions_keep_their_intervals() -> None:
    game = play(moebius(12), "leverage", 120, 0, noise=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(odd_ridge, "_by_model", None)
        assert np.isfinite(get_estimator("odd_ridge")(game).std_errors).all()
