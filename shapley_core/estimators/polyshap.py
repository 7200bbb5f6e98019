r"""PolySHAP: second-order regression (arXiv 2601.18608), with the interactions shrunk as far as the data say.

Fitting pairwise interactions beside the values keeps them from passing for noise. Written in x = z - ½, the product
x_i x_j adds nothing to anybody's Shapley value, so that with features x_i x_j - ¼ (zero at ∅ and N) the model

    v(S) = v(∅) + |S| Δ/n + x u + Σ_{i<j} b_ij (x_i x_j - ¼) + error,      φ = Δ/n + Hᵀu,

keeps φ and its exact sum, and the b_ij are by-work. There are n(n - 1)/2 of them, mostly more than coalitions: they get
a ridge, b ~ N(0, τ²), errors ~ N(0, σ²/w) with the weights w of ``leverage_shap``, and u is the generalised
least-squares estimate. τ²/σ² maximises the restricted likelihood (Patterson & Thompson 1971). With enough coalitions
and little noise the ridge goes to nothing, and this is PolySHAP itself; where interactions do not show, it is
``leverage_shap``.

**When.** For tables without complementary pairs, as of the design ``iid``. A pair takes all pairwise interactions out
by itself ("pairing equals PolySHAP", ibid.): on paired designs the values are those of ``leverage_shap``.

**Uncertainty.** Each unit is left out in turn, the ridge kept, with (units - (n - 1)) degrees of freedom. In closed
form: with V = I + τ²/σ² K the covariance that interactions give the units, G = (XᵀV⁻¹X)⁻¹XᵀV⁻¹ and P = V⁻¹ - V⁻¹XG,
unit j is off by e_j = (Py)_j / P_jj as predicted from the others (Dubrule 1983), and leaving it out moves the
coefficients by G's column j times e_j. With V = I that is HC3.

Time grows with the cube of the number of units. So above 5,000 units no interactions are fitted: the values are those
of ``leverage_shap`` then, and a warning says so.
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from shapley_core.estimators.accept import accept
from shapley_core.estimators.regression import Contrasts, Spectrum, attribute_regression, prediction_errors
from shapley_core.estimators.result import Attribution
from shapley_core.games.designs.by_size import kernel_weight_by_size
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]

#: Ratios τ²/σ² tried, relative to one over the mean variance that the interactions would give; and none.
_RATIOS = np.concatenate([[0.0], np.geomspace(1e-3, 1e9, 97)])

#: Units above which interactions are not fitted; the matrices of their similarities take 200 MB each at that.
_MOST_UNITS = 5_000


def polyshap(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Shapley values with pairwise interactions fitted; ``seed`` is of no account.

    Returns:
        See :func:`~shapley_core.estimators.regression.attribute_regression`; ``diagnostics`` also has
        ``interaction_share`` (of the variance around the additive game, that given to interactions).

    Raises:
        UserError: the design does not fit, or the game is not sound.
    """
    accept(game, "polyshap")
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    plain = rows.spectrum()
    n_units = len(rows.target)
    if n_units > _MOST_UNITS and rows.lone.any():
        result = attribute_regression(game, "polyshap", rows, plain, confidence, interaction_share=0.0)
        result.diagnostics["warnings"].append(
            f"{n_units} coalitions are too many to fit interactions to (at most {_MOST_UNITS}): the values are those "
            "of 'leverage_shap'."
        )
        return result
    if n_units <= len(plain.d) or not rows.lone.any():
        return attribute_regression(game, "polyshap", rows, plain, confidence, interaction_share=0.0)

    similarity = _interaction_similarity(game.membership[rows.row])
    root = np.sqrt(rows.weight) * rows.lone
    similarity *= root
    similarity *= root[:, None]
    similarity *= n_units / np.trace(similarity)
    ratio = _restricted_likelihood(plain, similarity)
    coefficients, covariance = _generalised_least_squares(plain, ratio, similarity)
    share = float(ratio / (1 + ratio))
    return attribute_regression(
        game, "polyshap", rows, plain, confidence, coefficients, covariance, interaction_share=share
    )


def _interaction_similarity(membership: npt.NDArray[np.bool_]) -> Floats:
    """(k, k) inner products of the features x_i x_j - ¼, i < j, without forming them.

    With signs s = 2x the features are (s_i s_j - 1)/4, and sums over i < j follow from (Σ s_i s'_i)² and (Σ s_i)².
    """
    n = membership.shape[1]
    sign = 2.0 * membership - 1
    similarity: Floats = sign @ sign.T
    similarity *= similarity
    one = sign.sum(axis=1) ** 2 / 2
    similarity /= 2
    similarity -= one
    similarity -= one[:, None]
    similarity += n * n / 2
    similarity /= 16
    return similarity


def _restricted_likelihood(plain: Spectrum, similarity: Floats) -> float:
    """The ratio of :data:`_RATIOS` that maximises the likelihood of what the linear part leaves over.

    Of the similarity S with the linear part projected away, the likelihood needs log det (I + ratio S) and the residual
    r's squared length under (I + ratio S)⁻¹. Both are read off a tridiagonal form of S whose first axis is r's, where
    they follow from one recurrence for all ratios; the form is found by reducing S bordered by r, and no eigenvectors
    are.
    """
    k, rank = len(plain.y), len(plain.d)
    axes = plain.x @ (plain.v / plain.d)
    residual = plain.y - axes @ plain.a
    along = similarity @ axes
    along -= axes @ (axes.T @ along) / 2
    bordered = np.zeros((k + 1, k + 1), order="F")
    bordered[1:, 0] = residual
    bordered[1:, 1:] = similarity
    bordered[1:, 1:] -= np.hstack([axes, along]) @ np.hstack([along, axes]).T
    work = int(lapack.dsytrd_lwork(k + 1, lower=1)[0])
    _, diagonal, beside, _, _ = lapack.dsytrd(bordered, lower=1, lwork=work, overwrite_a=1)

    pivot = 1 + _RATIOS * diagonal[k]
    log_determinant = np.log(pivot)
    for row in range(k - 1, 0, -1):
        pivot = 1 + _RATIOS * diagonal[row] - (_RATIOS * beside[row]) ** 2 / pivot
        log_determinant += np.log(pivot)
    rss = np.maximum(beside[0] ** 2 / pivot, np.finfo(np.float64).tiny)
    log_likelihood = -0.5 * ((k - rank) * np.log(rss) + log_determinant)
    return float(_RATIOS[np.argmax(log_likelihood)])


def _generalised_least_squares(plain: Spectrum, ratio: float, similarity: Floats) -> tuple[Floats, Floats]:
    """(p,) coefficients and their (p, p) covariance, as in the module's docstring; uses ``similarity`` up."""
    similarity *= ratio
    similarity[np.diag_indices_from(similarity)] += 1
    factor, _ = lapack.dpotrf(similarity.T, lower=1, overwrite_a=1)
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    axes = plain.x @ (plain.v / plain.d)
    weighted = inverse @ axes
    gain = np.linalg.solve(axes.T @ weighted, weighted.T)
    along = gain @ plain.y
    precision = np.diag(inverse)
    free = 1 - np.einsum("kr,rk->k", weighted, gain) / precision
    errors = prediction_errors(inverse @ (plain.y - axes @ along) / precision, free)
    back = plain.v / plain.d
    moved = back @ (gain * errors)
    return back @ along, moved @ moved.T
