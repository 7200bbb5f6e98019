"""The result of a valuation: a value with its uncertainty for every contributor.

An estimator hands its values and their covariance to :func:`attribute`, which draws the same conclusions for all of
them: standard errors, intervals, who ranks above whom, and the sentence that nothing can be said where that is so.
"""

import builtins
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Attribution:
    """The property v(N) - v(∅), shared out among n contributors.

    Values, standard errors and interval bounds are in the property's own unit; NaN where the coalitions
    measured do not tell.

    Attributes:
        contributors: n names.
        values: (n,) what each contributor is worth; Shapley values sum to ``full_value - null_value``.
        std_errors: (n,) standard errors of ``centre``.
        ci_low: (n,) lower bound of the interval.
        ci_high: (n,) upper bound of the interval.
        null_value: v(∅).
        full_value: v(N).
        property: name of the property.
        design: name of the sampling design.
        estimator: name of the estimator.
        n_coalitions: interior coalitions the estimate rests on.
        confidence: nominal coverage of the intervals, 0 to 1.
        diagnostics: JSON values; ``warnings`` is a list of sentences for people.
        covariance: (n, n) covariance of the errors of ``centre``; None where the coalitions measured do not tell.
        degrees_of_freedom: of Student's t distribution of such an error over its standard error.
        centre: (n,) what intervals, probabilities and drawn values are centred on: an estimate without bias, where the
            values have one in exchange for a smaller error; None: the values.
    """

    contributors: tuple[str, ...]
    values: Floats
    std_errors: Floats
    ci_low: Floats
    ci_high: Floats
    null_value: float
    full_value: float
    property: str
    design: str
    estimator: str
    n_coalitions: int
    confidence: float
    diagnostics: dict[str, Any]
    covariance: Floats | None = None
    degrees_of_freedom: float = math.inf
    centre: Floats | None = None

    @builtins.property  # the field `property` hides the plain name from here on
    def ranks(self) -> npt.NDArray[np.int64]:
        """(n,) 1 for the largest value; contributors of equal value stand in order of their names."""
        order = sorted(range(len(self.values)), key=lambda i: (-self.values[i], self.contributors[i]))
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(1, len(order) + 1)
        return ranks

    @builtins.property  # the field `property` hides the plain name from here on
    def shares(self) -> Floats:
        """(n,) values as shares of ``full_value - null_value``; NaN when that is zero but for rounding."""
        total = self.full_value - self.null_value
        if abs(total) <= 1e-9 * max(abs(self.full_value), abs(self.null_value)):
            return np.full(len(self.values), np.nan)
        return self.values / total

    @builtins.property  # the field `property` hides the plain name from here on
    def probability_above(self) -> Floats:
        """(n, n) probability that contributor i (row) is worth more than j (column), one half on the diagonal.

        From Student's t distribution of the difference of two values. NaN off the diagonal where there is no
        covariance.
        """
        n = len(self.values)
        above = np.full((n, n), 0.5)
        i, j = np.triu_indices(n, 1)
        above[i, j] = self.probability_of_order(i, j)
        above[j, i] = 1 - above[i, j]
        return above

    def probability_of_order(self, i: npt.NDArray[np.int64], j: npt.NDArray[np.int64]) -> Floats:
        """(pairs,) probability that contributor ``i`` is worth more than ``j``, of (pairs,) contributors each."""
        if self.covariance is None:
            return np.full(len(i), np.nan)
        variance = np.diag(self.covariance)
        spread = np.sqrt(np.maximum(variance[i] + variance[j] - 2 * self.covariance[i, j], 0))
        difference = self._middle[i] - self._middle[j]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(difference == 0, 0.0, difference / spread)
        above: Floats = special.stdtr(self.degrees_of_freedom, t)
        return above

    def drawn_values(self, n_draws: int, rng: np.random.Generator) -> Floats:
        """(n_draws, n) what the values may be: draws of Student's t around ``centre`` with its covariance.

        Raises:
            ValueError: the covariance is not known.
        """
        if self.covariance is None:
            raise ValueError("values without a covariance have no distribution to draw from")
        variance, axes = np.linalg.eigh(self.covariance)
        root = axes * np.sqrt(np.maximum(variance, 0))
        away = rng.normal(size=(n_draws, len(root))) @ root.T
        if math.isfinite(self.degrees_of_freedom):
            away /= np.sqrt(rng.chisquare(self.degrees_of_freedom, size=(n_draws, 1)) / self.degrees_of_freedom)
        drawn: Floats = self._middle + away
        return drawn

    @builtins.property  # the field `property` hides the plain name from here on
    def _middle(self) -> Floats:
        """(n,) what ``covariance`` is the uncertainty of."""
        return self.values if self.centre is None else self.centre

    def to_frame(self) -> pd.DataFrame:
        """One row per contributor, sorted by rank: the content of ``values.parquet``."""
        return pd.DataFrame(
            {
                "contributor": self.contributors,
                "value": self.values,
                "std_error": self.std_errors,
                "ci_low": self.ci_low,
                "ci_high": self.ci_high,
                "rank": self.ranks,
                "share": self.shares,
            }
        ).sort_values("rank", ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        """The content of ``values.json``; numbers that are not finite become None."""
        facts = {
            "contributors": self.to_frame().to_dict("records"),
            "null_value": self.null_value,
            "full_value": self.full_value,
            "property": self.property,
            "design": self.design,
            "estimator": self.estimator,
            "n_coalitions": self.n_coalitions,
            "confidence": self.confidence,
            "diagnostics": self.diagnostics,
        }
        jsonable: dict[str, Any] = _jsonable(facts)
        return jsonable


def attribute(
    game: MeasuredGame,
    estimator: str,
    values: Floats,
    covariance: Floats | None,
    degrees_of_freedom: float,
    confidence: float,
    diagnostics: dict[str, Any],
    warnings: list[str],
    centre: Floats | None = None,
) -> Attribution:
    """The attribution of a measured game, from the values and their covariance (None: unknown).

    Intervals are centre (None: value) ± t · standard error. ``diagnostics`` gains ``rank_stability`` (expected Kendall
    correlation between this ranking and one drawn from its uncertainty: 1 when every pair's order is certain, 0 when
    none is more likely than its reverse; about a half where there is nothing but noise) and ``warnings``, to which is
    added, where it is so, that no two contributors are told apart at ``confidence``, allowing for the number of pairs
    (Bonferroni).
    """
    n = len(values)
    std_errors = np.full(n, np.nan) if covariance is None else np.sqrt(np.diag(covariance))
    reach = special.stdtrit(degrees_of_freedom, (1 + confidence) / 2) * std_errors
    middle = values if centre is None else centre
    attribution = Attribution(
        contributors=game.contributors,
        values=values,
        std_errors=std_errors,
        ci_low=middle - reach,
        ci_high=middle + reach,
        null_value=game.null_value,
        full_value=game.full_value,
        property=game.property,
        design=game.design,
        estimator=estimator,
        n_coalitions=len(game.values),
        confidence=confidence,
        diagnostics=diagnostics,
        covariance=covariance,
        degrees_of_freedom=degrees_of_freedom,
        centre=centre,
    )
    above = attribution.probability_of_order(*np.triu_indices(n, 1))
    order_stands = np.maximum(above, 1 - above)
    diagnostics["rank_stability"] = float(np.mean(2 * order_stands - 1))
    diagnostics["warnings"] = warnings
    # Either of the two may be ahead, so half of a pair's share of the errors is for each.
    if np.any(std_errors > 0) and order_stands.max() < 1 - (1 - confidence) / (2 * len(above)):
        warnings.append(
            f"No two contributors can be told apart at {confidence:.0%} confidence, allowing for the number of pairs: "
            "do not read the values as a ranking. Measure more coalitions."
        )
    if together := _always_together(game):
        warnings.append(
            f"{together[0]} and {together[1]} were in the same coalitions throughout: nothing tells how what they are "
            "worth together is shared between them. Measure more coalitions."
        )
    return attribution


def _always_together(game: MeasuredGame) -> tuple[str, str] | None:
    """Two contributors that no coalition measured has one of, if there are."""
    by_column: dict[bytes, str] = {}
    for name, column in zip(game.contributors, np.packbits(game.membership, axis=0).T, strict=True):
        first = by_column.setdefault(column.tobytes(), name)
        if first != name:
            return first, name
    return None


def additive_fit(game: MeasuredGame, values: Floats) -> dict[str, float]:
    """How well the additive game v(∅) + Σ values of the members describes the measured utilities.

    Returns:
        ``residual_std``: standard deviation of a coalition's utility around the additive game, in the
        property's unit, with n - 1 degrees of freedom taken off: noise of the measurement and interaction of
        the contributors together. ``r_squared``: share of the weighted variance of the utilities that the
        additive game explains; negative when it is worse than their mean. NaN where there is nothing to
        compute them from.
    """
    m, n = game.membership.shape
    utilities = game.values
    residual = utilities - game.null_value - game.membership @ values
    share = game.weight / game.weight.sum()
    residual_variance = share @ residual**2
    variance = share @ (utilities - share @ utilities) ** 2
    df = m - (n - 1)
    return {
        "residual_std": float(np.sqrt(residual_variance * m / df)) if df > 0 else math.nan,
        "r_squared": float(1 - residual_variance / variance) if variance > 0 else math.nan,
    }


def not_efficient(name: str, values: Floats) -> dict[str, Any]:
    """Diagnostics of values that do not sum to v(N) - v(∅): their sum, and a note that says so."""
    return {
        "sum_of_values": float(values.sum()),
        "note": f"{name} values do not sum to the difference of the full and the empty coalition; shares are relative "
        "to that difference all the same.",
    }


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.generic):
        return _jsonable(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
