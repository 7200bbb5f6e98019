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

**Uncertainty.** HC3 on the whitened rows, with (units - (n - 1)) degrees of freedom. Time grows with the cube of the
number of coalitions without complement.
"""

import numpy as np
import numpy.typing as npt

from shapley_core.estimators.accept import accept
from shapley_core.estimators.regression import Contrasts, Spectrum, no_uncertainty, undetermined
from shapley_core.estimators.result import Attribution, additive_fit, attribute
from shapley_core.games.designs.by_size import kernel_weight_by_size
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]

#: Ratios τ²/σ² tried, relative to one over the mean variance that the interactions would give; and none.
_RATIOS = np.concatenate([[0.0], np.geomspace(1e-3, 1e9, 97)])


def polyshap(game: MeasuredGame, *, confidence: float = 0.95, n_bootstrap: int = 0, seed: int = 0) -> Attribution:
    """Shapley values with pairwise interactions fitted; ``n_bootstrap`` and ``seed`` are of no account.

    Returns:
        Values that sum to v(N) - v(∅). ``diagnostics``: ``interaction_share`` (of the variance around the additive
        game, that given to interactions), ``rank``, ``condition_number``, ``n_units``, ``degrees_of_freedom`` and
        those of ``additive_fit`` and ``attribute``.

    Raises:
        UserError: the design does not fit, or the game is not sound.
    """
    accept(game, "polyshap")
    n = len(game.contributors)
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    plain = Spectrum.of(rows.x, rows.target, rows.weight)
    rank, n_units = len(plain.d), len(rows.target)
    spectrum, share = plain, 0.0
    if rows.lone.any() and n_units > rank:
        similarity = _interaction_similarity(game.membership[rows.row]) * np.outer(rows.lone, rows.lone)
        similarity *= np.sqrt(np.outer(rows.weight, rows.weight))
        scale = np.trace(similarity) / n_units
        ratio = _restricted_likelihood(plain, similarity / scale)
        # The symmetric root, unlike a Cholesky factor, does not depend on the order of the rows.
        strength, axes = np.linalg.eigh(similarity / scale)
        white = axes.T @ np.column_stack([plain.x, plain.y]) / np.sqrt(1 + ratio * np.maximum(strength, 0))[:, None]
        white = axes @ white
        spectrum = Spectrum.of(white[:, :-1], white[:, -1], np.ones(n_units))
        share = float(ratio / (1 + ratio))
    values = rows.values(spectrum.coefficients())
    covariance = spectrum.covariance() if rank == n - 1 else None
    warnings = undetermined(rank, n - 1, len(game.values))
    if covariance is None:
        warnings.append(no_uncertainty(n_units, n))
    else:
        covariance = rows.basis.T @ covariance @ rows.basis
    diagnostics = {
        "interaction_share": share,
        "rank": rank,
        "condition_number": spectrum.condition_number,
        "n_units": n_units,
        "degrees_of_freedom": n_units - rank,
        **additive_fit(game, values),
    }
    df = max(n_units - rank, 1)
    return attribute(game, "polyshap", values, covariance, df, confidence, diagnostics, warnings)


def _interaction_similarity(membership: npt.NDArray[np.bool_]) -> Floats:
    """(k, k) inner products of the features x_i x_j - ¼, i < j, without forming them.

    With signs s = 2x the features are (s_i s_j - 1)/4, and sums over i < j follow from (Σ s_i s'_i)² and (Σ s_i)².
    """
    n = membership.shape[1]
    sign = 2.0 * membership - 1
    both = ((sign @ sign.T) ** 2 - n) / 2
    one = (sign.sum(axis=1) ** 2 - n) / 2
    similarity: Floats = (both - one[:, None] - one + n * (n - 1) / 2) / 16
    return similarity


def _restricted_likelihood(plain: Spectrum, similarity: Floats) -> float:
    """The ratio of :data:`_RATIOS` that maximises the likelihood of what the linear part leaves over."""
    k, rank = len(plain.y), len(plain.d)
    basis = np.linalg.qr(plain.x @ (plain.v / plain.d), mode="complete")[0][:, rank:]
    variance, axes = np.linalg.eigh(basis.T @ similarity @ basis)
    along = (axes.T @ (basis.T @ plain.y)) ** 2
    total = 1 + _RATIOS[:, None] * np.maximum(variance, 0)
    rss = np.maximum((along / total).sum(axis=1), np.finfo(np.float64).tiny)
    log_likelihood = -0.5 * ((k - rank) * np.log(rss) + np.log(total).sum(axis=1))
    return float(_RATIOS[np.argmax(log_likelihood)])
