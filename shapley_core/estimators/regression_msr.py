r"""RegressionMSR (arXiv 2506.11849): an additive surrogate's Shapley values, corrected by sampling what it leaves over.

φ(v) = φ(f) + φ(v - f), with f the fit of ``leverage_shap`` to nine tenths of the coalitions, and the second term
estimated by size from the tenth that f has not seen, each tenth in turn (see
:mod:`~shapley_core.estimators.cross_fit`). ``tree_msr`` has the paper's other surrogate, trees.

**When.** At m = 10n and more, for values without bias: about as precise as ``leverage_shap`` where the game is nearly a
sum, more precise where utilities curve with the size of the coalition, which the correction takes off. Exact on the
whole game.

**Uncertainty.** That of the correction.
"""

import numpy as np

from shapley_core.estimators.accept import accept
from shapley_core.estimators.cross_fit import additive_surrogates, corrected, folds
from shapley_core.estimators.result import Attribution
from shapley_core.games.measured import MeasuredGame

_FOLDS = 10


def regression_msr(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Shapley values by an additive surrogate and its correction.

    Args:
        game: what was measured.
        confidence: nominal coverage of the intervals.
        seed: of the folds.

    Returns:
        Values that sum to v(N) - v(∅). ``diagnostics``: ``unknown_sizes``, ``n_units`` and those of ``additive_fit``
        and ``attribute``.

    Raises:
        UserError: the design does not fit, the game is not sound, or there are too few coalitions for ten folds.
    """
    accept(game, "regression_msr")
    fold = folds(game, "regression_msr", _FOLDS, seed)
    surrogates = additive_surrogates(game, fold)
    # The additive games have v(∅) and v(N) right, so nothing of either is left over.
    left_over = np.zeros((len(surrogates), len(game.values) + 2))
    left_over[:, :-2] = game.values - game.null_value - surrogates @ game.membership.T
    return corrected(game, "regression_msr", fold, list(surrogates), left_over, confidence)
