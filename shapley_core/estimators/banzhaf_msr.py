r"""Banzhaf values by maximum sample reuse (Data Banzhaf, Wang & Jia, arXiv 2205.15466).

The Banzhaf value is the mean marginal contribution to a coalition of the others in which everybody is in or out by
a fair coin, and therefore

    β_i = E[v(S) | i ∈ S] - E[v(S) | i ∉ S],      S uniform among all 2ⁿ coalitions:

each coalition serves everybody. Here v(∅) and v(N) enter with their weight 2⁻ⁿ and the m coalitions measured share the
rest, so that with all coalitions the value is exact.

**When.** Of all semivalues the Banzhaf value's ranking is safest against noise (ibid., theorem 4.2). The estimate
needs no linear algebra; ``banzhaf_regression`` makes more of the same coalitions.

**Uncertainty.** Analytic: the covariance of the terms of the two means, complements added together.
"""

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.estimators.accept import accept
from shapley_core.estimators.regression import no_uncertainty, sums_by_unit, units
from shapley_core.estimators.result import Attribution, attribute, not_efficient
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]


def banzhaf_msr(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Banzhaf values as differences of means; ``seed`` is of no account.

    Returns:
        ``diagnostics``: ``n_units``, ``degrees_of_freedom``, ``sum_of_values`` with a ``note``, and those of
        ``attribute``.

    Raises:
        UserError: the design does not fit, the game is not sound, or somebody is in all coalitions or in none.
    """
    accept(game, "banzhaf_msr")
    n = len(game.contributors)
    z, utilities, weight = uniform_table(game)
    inside = weight @ z
    n_in = game.membership.sum(axis=0)
    if n_in.min() == 0 or n_in.max() == len(game.values):
        raise UserError("a contributor is in every coalition measured, or in none: measure more coalitions")
    mean_in = (weight * utilities) @ z / inside
    mean_out = (weight * utilities) @ (1 - z) / (1 - inside)
    values = mean_in - mean_out

    unit = units(game.pair)
    n_units = int(unit.max()) + 1
    z, utilities, weight = z[:-2], utilities[:-2, None], weight[:-2, None]
    terms = weight * (z * (utilities - mean_in) / inside - (1 - z) * (utilities - mean_out) / (1 - inside))
    by_unit = sums_by_unit(terms, unit)
    covariance = by_unit.T @ by_unit * n_units / (n_units - 1) if n_units > 1 else None
    warnings = [no_uncertainty(n_units, n)] if covariance is None else []
    diagnostics = {"n_units": n_units, "degrees_of_freedom": n_units - 1, **not_efficient("Banzhaf", values)}
    df = max(n_units - 1, 1)
    return attribute(game, "banzhaf_msr", values, covariance, df, confidence, diagnostics, warnings)


def uniform_table(game: MeasuredGame) -> tuple[Floats, Floats, Floats]:
    """Membership (m + 2, n), utilities and weights of the coalitions as a sample of all 2ⁿ; ∅ and N come last."""
    m, n = game.membership.shape
    edge = 2.0**-n
    z = np.vstack([game.membership, np.zeros(n), np.ones(n)]).astype(np.float64)
    utilities = np.concatenate([game.values, [game.null_value, game.full_value]])
    weight = np.concatenate([np.full(m, (1 - 2 * edge) / m), [edge, edge]])
    return z, utilities, weight
