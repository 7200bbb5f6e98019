r"""Permutation sampling: mean marginal contribution over random orders of joining (Castro et al. 2009).

The Shapley value of i is the mean, over all orders in which the contributors join, of v(those before i, and i) -
v(those before i). Each order that was walked gives one such number for everybody, and an order's numbers sum to
v(N) - v(∅). With the design ``antithetic_permutation`` an order and its reverse are one observation (arXiv
2104.12199): who comes early in one comes late in the other.

**When.** The method of Data Shapley (arXiv 1904.02868); simple, unbiased, and strong where utilities have no noise. A
marginal contribution is a difference of two noisy measurements, though, and each is used for two contributors only,
so under noise the regressions need far fewer coalitions.

**Uncertainty.** The orders are independent, so the covariance is that of their numbers over their number, with
(orders - 1) degrees of freedom. One observation tells no standard error. A contributor's own numbers tell their spread
badly where a few large ones decide: who never was the first to join has not shown what that is worth. So the sample
covariance is shrunk toward that of contributors who are all alike, with the weight that Ledoit & Wolf (2004) find in
the data; the weight falls as orders are added.

An order of which a coalition was not measured is left out whole.
"""

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.estimators.accept import accept
from shapley_core.estimators.regression import no_uncertainty
from shapley_core.estimators.result import Attribution, additive_fit, attribute
from shapley_core.games.designs.base import WITH_REVERSES
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]


def permutation(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Shapley values over the orders walked; ``seed`` is of no account.

    Returns:
        Values that sum to v(N) - v(∅). ``diagnostics``: ``n_orders`` used, ``degrees_of_freedom``, and those of
        ``additive_fit`` and ``attribute``.

    Raises:
        UserError: the design does not fit, the game is not sound, or no order was measured whole.
    """
    accept(game, "permutation")
    return mean_over_orders(game, "permutation", confidence)


def mean_over_orders(game: MeasuredGame, estimator: str, confidence: float) -> Attribution:
    """The mean contribution on joining over the orders of a game, in which an order and its reverse are one.

    Raises:
        UserError: no order was measured whole.
    """
    n = len(game.contributors)
    per_observation = 2 if game.design in WITH_REVERSES else 1
    observations = _marginal_contributions(game).reshape(-1, per_observation, n).mean(axis=1)
    observations = observations[~np.isnan(observations).any(axis=1)]
    k = len(observations)
    if k == 0:
        raise UserError(
            f"no order of joining was measured whole, and the estimator '{estimator}' needs one: measure what is "
            "missing, or use 'stratified' or 'leverage_shap' with a design that fits them"
        )
    values = observations.mean(axis=0)
    covariance = _shrunk_covariance(observations) / k if k > 1 else None
    warnings = [no_uncertainty(1, n)] if covariance is None else []
    diagnostics = {"n_orders": k * per_observation, "degrees_of_freedom": k - 1, **additive_fit(game, values)}
    return attribute(game, estimator, values, covariance, max(k - 1, 1), confidence, diagnostics, warnings)


def _shrunk_covariance(observations: Floats) -> Floats:
    """(n, n) covariance of observations (k, n), shrunk as by Ledoit & Wolf (2004).

    What contributors add sums to the same in every order, so that the target is not the identity, but the projection on
    the differences between contributors, times the mean variance.
    """
    k, n = observations.shape
    centred = observations - observations.mean(axis=0)
    sample = centred.T @ centred / k
    alike = np.trace(sample) / (n - 1) * (np.eye(n) - 1 / n)
    distance = ((sample - alike) ** 2).sum()
    scatter = ((centred**2).sum(axis=1) ** 2).mean() - (sample**2).sum()
    share = float(np.clip(scatter / k / distance, 0, 1)) if distance > 0 else 1.0
    shrunk: Floats = ((1 - share) * sample + share * alike) * k / (k - 1)
    return shrunk


def _marginal_contributions(game: MeasuredGame) -> Floats:
    """(orders, n) what each contributor added on joining; NaN where a coalition was not measured."""
    n = len(game.contributors)
    value_of = {row.tobytes(): v for row, v in zip(np.packbits(game.membership, axis=1), game.values, strict=True)}
    contributions = np.empty(game.orders.shape)
    for added, order in zip(contributions, game.orders, strict=True):
        joined = np.empty(n, dtype=np.int64)
        joined[order] = np.arange(n)
        path = np.packbits(joined < np.arange(1, n)[:, None], axis=1)
        met = [value_of.get(row.tobytes(), np.nan) for row in path]
        added[order] = np.diff([game.null_value, *met, game.full_value])
    return contributions
