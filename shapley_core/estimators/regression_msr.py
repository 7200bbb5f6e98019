r"""RegressionMSR (arXiv 2506.11849): a surrogate game's Shapley values, corrected by sampling what it leaves over.

For any game f with known Shapley values, φ(v) = φ(f) + φ(v - f), and the second term is estimated without bias by
size (see :mod:`~shapley_core.estimators.by_size`), the more precisely the better f describes v. For that f must
not have seen the coalitions that correct it: they are shared out among ten folds, f is fitted for each on the nine
others, and the φ(f) are averaged.

f is additive here, the fit of ``leverage_shap``. (Corrected by the very coalitions it was fitted to, its residuals
would correct nothing: the sum is that regression's normal equation.) The paper's other surrogate, boosted trees with
their values by TreeSHAP, would need scikit-learn to grow them, which the light half does not have; TreeSHAP alone is
numpy.

**When.** At m = 10n and more, for values without bias: about as precise as ``leverage_shap`` where the game is nearly a
sum, more precise where utilities curve with the size of the coalition, which the correction takes off.

**Uncertainty.** That of the correction, by size, with complements together; the folds' differences are within it.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.estimators.accept import accept
from shapley_core.estimators.by_size import semivalue, unknown_sizes
from shapley_core.estimators.regression import Contrasts, Spectrum, units
from shapley_core.estimators.result import Attribution, additive_fit, attribute
from shapley_core.games.designs.by_size import kernel_weight_by_size
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]

_FOLDS = 10


def regression_msr(game: MeasuredGame, *, confidence: float = 0.95, n_bootstrap: int = 0, seed: int = 0) -> Attribution:
    """Shapley values by an additive surrogate and its correction; ``n_bootstrap`` and ``seed`` are of no account.

    Returns:
        Values that sum to v(N) - v(∅). ``diagnostics``: ``unknown_sizes``, ``n_units`` and those of ``additive_fit``
        and ``attribute``.

    Raises:
        UserError: the design does not fit, the game is not sound, or there are too few coalitions for ten folds.
    """
    accept(game, "regression_msr")
    m, n = game.membership.shape
    unit = units(game.pair)
    n_units = int(unit.max()) + 1
    if n_units - -(-n_units // _FOLDS) < n:
        raise UserError(
            f"the estimator 'regression_msr' leaves a tenth of the coalitions out of each fit, and {n_units} "
            f"independent ones are too few for that with {n} contributors: measure more, or use 'leverage_shap'"
        )
    n_folds = min(_FOLDS, n_units)
    fold = _fold_of_units(game, unit, n_folds)[unit]
    residual = np.empty(m)
    surrogates = []
    for number in range(n_folds):
        held = fold == number
        surrogate = _additive(game, ~held)
        residual[held] = (game.values - game.null_value - game.membership @ surrogate)[held]
        surrogates.append(surrogate)
    # The additive games have v(∅) and v(N) right, so nothing of either is left over.
    left_over = replace(game, values=residual, null_value=0.0, full_value=0.0)
    correction, covariance, unknown = semivalue(left_over, np.full(n, 1 / n))
    values = np.mean(surrogates, axis=0) + correction
    diagnostics = {"unknown_sizes": unknown, "n_units": n_units, **additive_fit(game, values)}
    df = max(n_units - (n - 1), 1)
    return attribute(game, "regression_msr", values, covariance, df, confidence, diagnostics, unknown_sizes(unknown))


def _fold_of_units(game: MeasuredGame, unit: npt.NDArray[np.int64], n_folds: int) -> npt.NDArray[np.int64]:
    """(units,) fold of each unit, by size in turn, so that every fold has about as many of each size.

    Units of a size are put in an order of their membership, not of the table, for the result not to hang on that.
    """
    inside = np.sort(np.stack([game.membership.sum(axis=1), (~game.membership).sum(axis=1)]), axis=0)[0]
    code = np.packbits(game.membership, axis=1)
    order = np.lexsort([*code.T, inside])
    first = order[np.sort(np.unique(unit[order], return_index=True)[1])]
    fold = np.empty(len(first), dtype=np.int64)
    fold[unit[first]] = np.arange(len(first)) % n_folds
    return fold


def _additive(game: MeasuredGame, rows: npt.NDArray[np.bool_]) -> Floats:
    """(n,) values of the additive game nearest to the coalitions of some rows; whole units."""
    part = replace(game, membership=game.membership[rows], values=game.values[rows], pair=game.pair[rows])
    contrasts = Contrasts.of(part, kernel_weight_by_size(part.membership))
    return contrasts.values(Spectrum.of(contrasts.x, contrasts.target, contrasts.weight).coefficients())
