"""The linear datamodeling score: does an attribution predict what retraining shows (paper Definition 2)?

Over held-out coalitions S_1 ... S_B of round(alpha n) contributors each, drawn uniformly and retrained,

    LDS = rho( (v(S_b)), (g(S_b, tau)) ),    g(S, tau) = sum_{i in S} tau_i,

with Spearman's rank correlation rho. A utility has noise (another seed of training gives another number), so not even
the true values reach one: if two retrainings of the same coalitions correlate by r, a prediction without noise can
correlate with one of them by sqrt(r) at most, on average (Spearman's correction for attenuation, 1904).

The paper reports the mean over three sets of coalitions with an interval of 1.96 standard deviations of them over
sqrt(3); of three numbers only Student's t makes a 95 % interval, which is 2.7 times as wide.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr, t

from shapley_core.errors import UserError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over independent sets of coalitions.

    Attributes:
        mean: of the sets' scores.
        low: of the interval for the mean.
        high: of the interval; both NaN where there is one set.
        scores: one of each set.
    """

    mean: float
    low: float
    high: float
    scores: tuple[float, ...]


def rank_correlation(predicted: Floats, measured: Floats) -> float:
    """Spearman's correlation; 0 where every prediction is the same, which says nothing of the order.

    Raises:
        UserError: fewer than two numbers, or the measured ones are all the same.
    """
    if len(measured) < 2:
        raise UserError(f"a rank correlation needs at least two coalitions, and there are {len(measured)}")
    if np.ptp(measured) == 0:
        raise UserError(
            f"the property is {measured[0]:g} for all {len(measured)} held-out coalitions: there is nothing to predict"
        )
    if np.ptp(predicted) == 0:
        return 0.0
    return float(spearmanr(predicted, measured).statistic)


def over_sets(scores: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of scores of independent sets of coalitions, with Student's t interval."""
    numbers = np.asarray(scores, dtype=float)
    mean = float(numbers.mean())
    if len(numbers) < 2:
        return Interval(mean, np.nan, np.nan, (*numbers.tolist(),))
    half = t.ppf((1 + confidence) / 2, len(numbers) - 1) * numbers.std(ddof=1) / np.sqrt(len(numbers))
    return Interval(mean, float(mean - half), float(mean + half), (*numbers.tolist(),))


def noise_ceiling(first: Floats, again: Floats) -> float:
    """The LDS that a perfect prediction can expect, from two retrainings (B,) of the same coalitions.

    0 where the retrainings do not agree at all.
    """
    return float(np.sqrt(max(rank_correlation(first, again), 0.0)))


def check_held_out(held_out: Iterable[str], fitted: Iterable[str]) -> None:
    """Raise :class:`UserError` where the values have seen a coalition that they are to be judged by.

    Args:
        held_out: keys of the coalitions that judge.
        fitted: keys of those that the values were solved from.
    """
    seen = set(held_out) & set(fitted)
    if seen:
        raise UserError(
            f"{len(seen)} of the held-out coalitions took part in the valuation: draw others (another seed), or judge "
            "values that were solved without them"
        )
