r"""Payout: from values to amounts of money, to the cent.

A pool of money is shared out in proportion to the contributors' values, by these rules:

- **Negative values** count as zero: nobody owes anything. (Or the payout is refused, where the parties agreed that a
  negative value is to be looked into first.) Where nobody's value is positive there is nothing to go by, and the payout
  is refused.
- **Cents** are shared out by the largest remainder (Hamilton): everybody gets the whole cents of their exact share; the
  cents that are left go one each to those with the largest fractions of a cent. Among equal fractions the larger value
  comes first, among equal values the name that comes first in the alphabet. So amounts sum to the pool exactly, a
  larger value never gets less, and the order of the contributors is of no account. Shares are computed in exact
  arithmetic, so that this holds for any pool.
- **The interval** of an amount is what the rules make of the uncertainty of all values together: values are drawn from
  their joint distribution (Student's t with the attribution's covariance), each draw is paid out by the same rules, and
  the interval holds the middle of the drawn amounts, and the amount itself. It says what the contributor would have got
  had the values been known, and no more than the values' intervals do.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from shapley_core.errors import UserError
from shapley_core.estimators.result import Attribution
from shapley_core.seeds import derive_seed

Floats = npt.NDArray[np.float64]
Cents = npt.NDArray[np.int64]

#: Largest pool, in cents: sums of amounts stay exact in 64 bits, and in the floats of the drawn payouts.
MAX_POOL = 10**15


@dataclass(frozen=True, eq=False)
class Payout:
    """Amounts of money in cents.

    Attributes:
        contributors: n names.
        amounts: (n,) cents, none negative; they sum to ``pool``.
        low: (n,) lower bounds of the amounts' intervals; None where the values have no standard errors.
        high: (n,) upper bounds.
        pool: cents.
        confidence: nominal coverage of the intervals, that of the values'.
        warnings: sentences for people.
    """

    contributors: tuple[str, ...]
    amounts: Cents
    low: Cents | None
    high: Cents | None
    pool: int
    confidence: float
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per contributor, the largest amount first, in cents; bounds that are not known are missing."""
        unknown = pd.array([pd.NA] * len(self.amounts), dtype="Int64")
        return pd.DataFrame(
            {
                "contributor": self.contributors,
                "amount": self.amounts,
                "low": unknown if self.low is None else pd.array(self.low, dtype="Int64"),
                "high": unknown if self.high is None else pd.array(self.high, dtype="Int64"),
            }
        ).sort_values(["amount", "contributor"], ascending=[False, True], ignore_index=True)


def pay_out(
    attribution: Attribution,
    pool: int,
    *,
    negative: Literal["zero", "refuse"] = "zero",
    n_draws: int = 2000,
    seed: int = 0,
) -> Payout:
    """Shares a pool of money out in proportion to the values.

    Args:
        attribution: the values.
        pool: cents, at most :data:`MAX_POOL`.
        negative: what becomes of negative values: they count as zero, or the payout is refused.
        n_draws: of values, for the intervals.
        seed: of the draws.

    Raises:
        UserError: the pool is not a positive whole number of cents, a value is not a number, nobody's value is
            positive, or somebody's is negative and that is to be refused.
    """
    if isinstance(pool, bool) or not isinstance(pool, int) or not 0 < pool <= MAX_POOL:
        raise UserError(f"a pool to be paid out must be a whole number of cents from 1 to {MAX_POOL}, and is {pool}")
    names, values = attribution.contributors, attribution.values
    unknown = [name for name, value in zip(names, values, strict=True) if not isfinite(value)]
    if unknown:
        raise UserError(f"nothing can be paid out: the value of {_and_more(unknown)} is not known")
    below = [name for name, value in zip(names, values, strict=True) if value < 0]
    if below and negative == "refuse":
        raise UserError(
            f"nothing is paid out, because the value of {_and_more(below)} is negative: look into it, or let negative "
            "values count as zero"
        )
    if not (values > 0).any():
        raise UserError(
            "nothing can be paid out in proportion to the values: nobody's is positive. The property was no higher "
            "with the contributors' data than without; measure more coalitions, or share the pool out by another rule"
        )
    amounts = _to_the_cent(names, values, pool)
    warnings = []
    if below:
        warnings.append(f"The value of {_and_more(below)} is negative and counts as zero.")
    low = high = None
    if attribution.covariance is None:
        warnings.append("The values have no standard errors, so that the amounts have no intervals.")
    else:
        drawn = _drawn_amounts(attribution, pool, n_draws, seed)
        if len(drawn) < n_draws:
            warnings.append(
                f"In {1 - len(drawn) / n_draws:.0%} of the draws nobody's value is positive: whether there is anything "
                "to share out is not certain."
            )
        tail = (1 - attribution.confidence) / 2
        bounds = np.quantile(drawn, [tail, 1 - tail], axis=0) if len(drawn) else np.array([amounts, amounts])
        low = np.minimum(np.floor(bounds[0]), amounts).astype(np.int64)
        high = np.maximum(np.ceil(bounds[1]), amounts).astype(np.int64)
    return Payout(names, amounts, low, high, pool, attribution.confidence, tuple(warnings))


def _to_the_cent(names: tuple[str, ...], values: Floats, pool: int) -> Cents:
    """(n,) amounts by the largest remainder, in exact arithmetic; at least one value is positive."""
    shares = [max(Fraction(float(value)), Fraction(0)) for value in values]
    total = sum(shares)
    exact = [pool * share / total for share in shares]
    amounts = [amount.numerator // amount.denominator for amount in exact]
    first = sorted(range(len(names)), key=lambda i: (amounts[i] - exact[i], -shares[i], names[i]))
    for i in first[: pool - sum(amounts)]:
        amounts[i] += 1
    return np.array(amounts, dtype=np.int64)


def _drawn_amounts(attribution: Attribution, pool: int, n_draws: int, seed: int) -> Floats:
    """(draws, n) amounts of drawn values, without the draws in which nobody's is positive."""
    rng = np.random.default_rng(derive_seed(seed, "payout"))
    weights = np.maximum(attribution.drawn_values(n_draws, rng), 0)
    weights = weights[(weights > 0).any(axis=1)]
    exact = pool * (weights / weights.sum(axis=1, keepdims=True))
    amounts: Floats = np.floor(exact)
    left = pool - amounts.sum(axis=1, keepdims=True)
    place = np.argsort(np.argsort(amounts - exact, axis=1, kind="stable"), axis=1)
    amounts += place < left
    return amounts


def _and_more(names: list[str]) -> str:
    return names[0] + (f" (and of {len(names) - 1} more)" if len(names) > 1 else "")
