r"""Beta Shapley (Kwon & Zou, arXiv 2110.14049): a semivalue that trusts small coalitions more, or large ones.

A contributor joins a coalition of size s of the n - 1 others with probability

    α_s = C(n - 1, s) B(s + β, n - 1 - s + α) / B(α, β).

Beta(1, 1) is the Shapley value. With α > 1 small coalitions count more: there one contributor's addition
stands out from the noise of training, where among many it drowns; Beta(4, 1), the default here, and Beta(16, 1) are
those that the paper recommends for finding harmful and helpful data. The values do not sum to v(N) - v(∅) unless
α = β = 1. Estimated by size, see :mod:`~shapley_core.estimators.by_size`.
"""

import numpy as np
from scipy.special import betaln, gammaln

from shapley_core.errors import UserError
from shapley_core.estimators.accept import accept
from shapley_core.estimators.by_size import semivalue, unknown_sizes
from shapley_core.estimators.result import Attribution, attribute, not_efficient
from shapley_core.games.measured import MeasuredGame


def beta_shapley(
    game: MeasuredGame,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    alpha: float = 4.0,
    beta: float = 1.0,
) -> Attribution:
    """Beta(``alpha``, ``beta``) Shapley values; ``seed`` is of no account.

    Returns:
        ``diagnostics``: ``alpha``, ``beta``, ``unknown_sizes``, ``sum_of_values`` with a ``note``, and those of
        ``attribute``.

    Raises:
        UserError: a parameter is not positive, the design does not fit, the game is not sound, or most of the weight
            is on sizes that were not measured twice.
    """
    if alpha <= 0 or beta <= 0:
        raise UserError(f"the parameters of Beta Shapley values must be positive, and are {alpha} and {beta}")
    accept(game, "beta_shapley")
    m, n = game.membership.shape
    values, covariance, unknown = semivalue(game, size_probabilities(n, alpha, beta))
    diagnostics = {"alpha": alpha, "beta": beta, "unknown_sizes": unknown, **not_efficient("Beta Shapley", values)}
    df = max(m - n + 1, 1)
    return attribute(game, "beta_shapley", values, covariance, df, confidence, diagnostics, unknown_sizes(unknown))


def size_probabilities(n: int, alpha: float, beta: float) -> np.ndarray:
    """(n,) probability that the coalition which a contributor joins has 0 .. n - 1 members (beta-binomial)."""
    s = np.arange(n)
    log_choose = gammaln(n) - gammaln(s + 1) - gammaln(n - s)
    p: np.ndarray = np.exp(log_choose + betaln(s + beta, n - 1 - s + alpha) - betaln(alpha, beta))
    return p
