r"""Interactions as errors that hang together: the generalised least squares of regressions on membership.

What a regression on membership leaves over is noise, which each unit has for itself, and interactions, which units that
are alike share. A pair tells nothing of interactions of second order (all even orders are gone), a lone coalition of
both second and third. With signs s = 2z - 1, for a set T of two or three contributors, the features

    second order  q_T(S) = s_i s_j - 1,           third order  q_T(S) = s_i s_j s_k - (s_i + s_j + s_k) / 3

add nothing to anybody's Shapley value and vanish at ∅ and N, so that in

    v(S) = v(∅) + |S| Δ/n + x u + Σ_T b_T q_T(S) + error,      φ = Δ/n + Hᵀu,

u keeps its meaning, and the b_T are by-work: mostly there are more of them than coalitions. They get a ridge, b ~ N(0,
τ²) beside errors ~ N(0, σ²/w), w the weight of the unit, so that the units' errors have the covariance V = I + ratio K,
K the units' inner products of √w q, and u is the generalised least-squares estimate. The share ratio / (1 + ratio) of
the variance is the mean of its posterior, by the restricted likelihood (Patterson & Thompson 1971) and a uniform prior
(Daniels 1999): where there are as many interactions as units, any large ratio is as likely. Where interactions do not
show it is near 0, and little changes; where they do, of what they did to a unit only what the others do not tell stays.
Over all coalitions q is orthogonal to membership under the Shapley weights, so that estimates from a whole table stay
exact.

The likelihood costs the cube of the number of units: ratio and σ² are read off 500 of them at most, or twice as many as
there are coefficients. The least squares take a third of a cube, and above 1,000 units there are none: under noise of
half a standard deviation the error at 2,000 units is the same without (30 and 60 contributors, five games). Nor are
interactions of three fitted for more than 100 contributors: coalitions of so many are rarely alike in three, and with
258 the error fell as often as it rose, in three times the time.
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas, lapack

from shapley_core.estimators.regression import Spectrum

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Units above which interactions are not fitted.
MOST_UNITS = 1_000

#: Contributors above which interactions of three are not fitted.
MOST_CONTRIBUTORS = 100

#: Ratios that the posterior is summed over, relative to one over the mean variance that the interactions would give.
RATIOS = np.concatenate([[0.0], np.geomspace(1e-3, 1e9, 97)])

#: One less the share of the variance that is the interactions', and its prior: uniform.
_REST = 1 / (1 + RATIOS)
_PRIOR = -np.gradient(_REST)

#: Units that the likelihood is read off, at least; and units per coefficient.
_UNITS_FOR_RATIO = 500
_UNITS_PER_COEFFICIENT = 2


def second_order(membership: Bools) -> Floats:
    """(k, k) inner products of the features s_i s_j - 1, i < j, without forming them.

    Sums over i < j follow from (Σ s_i s'_i)² and (Σ s_i)².
    """
    n = membership.shape[1]
    p, similarity = _signs(membership)
    similarity *= similarity
    similarity /= 2
    one = p**2 / 2 - n * n / 4
    similarity -= one
    similarity -= one[:, None]
    return similarity


def third_order(membership: Bools) -> Floats:
    """(k, k) inner products of the features s_i s_j s_k - (s_i + s_j + s_k) / 3, i < j < k, without forming them.

    With g = Σ s_i s'_i and p = Σ s_i: products of three give (g³ - (3n - 2) g) / 6, a product and a sum ((p² + 2 - n) g
    - 2pp') / 6, and sums (((n - 1)(n - 2) / 2 - (n - 2)) g + (n - 2) pp') / 9.
    """
    n = membership.shape[1]
    p, g = _signs(membership)
    one = p**2 - ((n - 2) * (n - 3) / 3 - n - 2) / 2
    similarity: Floats = g**2
    similarity -= one
    similarity -= one[:, None]
    similarity *= g
    similarity /= 6
    similarity += np.outer(p, p) * (2 / 3 + (n - 2) / 9)
    return similarity


def _signs(membership: Bools) -> tuple[Floats, Floats]:
    """(k,) p = Σ s_i, and (k, k) g = Σ s_i s'_i, which are whole numbers: products in single precision are exact."""
    sign = 2 * membership.astype(np.float32) - 1
    return sign.sum(axis=1, dtype=np.float64), (sign @ sign.T).astype(np.float64)


def similarity_of_units(membership: Bools, lone: Bools, weight: Floats) -> Floats | None:
    """(k, k) K: third order among all units, and second order among lone coalitions.

    Args:
        membership: (k, n) of the units' first coalitions.
        lone: (k,) is the unit a coalition without its complement?
        weight: (k,) of the units.

    Returns:
        K with a mean variance of 1; before units are weighted, both orders have the same mean variance. None where
        there are no interactions (fewer than three contributors, in pairs), or too many units or contributors.
    """
    k, n = membership.shape
    if k > MOST_UNITS or n > MOST_CONTRIBUTORS:
        return None
    similarity = _of_mean_one(third_order(membership))
    if lone.any():
        similarity[np.ix_(lone, lone)] += _of_mean_one(second_order(membership[lone]))
    similarity = weighed(similarity, np.sqrt(weight))
    return similarity if np.trace(similarity) > 0 else None


def weighed(similarity: Floats, root: Floats) -> Floats:
    """(k, k) ``similarity``, which is used up, of units times their (k,) ``root``, with a mean variance of 1."""
    similarity *= root
    similarity *= root[:, None]
    return _of_mean_one(similarity)


def _of_mean_one(similarity: Floats) -> Floats:
    """A covariance, in units of its mean variance; where that is zero, as it is."""
    trace = np.trace(similarity)
    if trace > 0:
        similarity *= len(similarity) / trace
    return similarity


def generalised(plain: Spectrum, similarity: Floats) -> tuple[Spectrum, float]:
    """The regression with errors that hang together by ``similarity``, and the ratio.

    Args:
        plain: the regression without; more units than coefficients.
        similarity: (k, k) K, used up.
    """
    ratio, _ = restricted_likelihood(plain.x, plain.y, similarity)
    similarity *= ratio
    similarity.flat[:: len(similarity) + 1] += 1
    factor, _ = lapack.dpotrf(similarity.T, lower=1, overwrite_a=1)
    whitening, _ = lapack.dtrtri(factor, lower=1, overwrite_c=1)
    return plain.whitened(whitening), ratio


def restricted_likelihood(x: Floats, y: Floats, similarity: Floats) -> tuple[float, float]:
    """The ratio τ²/σ² and the variance σ², by the restricted likelihood of what the linear part leaves over.

    Of the similarity K with the linear part projected away, the likelihood needs log det (I + ratio K) and the residual
    r's squared length under (I + ratio K)⁻¹. Both are read off a tridiagonal form of K whose first axis is r's, where
    they follow from one recurrence for all ratios; the form is found by reducing K bordered by r, and no eigenvectors
    are. Of very many units a part is read, spread evenly over all.

    Args:
        x: (k, p) rows of the linear part, times the root of their weight; k > p. Where their rank is not full, p
            degrees of freedom are given up all the same.
        y: (k,) targets, times the root of their weight.
        similarity: (k, k) K.

    Returns:
        The ratio whose share, ratio / (1 + ratio), is the mean of the posterior; and the σ² that is likeliest, as the
        mean is too small where there are no interactions.
    """
    k, p = x.shape
    n_read = max(_UNITS_FOR_RATIO, _UNITS_PER_COEFFICIENT * p)
    if n_read < k:
        read = np.linspace(0, k - 1, n_read).astype(np.int64)
        x, y, similarity = x[read], y[read], similarity[np.ix_(read, read)]
        k = n_read
    axes = np.linalg.qr(x).Q
    residual = y - axes @ (axes.T @ y)
    along = similarity @ axes
    along -= axes @ (axes.T @ along) / 2
    bordered = np.zeros((k + 1, k + 1), order="F")
    bordered[1:, 0] = residual
    bordered[1:, 1:] = blas.dsyr2k(-1.0, axes, along, 1.0, similarity, lower=1)
    work = int(lapack.dsytrd_lwork(k + 1, lower=1)[0])
    _, diagonal, beside, _, _ = lapack.dsytrd(bordered, lower=1, lwork=work, overwrite_a=1)

    pivots = 1 + np.outer(diagonal[1:], RATIOS)
    taken = np.outer(beside[1:], RATIOS) ** 2
    for row in range(k - 2, -1, -1):
        pivots[row] -= taken[row] / pivots[row + 1]
    rss = np.maximum(beside[0] ** 2 / pivots[0], np.finfo(np.float64).tiny)
    log_likelihood = -0.5 * ((k - p) * np.log(rss) + np.log(pivots).sum(axis=0))
    posterior = np.exp(log_likelihood - log_likelihood.max()) * _PRIOR
    mean_rest = posterior @ _REST / posterior.sum()
    return float((1 - mean_rest) / mean_rest), float(rss[np.argmax(log_likelihood)] / (k - p))
