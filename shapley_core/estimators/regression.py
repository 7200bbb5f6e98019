r"""What the regression estimators have in common: the rows of the regression, its solution, its covariance.

**Rows.** The Shapley value minimises the weighted squared error of v(∅) + zᵀφ under 1ᵀφ = v(N) - v(∅) =: Δ. With
φ = Δ/n + Hᵀu, the n - 1 rows of H an orthonormal basis of the space orthogonal to 1 (a Helmert matrix), that is an
ordinary regression of v(S) - v(∅) - |S| Δ/n on Hz. The row of a complement is -Hz, so a complementary pair is one
row with half the difference of its two targets: all that the two have in common, noise aside every interaction of
even order, is gone.

**Covariance.** (XᵀWX)⁻¹ Xᵀ W diag(e² / (1 - h)) W X (XᵀWX)⁻¹ with residuals e and leverages h (MacKinnon & White 1985,
HC2): right on average where units err alike, however few they are, and with many units where they do not, as with
interactions, whose size depends on the coalition's. A unit that is alone in determining a direction (h = 1) has no
residual; it gets the mean square of the others.

**Degrees of freedom.** The smallest coalitions weigh most, so that a value's variance is the sum of a few large squares
and many small ones, and is known less well than k - r degrees of freedom say, k the units and r the rank. With c_j the
share of unit j in the variance of a value, were all to err alike, it has as many as 1 / Σ c_j² units of equal share
would (Satterthwaite 1946; Bell & McCaffrey 2002, of whose formula this is the diagonal), of which the regression leaves
(k - r) / k. The intervals take the mean over the contributors, and k - r at most.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas, helmert

from shapley_core.estimators.result import Attribution, additive_fit, attribute
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]

#: 1 - leverage below which a residual says nothing about its error.
_NO_RESIDUAL = 1e-8


def units(pair: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(m,) number of the independent unit (complementary pair or lone coalition) of each row, 0 .. units - 1."""
    alone = pair.max(initial=-1) + 1 + np.arange(len(pair))
    unit: npt.NDArray[np.int64] = np.unique(np.where(pair >= 0, pair, alone), return_inverse=True)[1]
    return unit


@dataclass(frozen=True, eq=False)
class Contrasts:
    """The regression's rows, one per unit, k of them.

    Attributes:
        x: (k, n - 1) Hz of the unit's first coalition.
        target: (k,) what the unit says of x u.
        weight: (k,) with mean 1.
        lone: (k,) bool; is the unit a coalition without its complement?
        row: (k,) the first coalition's row in the game.
        basis: (n - 1, n) H.
        equal_share: Δ/n.
    """

    x: Floats
    target: Floats
    weight: Floats
    lone: npt.NDArray[np.bool_]
    row: npt.NDArray[np.int64]
    basis: Floats
    equal_share: float

    @classmethod
    def of(cls, game: MeasuredGame, weight: Floats, curve: Floats | None = None) -> "Contrasts":
        """The rows of a game whose coalitions have (m,) ``weight``.

        Args:
            game: what was measured.
            weight: (m,) of the coalitions.
            curve: (n + 1,) taken off the utilities by size, from v(∅) to v(N); None: a straight line.
        """
        n = len(game.contributors)
        basis = helmert(n)
        equal_share = (game.full_value - game.null_value) / n
        line = np.linspace(game.null_value, game.full_value, n + 1)
        target = game.values - (line if curve is None else curve)[game.membership.sum(axis=1)]
        unit = units(game.pair)
        first = np.unique(unit, return_index=True)[1]
        sign = np.where(first[unit] == np.arange(len(unit)), 1.0, -1.0)
        unit_weight = np.bincount(unit, weight)
        return cls(
            x=game.membership[first] @ basis.T,
            target=np.bincount(unit, sign * weight * target) / unit_weight,
            weight=unit_weight / unit_weight.mean(),
            lone=np.bincount(unit) == 1,
            row=first,
            basis=basis,
            equal_share=equal_share,
        )

    def spectrum(self) -> "Spectrum":
        """The weighted regression of the targets on the rows."""
        return Spectrum.of(self.x, self.target, self.weight)

    def values(self, u: Floats) -> Floats:
        """(n,) Shapley values of the coefficients ``u``."""
        values: Floats = self.equal_share + u @ self.basis
        return values

    def mean_squares(self, spectrum: "Spectrum", along: Floats) -> Floats:
        """(n, n) covariance of the Shapley values, from (r,) variances of coefficients along the spectrum's axes."""
        axes = spectrum.v.T @ self.basis
        covariance: Floats = (axes.T * along) @ axes
        return covariance


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A weighted regression turned to its principal axes, once they are asked for: X√w = U diag(d) Vᵀ, a = Uᵀ (y√w).

    Attributes:
        x: (k, p) rows, times the root of their weight.
        y: (k,) targets, times the root of their weight.
        whitening: (k, k) lower triangle that made the errors of ``x`` and ``y`` independent; None: they were.
    """

    x: Floats
    y: Floats
    whitening: Floats | None = None

    @classmethod
    def of(cls, x: Floats, target: Floats, weight: Floats) -> "Spectrum":
        """The regression of (k,) targets on (k, p) rows of (k,) weight."""
        root = np.sqrt(weight)
        return cls(x * root[:, None], target * root)

    def whitened(self, whitening: Floats) -> "Spectrum":
        """Generalised least squares: with errors of covariance (WᵀW)⁻¹, W the (k, k) lower triangle ``whitening``."""
        return Spectrum(blas.dtrmm(1.0, whitening, self.x, lower=1), whitening @ self.y, whitening)

    @cached_property
    def _decomposed(self) -> tuple[Floats, Floats, Floats, float]:
        """d, V, a and what is left over, by way of R of a QR decomposition, so that it costs k p² however many rows."""
        r: Floats = np.asarray(np.linalg.qr(np.column_stack([self.x, self.y]), mode="r"))
        u, d, vt = np.linalg.svd(r[:, :-1], full_matrices=False)
        rank = int(np.sum(d > d[0] * max(self.x.shape) * np.finfo(np.float64).eps))
        a = u[:, :rank].T @ r[:, -1]
        rest = r[:, -1] - u[:, :rank] @ a
        return d[:rank], vt[:rank].T, a, float(rest @ rest)

    @property
    def d(self) -> Floats:
        """(r,) singular values, the rank of the regression many, descending."""
        return self._decomposed[0]

    @property
    def v(self) -> Floats:
        """(p, r) axes."""
        return self._decomposed[1]

    @property
    def a(self) -> Floats:
        """(r,) the targets along the axes."""
        return self._decomposed[2]

    @property
    def left_over(self) -> float:
        """Squared length of what of the targets no coefficients reach."""
        return self._decomposed[3]

    @property
    def axes(self) -> Floats:
        """(k, r) U, orthonormal columns."""
        axes: Floats = self.x @ (self.v / self.d)
        return axes

    @property
    def condition_number(self) -> float:
        """Ratio of the largest to the smallest singular value; infinite where the rank is not full."""
        return float(self.d[0] / self.d[-1]) if len(self.d) == self.x.shape[1] else float("inf")

    def coefficients(self) -> Floats:
        """(p,) the solution, of least norm where there are several."""
        u: Floats = self.v @ (self.a / self.d)
        return u

    def uncertainty(
        self,
        onto: Floats,
        unit: npt.NDArray[np.int64] | None = None,
        unseen: Floats | float = 1.0,
        noise: Floats | float = 0.0,
    ) -> tuple[Floats | None, float]:
        """(n, n) covariance of values (HC2), None where the residuals have no degrees of freedom; and the values' own.

        Args:
            onto: (p, n) the values are the coefficients times this.
            unit: (k,) rows of one unit err together; None: every row is a unit.
            unseen: (k,) share of a row's squared error that counts.
            noise: (k,) what is added to that, and taken for known, in the square of the weighted target's unit.
        """
        axes = self.axes
        residual, precision = self.y - axes @ self.a, np.ones(len(self.y))
        if self.whitening is not None:
            precision = np.einsum("jk,jk->k", self.whitening, self.whitening)
            axes = blas.dtrmm(1.0, self.whitening, axes, lower=1, trans_a=1)
            residual = self.whitening.T @ residual / precision
        leverage = np.einsum("kr,kr->k", axes, axes) / precision
        if unit is not None:
            leverage = np.bincount(unit, leverage)[unit]
        n_units = len(leverage) if unit is None else int(unit.max()) + 1
        df = n_units - len(self.d)
        if df < 1:
            return None, 1.0
        errors = errors_of_rows(residual, 1 - leverage)
        moves = axes @ ((self.v.T @ onto) / self.d[:, None])  # (k, n) of the values, by a row's error of one
        spread = moves**2 / precision[:, None]
        moves *= np.copysign(np.sqrt(unseen * errors**2 + noise), errors)[:, None]
        chance = spread * np.reshape(unseen, (-1, 1))
        if unit is not None:
            moves, spread, chance = (sums_by_unit(rows, unit) for rows in (moves, spread, chance))
        squares = np.einsum("ki,ki->i", chance, chance)
        with np.errstate(divide="ignore", invalid="ignore"):
            effective = np.nanmean(spread.sum(axis=0) ** 2 / squares) * df / n_units
        covariance: Floats = moves.T @ moves
        return covariance, float(np.clip(effective, 1, df))


def errors_of_rows(residual: Floats, free: Floats) -> Floats:
    """(k,) residuals over the root of their (k,) ``free`` share, 1 - leverage; without one, the others' mean square."""
    known = free > _NO_RESIDUAL
    error: Floats = residual / np.sqrt(np.where(known, free, 1.0))
    error[~known] = np.sqrt(np.mean(error[known] ** 2)) if known.any() else 0.0
    return error


def attribute_regression(
    game: MeasuredGame,
    estimator: str,
    rows: Contrasts,
    spectrum: Spectrum,
    confidence: float,
    **diagnostics: Any,
) -> Attribution:
    """The attribution of a regression that does not shrink the values.

    Args:
        game: what was measured.
        estimator: its name.
        rows: the regression's rows.
        spectrum: their solution.
        confidence: nominal coverage of the intervals.
        diagnostics: more of them.

    Returns:
        Values that sum to v(N) - v(∅). ``diagnostics``: ``rank`` (n - 1 when the values are determined),
        ``condition_number``, ``n_units``, ``degrees_of_freedom``, those given, and those of
        :func:`~shapley_core.estimators.result.additive_fit` and :func:`~shapley_core.estimators.result.attribute`.
    """
    n, rank, n_units = len(game.contributors), len(spectrum.d), len(rows.target)
    values = rows.values(spectrum.coefficients())
    warnings = undetermined(rank, n - 1, len(game.values))
    covariance, df = spectrum.uncertainty(rows.basis) if rank == n - 1 else (None, 1.0)
    if covariance is None:
        warnings.append(no_uncertainty(n_units, n))
    diagnostics |= {
        "rank": rank,
        "condition_number": spectrum.condition_number,
        "n_units": n_units,
        "degrees_of_freedom": df,
        **additive_fit(game, values),
    }
    return attribute(game, estimator, values, covariance, df, confidence, diagnostics, warnings)


def sums_by_unit(rows: Floats, unit: npt.NDArray[np.int64]) -> Floats:
    """(units, p) sums of the rows of each unit."""
    order = np.argsort(unit, kind="stable")
    starts = np.searchsorted(unit[order], np.arange(unit.max() + 1))
    sums: Floats = np.add.reduceat(rows[order], starts, axis=0)
    return sums


def undetermined(rank: int, needed: int, n_coalitions: int) -> list[str]:
    """The warning that coalitions do not determine the values, if so."""
    if rank >= needed:
        return []
    return [
        f"The {n_coalitions} coalitions measured do not determine the values (rank {rank} of {needed}): contributors "
        "they do not tell apart share equally. Measure more coalitions."
    ]


def no_uncertainty(n_units: int, n: int) -> str:
    """The warning that there are too few measurements to judge the values by."""
    return (
        f"{n_units} independent measurements cannot say how certain the values of {n} contributors are: there are no "
        "standard errors or intervals. Measure more coalitions."
    )
