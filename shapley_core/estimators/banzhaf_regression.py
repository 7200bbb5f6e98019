r"""Banzhaf values by regression (Hammer & Holzman 1992; Kernel Banzhaf, Liu et al., arXiv 2410.08336).

The additive game that is nearest to v, all 2ⁿ coalitions counting alike, has the Banzhaf values as coefficients:

    minimise Σ_S (v(S) - c - Σ_{i ∈ S} β_i)².

The intercept c belongs to it: without one the coefficients are not the Banzhaf values. Here the sum runs over the
coalitions measured, and v(∅) and v(N) with their weight 2⁻ⁿ. Contributors' own additions are regressed out rather
than averaged out, as ``banzhaf_msr`` has to, so that noise and interactions alone are left to vary.

**When.** The better of the two wherever m is at least 2n or so.

**Uncertainty.** Analytic (HC2, complements together; :mod:`~shapley_core.estimators.regression`).
"""

import numpy as np

from shapley_core.estimators.accept import accept
from shapley_core.estimators.banzhaf_msr import uniform_table
from shapley_core.estimators.regression import Spectrum, no_uncertainty, units
from shapley_core.estimators.result import Attribution, attribute, not_efficient
from shapley_core.games.measured import MeasuredGame


def banzhaf_regression(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Banzhaf values by least squares with intercept; ``seed`` is of no account.

    Returns:
        ``diagnostics``: ``rank`` (n when the values are determined), ``condition_number``, ``n_units``,
        ``degrees_of_freedom``, ``sum_of_values`` with a ``note``, and those of ``attribute``.

    Raises:
        UserError: the design does not fit, or the game is not sound.
    """
    accept(game, "banzhaf_regression")
    n = len(game.contributors)
    z, utilities, weight = uniform_table(game)
    # The intercept is taken out by centring on weighted means; v(∅) and v(N) are one pair, the last unit.
    centred = utilities - weight @ utilities
    spectrum = Spectrum.of(z - weight @ z, centred, weight)
    values = spectrum.coefficients()
    rank = len(spectrum.d)
    unit = units(game.pair)
    n_units = int(unit.max()) + 1
    known = rank == n and n_units > n
    covariance, df = spectrum.uncertainty(np.eye(n), np.append(unit, [n_units] * 2)) if known else (None, 1.0)
    warnings = []
    if rank < n:
        warnings.append(
            f"The {len(game.values)} coalitions measured do not determine the values (rank {rank} of {n}). Measure "
            "more coalitions."
        )
    if covariance is None:
        warnings.append(no_uncertainty(n_units, n))
    diagnostics = {
        "rank": rank,
        "condition_number": spectrum.condition_number,
        "n_units": n_units,
        "degrees_of_freedom": df,
        **not_efficient("Banzhaf", values),
    }
    return attribute(game, "banzhaf_regression", values, covariance, df, confidence, diagnostics, warnings)
