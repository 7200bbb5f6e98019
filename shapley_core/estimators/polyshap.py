r"""PolySHAP: second-order regression (arXiv 2601.18608), with the interactions shrunk as far as the data say.

Fitting pairwise interactions beside the values keeps them from passing for noise. Written in x = z - ½, the product
x_i x_j adds nothing to anybody's Shapley value, so that with features x_i x_j - ¼ (zero at ∅ and N) the model

    v(S) = v(∅) + |S| Δ/n + x u + Σ_{i<j} b_ij (x_i x_j - ¼) + error,      φ = Δ/n + Hᵀu,

keeps φ and its exact sum, and the b_ij are by-work. There are n(n - 1)/2 of them, mostly more than coalitions: they get
a ridge, and u is the generalised least-squares estimate, with the weights w of ``leverage_shap``
(:mod:`~shapley_core.estimators.interactions`). With enough coalitions and little noise the ridge goes to nothing, and
this is PolySHAP itself; where interactions do not show, it is ``leverage_shap``.

**When.** For tables without complementary pairs, as of the design ``iid``. A pair takes all pairwise interactions out
by itself ("pairing equals PolySHAP", ibid.): on paired designs the values are those of ``leverage_shap``.

**Uncertainty.** The ridge is taken for known. With V = I + τ²/σ² K the covariance that interactions give the units, G =
(XᵀV⁻¹X)⁻¹XᵀV⁻¹ and P = V⁻¹ - V⁻¹XG, unit j is off by (Py)_j / P_jj as predicted from the others (Dubrule 1983), and by
(Py)_j / (V⁻¹)_jj with itself in the regression. The geometric mean of the two is its error, which moves the
coefficients by G's column j. With V = I that is HC2 (:mod:`~shapley_core.estimators.regression`).

Time grows with the cube of the number of units. So above 1,000 units no interactions are fitted: the values are those
of ``leverage_shap`` then, and a warning says so.
"""

import numpy as np

from shapley_core.estimators.accept import accept
from shapley_core.estimators.interactions import MOST_UNITS, generalised, second_order, weighed
from shapley_core.estimators.regression import Contrasts, attribute_regression
from shapley_core.estimators.result import Attribution
from shapley_core.games.designs.by_size import kernel_weight_by_size
from shapley_core.games.measured import MeasuredGame


def polyshap(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Shapley values with pairwise interactions fitted; ``seed`` is of no account.

    Returns:
        See :func:`~shapley_core.estimators.regression.attribute_regression`; ``diagnostics`` also has
        ``interaction_share`` (of the variance around the additive game, that given to interactions).

    Raises:
        UserError: the design does not fit, or the game is not sound.
    """
    accept(game, "polyshap")
    game = game.sorted()
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    spectrum, ratio, n_units = rows.spectrum(), 0.0, len(rows.target)
    warnings = []
    if n_units > MOST_UNITS and rows.lone.any():
        warnings.append(
            f"{n_units} coalitions are too many to fit interactions to (at most {MOST_UNITS}): the values are those "
            "of 'leverage_shap'."
        )
    elif n_units >= len(game.contributors) and rows.lone.any():
        similarity = weighed(second_order(game.membership[rows.row]), np.sqrt(rows.weight) * rows.lone)
        spectrum, ratio = generalised(spectrum, similarity)
    share = ratio / (1 + ratio)
    result = attribute_regression(game, "polyshap", rows, spectrum, confidence, interaction_share=share)
    result.diagnostics["warnings"].extend(warnings)
    return result
