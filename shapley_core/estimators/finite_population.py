r"""What chance has left over where a good part of all coalitions was measured.

Coalitions of a size are drawn without repetition, and the values are those of all C(n, s). A regression errs because
the coalitions that were not drawn would have moved it; of m_s of C(n, s), a share f = m_s / C(n, s), the variance that
comes of drawing is 1 - f times what it is for draws out of infinitely many (Cochran 1977, "Sampling Techniques", 2.6),
and nothing where all were measured. The noise of a measurement is no matter of drawing: it moves the values by as much
if all coalitions are there. So a unit whose squared error is e², of which σ² is noise, counts with

    (1 - f) e² + f σ².

**Noise.** σ² is what a regression leaves over that lets contributors count differently by size, targets on Hz, tHz,
t²Hz, as many of them as leave it half the units, t = ((2s - n) / n)², or (2s - n) / n without complements; and that
tells noise from interactions of the next order (:mod:`~shapley_core.estimators.interactions`). What these do not take
up passes for noise. It is one number for all coalitions.

Up to a twentieth, f is left out of account, as is usual: the interval is too wide by a fortieth at most.
"""

import numpy as np
import numpy.typing as npt

from shapley_core.estimators.by_size import subsets_by_size
from shapley_core.estimators.interactions import restricted_likelihood, similarity_of_units
from shapley_core.estimators.regression import Contrasts, Spectrum, units
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]

#: Share of a size's coalitions up to which it is taken for a small one.
_SMALL_SHARE = 0.05

#: Powers of t at most: 1, t, t².
_POWERS = 3


def uncertainty_of_share(game: MeasuredGame, rows: Contrasts, spectrum: Spectrum) -> tuple[Floats | None, float]:
    """(n, n) covariance of the regression's values and its degrees of freedom; None without residuals to judge by.

    Args:
        game: what was measured.
        rows: its regression, without what utilities owe to the size alone.
        spectrum: the regression's solution.
    """
    seen = seen_share(game)
    if seen.max() <= _SMALL_SHARE or len(rows.target) <= len(spectrum.d):
        return spectrum.uncertainty(rows.basis)
    noise = noise_variance(game, rows) * seen * rows.weight * _noise_of_unit(rows)
    return spectrum.uncertainty(rows.basis, unseen=1 - seen, noise=noise)


def seen_share(game: MeasuredGame) -> Floats:
    """(k,) share of all coalitions of its size that was measured, of each unit; of a pair's two sizes the smaller."""
    n = game.membership.shape[1]
    size = game.membership.sum(axis=1)
    share = np.bincount(size, minlength=n + 1) / subsets_by_size(n)
    unit = units(game.pair)
    seen = np.ones(int(unit.max()) + 1)
    np.minimum.at(seen, unit, share[size])
    return seen


def noise_variance(game: MeasuredGame, rows: Contrasts) -> float:
    """σ², the variance of one coalition's measurement."""
    n = game.membership.shape[1]
    k, p = rows.x.shape
    t = (2 * game.membership[rows.row].sum(axis=1) - n) / n
    if not rows.lone.any():
        t = t**2
    root = 1 / np.sqrt(_noise_of_unit(rows))
    n_powers = min(max(k // (2 * p), 1), _POWERS)
    x = np.hstack([rows.x * (root * t**power)[:, None] for power in range(n_powers)])
    y = root * rows.target
    similarity = similarity_of_units(game.membership[rows.row], rows.lone, np.ones(k))
    if similarity is None:
        triangle: Floats = np.asarray(np.linalg.qr(np.column_stack([x, y]), mode="r"))
        return float(triangle[-1, -1] ** 2 / (k - x.shape[1]))
    return restricted_likelihood(x, y, similarity)[1]


def _noise_of_unit(rows: Contrasts) -> Floats:
    """(k,) variance of a unit's target by noise alone, in σ²: a pair is half the difference of two."""
    return np.where(rows.lone, 1.0, 0.5)
