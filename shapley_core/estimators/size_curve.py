r"""The size curve: what a coalition's utility owes to its size alone.

How v(S) rises with |S| (steep at first, level later) says nothing of who contributes, but a regression on membership
has to average it out, and at few coalitions that is most of its error. Subtracting any function g(|S|) with g(0) =
v(∅) and g(n) = v(N) before the regression leaves the Shapley values as they are: the game g(|S|) gives everybody Δ/n,
which the regression takes off anyway.

g is the straight line from v(∅) to v(N) plus a Brownian bridge, in the size, of variance τ², seen through the mean
utilities of the sizes, each with variance σ²/m_s: the best linear predictor given both variances. σ² is the pooled
variance within sizes, and τ² maximises the likelihood of the means (zero, hence the straight line, where they do not
depart from it). A bridge is rough, so that a steep start or a step, as of a vote, is followed too. It is a Markov
process: the inverse of its covariance is tridiagonal, so that this costs the square of the number of sizes.
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh_tridiagonal

from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]

#: τ²/σ² tried, and none: from a curve that no number of coalitions shows to one that is the means themselves.
_RATIOS = np.concatenate([[0.0], np.geomspace(1e-4, 1e6, 81)])


def size_curve(game: MeasuredGame) -> Floats:
    """(n + 1,) g(0) .. g(n), in the utilities' unit."""
    n = game.membership.shape[1]
    line = np.linspace(game.null_value, game.full_value, n + 1)
    size = game.membership.sum(axis=1)
    count = np.bincount(size, minlength=n + 1)
    seen = np.flatnonzero(count)
    mean = np.bincount(size, game.values, minlength=n + 1)[seen] / count[seen]
    within = game.values - mean[np.searchsorted(seen, size)]
    df = len(size) - len(seen)
    variance = within @ within / df if df > 0 else 0.0
    departure = mean - line[seen]
    if variance <= np.finfo(np.float64).eps * (departure @ departure):
        # Utilities are a function of the size but for rounding, or each size was measured once.
        return line if df == 0 else np.interp(np.arange(n + 1), [0, *seen, n], [line[0], *mean, line[n]])

    t = np.arange(n + 1) / n
    root = np.sqrt(count[seen])
    # The bridge at the sizes seen has the precision 1/step + 1/next step on the diagonal and -1/step beside it.
    steepness = 1 / np.diff(np.concatenate([[0.0], t[seen], [1.0]]))
    precision = steepness[:-1] + steepness[1:], -steepness[1:-1]
    weakness, axes = eigh_tridiagonal(precision[0] / root**2, precision[1] / (root[:-1] * root[1:]))
    along = axes.T @ (root * departure)
    total = 1 + _RATIOS[:, None] / weakness
    log_likelihood = -0.5 * ((along**2 / total).sum(axis=1) / variance + np.log(total).sum(axis=1))
    best = np.argmax(log_likelihood)
    weights = root * (axes @ (along / total[best]))
    bridge = np.minimum(t[:, None], t[seen]) - t[:, None] * t[seen]
    curve: Floats = line + _RATIOS[best] * bridge @ weights
    return curve
