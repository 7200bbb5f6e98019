r"""What of an LDS is lost by adding up: regressions on contributors, and on pairs of them, before the same judges.

An attribution predicts v(S) by a sum over the members of S. Where contributors stand in for each other, or need each
other, no sum does that well, however true the values. A regression fitted to the coalitions that the values were solved
from may see more than a sum,

    v(S) = b_0 + Σ_i b_i s_i + Σ_{i<j} b_ij s_i s_j + error,    s_i = 1 for a member of S and -1 for the others,

with a ridge on all b but b_0, whose penalty is the one with the smallest leave-one-out error (PRESS, Allen 1974). There
are more pairs than coalitions as a rule, so it is solved by its kernel: with d = s·s' the inner product of the pairs'
features is (d² - n) / 2. Its LDS tells whether the measured game predicts retraining; what it has more than that of
contributors alone, order 1, is what a sum misses.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import eigh
from sklearn.preprocessing import KernelCenterer

from shapley_core.evaluation.judgement import HeldOut, judged
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

#: Coalitions that a regression is fitted to at most, the first of the plan: its time grows with their cube.
MOST_COALITIONS = 2_000

#: Penalties of the ridge, relative to the mean squared length of the features.
PENALTIES = np.geomspace(1e-5, 1e3, 33)

COLUMNS = ["alpha", "order", "lds", "low", "high", "gain", "gain_low", "gain_high"]


def surrogates_table(game: MeasuredGame | None, judges: Sequence[HeldOut], seed: int) -> pd.DataFrame:
    """``surrogates`` of :class:`~shapley_core.evaluation.result.EvaluationResult`.

    Args:
        game: what the values were solved from; None: too little was measured, and the table is empty.
        judges: held-out coalitions of each share.
        seed: of the bootstrap.
    """
    if game is None:
        return pd.DataFrame(columns=COLUMNS, dtype=float)
    coalitions = np.vstack([judge.membership for judge in judges])
    ends = np.cumsum([len(judge.membership) for judge in judges])[:-1]
    single, pairs = (np.split(predicted_utilities(game, coalitions, order), ends) for order in (1, 2))
    tables = [judged({"1": a, "2": b}, judge, "2", seed) for a, b, judge in zip(single, pairs, judges, strict=True)]
    table = pd.concat(tables, ignore_index=True)
    table["order"] = table["prediction"].astype(int)
    # How far order 2 is ahead stands in the row of order 1, before its own.
    table[["gain", "gain_low", "gain_high"]] = table.groupby("alpha")[["ahead", "ahead_low", "ahead_high"]].shift()
    return table[COLUMNS]


def predicted_utilities(game: MeasuredGame, coalitions: Rows, order: int) -> Floats:
    """(B,) utilities of coalitions (B, n), by the regression on at most ``order`` contributors at once, 1 or 2."""
    fitted = game.first(MOST_COALITIONS)
    signs = np.where(fitted.membership, 1.0, -1.0)
    centre = KernelCenterer()
    kernel = centre.fit_transform(_kernel(signs, signs, order))
    others = centre.transform(_kernel(np.where(coalitions, 1.0, -1.0), signs, order))
    mean = fitted.values.mean()
    predicted: Floats = mean + others @ _coefficients(kernel, fitted.values - mean)
    return predicted


def _kernel(signs: Floats, others: Floats, order: int) -> Floats:
    """(rows, rows) inner products of the features."""
    single = signs @ others.T
    return single if order == 1 else single + (single**2 - signs.shape[1]) / 2


def _coefficients(kernel: Floats, y: Floats) -> Floats:
    """(m,) of the centred kernel's rows, by the penalty with the smallest leave-one-out error of y, of mean 0."""
    roots, vectors = eigh(kernel)
    roots = np.maximum(roots, 0.0)
    turned = vectors.T @ y
    best, coefficients = np.inf, np.zeros_like(y)
    for penalty in PENALTIES * max(roots.mean(), np.finfo(float).tiny):
        kept = roots / (roots + penalty)
        leverage = vectors**2 @ kept + 1 / len(y)
        error = float(np.sum(((y - vectors @ (kept * turned)) / np.maximum(1 - leverage, 1e-9)) ** 2))
        if error < best:
            best, coefficients = error, vectors @ (turned / (roots + penalty))
    return coefficients
