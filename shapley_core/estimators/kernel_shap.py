r"""KernelSHAP in closed form: the paper's estimator (eq. 5; Covert & Lee 2021, arXiv 2012.01536, eq. 7).

The values minimise the weighted squared error of the additive game v(∅) + zᵀφ (z the 0/1 membership of S) on
the measured coalitions, under the constraint 1ᵀφ = v(N) - v(∅) =: Δ. With A = mean zzᵀ and b = mean z (v(S)
- v(∅)),

    φ = A⁻¹ (b - 1 (1ᵀA⁻¹b - Δ) / (1ᵀA⁻¹1)).

The same minimum is found here without the constraint: φ = Δ/n + Hᵀu, with the n - 1 rows of H an orthonormal
basis of the space orthogonal to 1 (a Helmert matrix), leaves an ordinary regression of v(S) - v(∅) - |S| Δ/n
on Hz. It is better conditioned than A, and defined where A is singular though the values are determined.
Directions in which the coalitions say nothing get the solution of least norm: equal shares.

**Uncertainty.** Units are resampled with replacement (a complementary pair as one, else a coalition), each
with its weight, and the regression is solved again; the standard error is the standard deviation over the
replicates, and the interval is value ± t · standard error with (units - (n - 1)) degrees of freedom. A
replicate that misses too many units to determine the values gets equal shares in the missing directions;
where units are few, such replicates scatter widely, and the intervals are too wide rather than too narrow.
v(∅) and v(N) are taken as they are: an error in their measurement shifts all values about alike, and no
interval covers it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import helmert

from shapley_core.estimators.accept import accept
from shapley_core.estimators.regression import units
from shapley_core.estimators.result import Attribution, additive_fit, attribute
from shapley_core.games.measured import MeasuredGame
from shapley_core.seeds import derive_seed

Floats = npt.NDArray[np.float64]

#: Numbers held at once while replicates are solved (8 bytes each).
_CHUNK = 8_000_000

#: Ridge on a replicate's normal equations, relative to their mean diagonal: too small to show in a value,
#: large enough that a singular replicate yields its solution of least norm.
_RIDGE = 1e-10

#: Share of undetermined replicates from which the intervals deserve a warning.
_MANY_UNDETERMINED = 0.1


def kernel_shap(game: MeasuredGame, *, confidence: float = 0.95, n_bootstrap: int = 1000, seed: int = 0) -> Attribution:
    """Shapley values by constrained least squares, with bootstrap standard errors and intervals.

    Standard errors and intervals are NaN, and ``diagnostics["warnings"]`` says so, when there are fewer
    units than contributors: the regression then fits whatever was measured and leaves nothing to judge it by.

    Args:
        game: what was measured, by a design whose weights are those of the Shapley kernel.
        confidence: nominal coverage of the intervals.
        n_bootstrap: replicates; 0: values only, standard errors and intervals are NaN.
        seed: of the resampling.

    Returns:
        Values that sum to v(N) - v(∅). ``diagnostics``: ``rank`` of the regression (n - 1 when the values are
        determined), ``condition_number``, ``n_units``, ``degrees_of_freedom``, ``n_bootstrap``,
        ``undetermined_replicates`` (share), and those of
        :func:`~shapley_core.estimators.result.additive_fit` and :func:`~shapley_core.estimators.result.attribute`.

    Raises:
        UserError: the design does not fit, or the game is not sound.
    """
    accept(game, "kernel_shap")
    n = len(game.contributors)
    regression = _Regression.of(game)
    values, rank, condition_number = regression.solve()
    unit = units(game.pair)
    n_units = int(unit.max()) + 1
    df = n_units - (n - 1)

    warnings = []
    if rank < n - 1:
        warnings.append(
            f"The {len(game.values)} coalitions measured do not determine the values (rank {rank} of "
            f"{n - 1}): contributors they do not tell apart share equally. Measure more coalitions."
        )
    covariance = None
    undetermined = 0.0
    if df < 1:
        warnings.append(
            f"{n_units} independent measurements cannot say how certain the values of {n} contributors are: "
            f"there are no standard errors or intervals below {n}. Measure more coalitions."
        )
    elif n_bootstrap > 0:
        rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
        counts = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_bootstrap)
        covariance = np.cov(regression.replicates(counts[:, unit]), rowvar=False)
        undetermined = float(np.mean((counts > 0).sum(axis=1) < n - 1))
        if undetermined > _MANY_UNDETERMINED:
            warnings.append(
                f"{undetermined:.0%} of the bootstrap replicates hold too few coalitions to determine the "
                "values: the standard errors are rough. Measure more coalitions."
            )

    diagnostics: dict[str, Any] = {
        "rank": rank,
        "condition_number": condition_number,
        "n_units": n_units,
        "degrees_of_freedom": df,
        "n_bootstrap": n_bootstrap,
        "undetermined_replicates": undetermined,
        **additive_fit(game, values),
    }
    return attribute(game, "kernel_shap", values, covariance, max(df, 1), confidence, diagnostics, warnings)


@dataclass(frozen=True, eq=False)
class _Regression:
    """The regression of the module's docstring: u minimises Σ weight (target - x u)²; φ = Δ/n + Hᵀu."""

    x: Floats  # (m, n - 1), the rows Hz
    target: Floats  # (m,)
    weight: Floats  # (m,)
    basis: Floats  # (n - 1, n), H
    equal_share: float  # Δ/n

    @classmethod
    def of(cls, game: MeasuredGame) -> "_Regression":
        n = len(game.contributors)
        z = game.membership.astype(np.float64)
        basis = helmert(n)
        equal_share = (game.full_value - game.null_value) / n
        return cls(
            x=z @ basis.T,
            target=game.values - game.null_value - z.sum(axis=1) * equal_share,
            weight=game.weight / game.weight.sum(),
            basis=basis,
            equal_share=equal_share,
        )

    def solve(self) -> tuple[Floats, int, float]:
        """(n,) values, rank, and condition number (ratio of the largest to the smallest singular value)."""
        scale = np.sqrt(self.weight)
        u, _, rank, singular = np.linalg.lstsq(self.x * scale[:, None], self.target * scale)
        condition = float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")
        return self.equal_share + u @ self.basis, int(rank), condition

    def replicates(self, counts: npt.NDArray[np.int64]) -> Floats:
        """(replicates, n) values with the coalitions counted as often as ``counts`` (replicates, m) says."""
        m, k = self.x.shape
        weighted_target = self.x * self.target[:, None]
        ridge = _RIDGE * np.eye(k)
        us = []
        for some in np.array_split(counts, -(-len(counts) * m * k // _CHUNK)):
            weight = self.weight * some
            normal = self.x.T @ (weight[:, :, None] * self.x)
            normal += ridge * (np.trace(normal, axis1=1, axis2=2) / k)[:, None, None]
            us.append(np.linalg.solve(normal, (weight @ weighted_target)[:, :, None])[:, :, 0])
        values: Floats = self.equal_share + np.concatenate(us) @ self.basis
        return values
