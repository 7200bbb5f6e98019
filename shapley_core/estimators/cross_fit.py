r"""Cross-fitting: a surrogate game's Shapley values, corrected by what it leaves over of coalitions it has not seen.

For any game f with known Shapley values, φ(v) = φ(f) + φ(v - f), and the second term is estimated without bias by
size (see :mod:`~shapley_core.estimators.by_size`), the more precisely the better f describes v. For that f must
not have seen the coalitions that correct it: they are shared out among folds, f is fitted for each on the others, and
the φ(f) are averaged. Corrected by the very coalitions that it was fitted to, a regression would correct nothing: the
sum is its normal equation.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.estimators.by_size import semivalue, unknown_sizes
from shapley_core.estimators.regression import Contrasts, units
from shapley_core.estimators.result import Attribution, additive_fit, attribute
from shapley_core.games.designs.by_size import kernel_weight_by_size
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]

#: Relative to the mean square of the singular values.
_RIDGE = 1e-10


def folds(game: MeasuredGame, estimator: str, n_folds: int) -> npt.NDArray[np.int64]:
    """(units,) fold of each unit, by size in turn, so that every fold has about as many of each size.

    Units of a size are put in an order of their membership, not of the table, for the result not to hang on that.

    Raises:
        UserError: the coalitions outside a fold are too few to fit a surrogate to.
    """
    unit = units(game.pair)
    n_units, n = int(unit.max()) + 1, len(game.contributors)
    n_folds = min(n_folds, n_units)
    if n_units - -(-n_units // n_folds) < n:
        raise UserError(
            f"the estimator '{estimator}' leaves a part of the coalitions out of each fit, and {n_units} "
            f"independent ones are too few for that with {n} contributors: measure more, or use 'leverage_shap'"
        )
    inside = np.sort(np.stack([game.membership.sum(axis=1), (~game.membership).sum(axis=1)]), axis=0)[0]
    code = np.packbits(game.membership, axis=1)
    order = np.lexsort([*code.T, inside])
    first = order[np.sort(np.unique(unit[order], return_index=True)[1])]
    fold = np.empty(len(first), dtype=np.int64)
    fold[unit[first]] = np.arange(len(first)) % n_folds
    return fold


def corrected(
    game: MeasuredGame,
    estimator: str,
    surrogate: Floats,
    left_over: MeasuredGame,
    confidence: float,
    **diagnostics: Any,
) -> Attribution:
    """The attribution of ``surrogate``, (n,) mean Shapley values of the folds' games, and the correction.

    Args:
        game: what was measured.
        estimator: its name.
        surrogate: (n,) Shapley values.
        left_over: the game less the surrogate that has not seen the coalition.
        confidence: nominal coverage of the intervals.
        diagnostics: more of them.

    Raises:
        UserError: most sizes were not measured twice.
    """
    n = len(game.contributors)
    correction, covariance, unknown = semivalue(left_over, np.full(n, 1 / n))
    values = surrogate + correction
    n_units = int(units(game.pair).max()) + 1
    diagnostics |= {"unknown_sizes": unknown, "n_units": n_units, **additive_fit(game, values)}
    df = max(n_units - (n - 1), 1)
    return attribute(game, estimator, values, covariance, df, confidence, diagnostics, unknown_sizes(unknown))


def additive_surrogates(game: MeasuredGame, fold: npt.NDArray[np.int64]) -> Floats:
    """(folds, n) Shapley values of the additive games nearest to the units outside each fold.

    One regression tells them all: with H the hat matrix and r the residuals of everything, the fit to the units outside
    fold F misses those inside by (I - H_FF)⁻¹ r_F, and differs from that of everything by what such errors move it.
    A ridge too small to show makes the fit one of least norm where the units outside do not determine it.
    """
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    spectrum = rows.spectrum()
    axes = spectrum.x @ (spectrum.v / spectrum.d)
    kept = spectrum.d**2 / (spectrum.d**2 + _RIDGE * np.mean(spectrum.d**2))
    residual = spectrum.y - axes @ (kept * spectrum.a)
    along = []
    for number in range(int(fold.max()) + 1):
        inside = axes[fold == number]
        errors = np.linalg.solve(np.eye(len(inside)) - inside * kept @ inside.T, residual[fold == number])
        along.append(kept * (spectrum.a - errors @ inside))
    return rows.values(np.array(along) / spectrum.d @ spectrum.v.T)
