r"""Leverage SHAP (Musco & Witter, arXiv 2410.01917): the Shapley regression with weights counted from the table.

The Shapley value is the solution φ of the regression of v(S) on membership in which all coalitions of size s
together weigh 1 / (s (n - s)) (paper eq. 5). Of the C(n, s) coalitions of a size m_s were measured, so each of them
stands for C(n, s) / m_s of them and weighs

    w = 1 / (m_s s (n - s)).

``kernel_shap`` weighs by the number of times a coalition was drawn, which leaves the weight of a size to chance;
here it is exact whatever the draw, after failed measurements and in any part of a plan too. With the design
``leverage``, whose sizes are balanced, this is the estimator of the paper. Complements enter as one row each
(see :mod:`~shapley_core.estimators.regression`).

**When.** The default among unbiased estimators: at m = 4n and more, or wherever measurements have little noise.
Below, or where noise is large, ``odd_ridge`` errs less.

**Uncertainty.** Analytic (HC2, :mod:`~shapley_core.estimators.regression`). It takes the coalitions for a small part
of all: where most were measured and noise is small, intervals are too wide. v(∅) and v(N) are taken as they are: an
error in their measurement shifts all values alike, and no interval covers it.
"""

from shapley_core.estimators.accept import accept
from shapley_core.estimators.regression import Contrasts, attribute_regression
from shapley_core.estimators.result import Attribution
from shapley_core.games.designs.by_size import kernel_weight_by_size
from shapley_core.games.measured import MeasuredGame


def leverage_shap(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Shapley values by regression with exact weights of the sizes; ``seed`` is of no account.

    Returns:
        See :func:`~shapley_core.estimators.regression.attribute_regression`.

    Raises:
        UserError: the design does not fit, or the game is not sound.
    """
    accept(game, "leverage_shap")
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    return attribute_regression(game, "leverage_shap", rows, rows.spectrum(), confidence)
