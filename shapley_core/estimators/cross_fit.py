r"""Cross-fitting: a surrogate game's Shapley values, corrected by what it leaves over of coalitions it has not seen.

For any game f with known Shapley values, φ(v) = φ(f) + φ(r), r = v - f, and φ(r) is estimated by size (see
:mod:`~shapley_core.estimators.by_size`): with E_t the mean over all C(n, t) coalitions of size t,

    φ_i(r) = (r(N) - r(∅)) / n + Σ_t n / (t (n - t)) E_t[(r(S) - b_t) (z_i - t/n)],

the more precisely the better f describes v; b_t is any number. f must not have seen the coalitions that correct it:
they are shared out among folds, by chance within the sizes, f and the b_t (the mean of r at a size) are fitted for each
fold to the others, and all is averaged. What f leaves over of the coalitions it was fitted to is known, too, but for
those alone: of C(n, t), c in the fit and others held out, E_t takes the former with their share c / C(n, t) and the
mean of the latter for the rest. Without that a surrogate that fits closely would bias the values where a good part of
all coalitions was measured; with it they are exact on the whole game. Where some folds hold no coalition of a size,
the others speak for them.

**Uncertainty.** That of the mean of the terms held out, within sizes, complements together.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.estimators.by_size import covariance_by_size, share_unknown, subsets_by_size, unknown_sizes
from shapley_core.estimators.regression import Contrasts, units
from shapley_core.estimators.result import Attribution, additive_fit, attribute
from shapley_core.games.designs.by_size import kernel_weight_by_size
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]

#: Relative to the mean square of the singular values.
_RIDGE = 1e-10


def folds(game: MeasuredGame, estimator: str, n_folds: int, seed: int) -> npt.NDArray[np.int64]:
    """(units,) fold of each unit, by size in turn, so that every fold has about as many of each size.

    Units of a size are put in a random order that hangs on ``seed`` and their membership, not on the table. (In an
    order of membership itself, a fold's coalitions would lie between those of the others, and not be random.)

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
    key = seed.to_bytes(8, "big")
    code = np.packbits(game.membership, axis=1)
    chance = [hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest() for row in code]
    inside = np.sort(np.stack([game.membership.sum(axis=1), (~game.membership).sum(axis=1)]), axis=0)[0]
    order = np.lexsort([np.frombuffer(b"".join(chance), dtype=">u8"), inside])
    first = order[np.sort(np.unique(unit[order], return_index=True)[1])]
    fold = np.empty(len(first), dtype=np.int64)
    fold[unit[first]] = np.arange(len(first)) % n_folds
    return fold


def additive_surrogates(game: MeasuredGame, fold: npt.NDArray[np.int64]) -> Floats:
    """(folds, n) Shapley values of the additive games nearest to the units outside each fold.

    One regression tells them all: with H the hat matrix and r the residuals of everything, the fit to the units outside
    fold F misses those inside by (I - H_FF)⁻¹ r_F, and differs from that of everything by what such errors move it.
    A ridge too small to show makes the fit one of least norm where the units outside do not determine it.
    """
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    spectrum = rows.spectrum()
    axes = spectrum.axes
    kept = spectrum.d**2 / (spectrum.d**2 + _RIDGE * np.mean(spectrum.d**2))
    residual = spectrum.y - axes @ (kept * spectrum.a)
    along = []
    for number in range(int(fold.max()) + 1):
        inside = axes[fold == number]
        errors = np.linalg.solve(np.eye(len(inside)) - inside * kept @ inside.T, residual[fold == number])
        along.append(kept * (spectrum.a - errors @ inside))
    return rows.values(np.array(along) / spectrum.d @ spectrum.v.T)


def corrected(
    game: MeasuredGame,
    estimator: str,
    fold: npt.NDArray[np.int64],
    surrogates: Sequence[Floats],
    left_over: Floats,
    confidence: float,
) -> Attribution:
    """The attribution of the surrogates of all folds with their corrections.

    Args:
        game: what was measured.
        estimator: its name.
        fold: (units,) fold of each unit.
        surrogates: per fold, (n,) Shapley values of the game fitted to the others.
        left_over: (folds, m + 2) what these games leave over of each coalition, of ∅ and of N.
        confidence: nominal coverage of the intervals.

    Returns:
        ``diagnostics``: ``unknown_sizes``, ``n_units`` and those of ``additive_fit`` and ``attribute``.

    Raises:
        UserError: most sizes were not measured twice.
    """
    n = len(game.contributors)
    unknown = share_unknown(game, np.full(n, 1 / n))
    size = game.membership.sum(axis=1)
    possible = subsets_by_size(n)
    fold_of_row = fold[units(game.pair)]
    n_folds = len(surrogates)
    held = np.stack([np.bincount(size[fold_of_row == k], minlength=n + 1) for k in range(n_folds)])
    count = held.sum(axis=0)
    everywhere = (held > 0).all(axis=0) | (count == possible)
    voice = np.where(everywhere, 1 / n_folds, held / np.maximum(count, 1))
    t = np.arange(n + 1)
    known = (count > 1) | (count == possible)
    coefficient = np.divide(n, t * (n - t), out=np.zeros(n + 1), where=known & (t % n > 0))

    deviation = game.membership - size[:, None] / n
    values, unseen = np.mean(surrogates, axis=0), np.empty(len(size))
    for k, rest in enumerate(left_over):
        outside = fold_of_row != k
        fitted = count - held[k]
        share = np.where(outside, 1 / possible[size], ((1 - fitted / possible) / np.maximum(held[k], 1))[size])
        mean = _means(size[outside], rest[:-2][outside], rest[-2], rest[-1], n)
        terms = coefficient[size] * (rest[:-2] - mean[size])
        values += (voice[k][size] * share * terms) @ deviation + (rest[-1] - rest[-2]) / n / n_folds
        unseen[~outside] = terms[~outside]
    covariance = covariance_by_size((unseen / count[size])[:, None] * deviation, game)
    n_units = len(fold)
    diagnostics: dict[str, Any] = {"unknown_sizes": unknown, "n_units": n_units, **additive_fit(game, values)}
    df = max(n_units - (n - 1), 1)
    return attribute(game, estimator, values, covariance, df, confidence, diagnostics, unknown_sizes(unknown))


def _means(size: npt.NDArray[np.int64], rest: Floats, null: float, full: float, n: int) -> Floats:
    """(n + 1,) mean of each size, where there is none from its neighbours."""
    count = np.bincount(size, minlength=n + 1)
    seen = np.flatnonzero(count)
    mean = np.bincount(size, rest, minlength=n + 1)[seen] / count[seen]
    means: Floats = np.interp(np.arange(n + 1), [0, *seen, n], [null, *mean, full])
    return means
