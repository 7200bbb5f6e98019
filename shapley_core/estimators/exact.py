"""The Shapley value itself, from the utilities of all coalitions (paper eq. 4)."""

import math

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.estimators.accept import accept
from shapley_core.estimators.result import Attribution, additive_fit, attribute
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]

#: What standard errors of zero leave out.
NO_SAMPLING_ERROR = (
    "Every coalition was measured, so there is no sampling error. The standard errors of zero do not cover the "
    "randomness of training and generation in each measurement."
)


def exact(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Shapley values of a game whose every coalition was measured: mean marginal contributions, paper eq. 4.

    Nothing was sampled, so standard errors are zero and intervals have no width; ``seed`` is of no account. That does
    not cover what a coalition's own measurement would vary by if made again with another seed, and
    ``diagnostics["note"]`` says so.

    Raises:
        UserError: a coalition is missing, or the game is not sound.
    """
    accept(game, "exact")
    n = len(game.contributors)
    code = 1 << np.arange(n, dtype=np.int64)  # a coalition is the number whose bits are its members
    measured = np.unique(game.membership @ code)
    missing = 2**n - 2 - len(measured)
    if missing:
        raise UserError(
            f"the estimator 'exact' needs the utilities of all {2**n - 2} coalitions of {n} contributors, "
            f"and {missing} are missing: measure them all with the design 'exhaustive', or use 'kernel_shap'"
        )
    v = np.empty(2**n)
    v[game.membership @ code] = game.values
    v[0], v[-1] = game.null_value, game.full_value

    values = shapley_values(v)
    diagnostics = {
        **additive_fit(game, values),
        "note": NO_SAMPLING_ERROR,
    }
    return attribute(game, "exact", values, np.zeros((n, n)), math.inf, confidence, diagnostics, [])


def shapley_values(v: Floats) -> Floats:
    """(n,) Shapley values of the 2ⁿ utilities ``v``, that of a coalition at the number whose bits are its members."""
    n = len(v).bit_length() - 1
    coalitions = np.arange(2**n)
    size = np.bitwise_count(coalitions)
    weight = np.array([math.factorial(s) * math.factorial(n - s - 1) / math.factorial(n) for s in range(n)])
    values = np.empty(n)
    for i in range(n):
        without = coalitions[coalitions >> i & 1 == 0]
        values[i] = weight[size[without]] @ (v[without | 1 << i] - v[without])
    return values
