r"""Semivalues from coalitions grouped by size: one formula for Shapley, Beta Shapley and their kin.

A semivalue is the mean marginal contribution of a contributor to random coalitions of the others, of size s with
probability α_s, s = 0 .. n - 1, Σ α_s = 1, and uniform given the size (Dubey, Neyman & Weber 1981):

    φ_i = Σ_t α_{t-1} E[v(S) | i ∈ S, |S| = t] - Σ_t α_t E[v(S) | i ∉ S, |S| = t].

So every coalition of size t tells something of everybody, of those inside as of those outside ("maximum sample
reuse"). Given the size, E[v | i ∈ S] = v̄_t + c_it n/t and E[v | i ∉ S] = v̄_t - c_it n/(n - t), with v̄_t the mean of
v at size t and c_it its covariance with membership; hence

    φ_i = Σ_t (α_{t-1} - α_t) v̄_t + Σ_t c_it (α_{t-1} n/t + α_t n/(n - t)),       α_{-1} = α_n = 0.

Both are replaced by their estimates, which are unbiased where the coalitions of a size are a random sample without
repetition: the mean, and the sample covariance with divisor m_t - 1 times (M - 1)/M, M = C(n, t). With all M it is the
semivalue itself. For Shapley values (α = 1/n) the first sum is Δ/n and the second sums to zero: efficiency.

**Uncertainty.** The estimate is a sum over coalitions within sizes; the covariance is that of its terms around
their size's mean, complements added together. It takes the coalitions of a size for a small part of all.
"""

from math import comb

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.estimators.regression import sums_by_unit, units
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]


def semivalue(game: MeasuredGame, alpha: Floats) -> tuple[Floats, Floats, float]:
    """The semivalue of weights ``alpha``; the weights of the game's coalitions are of no account.

    Args:
        game: what was measured.
        alpha: (n,) probability of each size of the coalition that a contributor joins, 0 .. n - 1.

    Returns:
        (n,) values; (n, n) covariance; :func:`share_unknown`: of the sizes it speaks of, the covariance counts as zero,
        and a mean that is missing is interpolated between its neighbours.

    Raises:
        UserError: see :func:`share_unknown`.
    """
    n = game.membership.shape[1]
    size = game.membership.sum(axis=1)
    count = np.bincount(size, minlength=n + 1)[1:n]
    t = np.arange(1, n)
    weight_in, weight_out = alpha[:-1], alpha[1:]
    possible = subsets_by_size(n)[1:n]
    unknown = share_unknown(game, alpha)

    total = np.bincount(size, game.values, minlength=n + 1)[1:n]
    seen = count > 0
    mean = np.interp(
        np.arange(n + 1),
        np.concatenate([[0], t[seen], [n]]),
        np.concatenate([[game.null_value], total[seen] / count[seen], [game.full_value]]),
    )
    of_mean = np.concatenate([[-alpha[0]], weight_in - weight_out, [alpha[-1]]])
    # Divided by the number of coalitions, what a coalition adds to the values through the covariance.
    of_covariance = (weight_in * n / t + weight_out * n / (n - t)) * (1 - 1 / possible)
    of_covariance = np.where(count > 1, of_covariance / np.maximum(count - 1, 1), 0.0)

    centred = game.values - mean[size]
    deviation = game.membership - size[:, None] / n
    terms = (of_covariance[size - 1] * centred)[:, None] * deviation
    values: Floats = of_mean @ mean + terms.sum(axis=0)

    terms += (of_mean[size] / count[size - 1] * centred)[:, None]
    return values, covariance_by_size(terms, game), unknown


def subsets_by_size(n: int) -> Floats:
    """(n + 1,) C(n, s), the number of coalitions of each size."""
    return np.array([float(comb(n, s)) for s in range(n + 1)])


def share_unknown(game: MeasuredGame, alpha: Floats) -> float:
    """Share of a semivalue's weight on sizes of which fewer than two coalitions (or not all) were measured.

    Raises:
        UserError: it is more than half.
    """
    n = game.membership.shape[1]
    count = np.bincount(game.membership.sum(axis=1), minlength=n + 1)[1:n]
    known = count >= np.minimum(2, subsets_by_size(n)[1:n])
    weight = alpha[:-1] + alpha[1:]
    share = float((weight * ~known).sum() / weight.sum())
    if share > 0.5:
        raise UserError(
            f"{share:.0%} of the values' weight is on sizes of which fewer than two coalitions were measured: "
            "measure more coalitions, with the design 'stratified' or 'leverage'"
        )
    return share


def covariance_by_size(terms: Floats, game: MeasuredGame) -> Floats:
    """(n, n) covariance of the sum of (m, n) ``terms`` that vary around their size's mean, complements together."""
    n = game.membership.shape[1]
    size = game.membership.sum(axis=1)
    count = np.bincount(size, minlength=n + 1)
    sums = np.zeros((n + 1, n))
    np.add.at(sums, size, terms)
    influence = terms - (sums / np.maximum(count, 1)[:, None])[size]
    influence *= np.sqrt(count / np.maximum(count - 1, 1))[size][:, None]
    by_unit = sums_by_unit(influence, units(game.pair))
    covariance: Floats = by_unit.T @ by_unit
    return covariance


def unknown_sizes(share: float) -> list[str]:
    """The warning that some sizes are not known, if so."""
    if share == 0:
        return []
    return [
        f"Of some sizes fewer than two coalitions were measured; they carry {share:.0%} of the values' weight and "
        "count as if everybody contributed alike. Measure more coalitions."
    ]
