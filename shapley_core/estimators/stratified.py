r"""Stratified sampling: Shapley values from the mean of each size (Castro et al. 2017; SVARM, arXiv 2302.00736).

The Shapley value is the mean over the sizes s = 0 .. n - 1 of the mean marginal contribution to coalitions of size s:
the semivalue with α_s = 1/n. See :mod:`~shapley_core.estimators.by_size` for the formula; it uses every coalition for
everybody, as Stratified SVARM does, and unlike marginal contributions needs no two coalitions that differ by one
contributor.

**When.** Unbiased at any number of coalitions, two of each size at least, and exact on the whole game; no linear
model is fitted. The price is variance: what contributors add on their own is not regressed out. What utilities owe to
the size alone is taken out, though, so that it errs less than ``leverage_shap`` where that is most of them (a property
that saturates), and more where the game is nearly a sum.
"""

import numpy as np

from shapley_core.estimators.accept import accept
from shapley_core.estimators.by_size import semivalue, unknown_sizes
from shapley_core.estimators.result import Attribution, additive_fit, attribute
from shapley_core.games.measured import MeasuredGame


def stratified(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Shapley values by size; ``seed`` is of no account.

    Returns:
        Values that sum to v(N) - v(∅). ``diagnostics``: ``unknown_sizes`` (share of the values' weight), and those of
        ``additive_fit`` and ``attribute``.

    Raises:
        UserError: the design does not fit, the game is not sound, or most sizes were not measured twice.
    """
    accept(game, "stratified")
    m, n = game.membership.shape
    values, covariance, unknown = semivalue(game, np.full(n, 1 / n))
    diagnostics = {"unknown_sizes": unknown, **additive_fit(game, values)}
    df = max(m - n + 1, 1)
    return attribute(game, "stratified", values, covariance, df, confidence, diagnostics, unknown_sizes(unknown))
