r"""KernelSHAP in closed form: the paper's estimator (eq. 5; Covert & Lee 2021, arXiv 2012.01536, eq. 7).

The values minimise the weighted squared error of the additive game v(∅) + zᵀφ (z the 0/1 membership of S) on
the measured coalitions, under the constraint 1ᵀφ = v(N) - v(∅) =: Δ. With A = mean zzᵀ and b = mean z (v(S)
- v(∅)),

    φ = A⁻¹ (b - 1 (1ᵀA⁻¹b - Δ) / (1ᵀA⁻¹1)).

The same minimum is found here without the constraint (see :mod:`~shapley_core.estimators.regression`), which is
better conditioned than A, and defined where A is singular though the values are determined. Directions in which the
coalitions say nothing get the solution of least norm: equal shares.

A coalition weighs what its design says: with the paper's, the number of times it was drawn.

**When.** To compare with the paper. ``leverage_shap`` needs fewer coalitions for the same error.

**Uncertainty.** Analytic: each unit (a complementary pair, else a coalition) errs by itself (HC2,
:mod:`~shapley_core.estimators.regression`). Resampling the units with replacement, as the bootstrap does, tells the
same where they are many; where they are few, most of its replicates do not determine the values, and it solves the
regression a thousand times. v(∅) and v(N) are taken as they are: an error in their measurement shifts
all values about alike, and no interval covers it.
"""

from shapley_core.estimators.accept import accept
from shapley_core.estimators.regression import Contrasts, attribute_regression
from shapley_core.estimators.result import Attribution
from shapley_core.games.measured import MeasuredGame


def kernel_shap(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Shapley values by constrained least squares; ``seed`` is of no account.

    Standard errors and intervals are NaN, and ``diagnostics["warnings"]`` says so, when there are fewer
    units than contributors: the regression then fits whatever was measured and leaves nothing to judge it by.

    Returns:
        See :func:`~shapley_core.estimators.regression.attribute_regression`.

    Raises:
        UserError: the design does not fit, or the game is not sound.
    """
    accept(game, "kernel_shap")
    rows = Contrasts.of(game, game.weight)
    return attribute_regression(game, "kernel_shap", rows, rows.spectrum(), confidence)
