"""The result of a valuation: a value with its uncertainty for every contributor."""

import builtins
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Attribution:
    """The property v(N) - v(∅), shared out among n contributors.

    Values, standard errors and interval bounds are in the property's own unit; NaN where the coalitions
    measured do not tell.

    Attributes:
        contributors: n names.
        values: (n,) what each contributor is worth; they sum to ``full_value - null_value``.
        std_errors: (n,) standard errors.
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
    residual_variance = np.average(residual**2, weights=game.weight)
    mean = np.average(utilities, weights=game.weight)
    variance = np.average((utilities - mean) ** 2, weights=game.weight)
    df = m - (n - 1)
    return {
        "residual_std": float(np.sqrt(residual_variance * m / df)) if df > 0 else math.nan,
        "r_squared": float(1 - residual_variance / variance) if variance > 0 else math.nan,
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
