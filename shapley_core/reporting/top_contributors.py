"""Who the top contributors are: how the top 20 % differ from the others in what is known of them (paper §4.5).

The difference of two means is uncertain for two reasons. Who belongs to the top hangs on which coalitions were drawn:
the values are drawn anew from their joint distribution, and each draw has a top, and so a difference, of its own. And
two groups of contributors differ in anything by chance: that is the variance of the two-sample t test (Student's, with
pooled variance). The interval is the mean of the drawn differences ± t · the root of the sum of both variances, with
n - 2 degrees of freedom; it allows for the number of facts compared (Bonferroni), so that all intervals hold together.
Where the values are little more than noise, it stands around zero, whoever is on top by their estimates.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from shapley_core.contributor_facts import ContributorFacts, Label
from shapley_core.estimators.result import Attribution

#: Share of the contributors that are on top (paper §4.5).
TOP_SHARE = 0.2
_N_DRAWS = 2000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """One fact, in the mean over the top contributors and over the others.

    Attributes:
        label: how the fact is shown.
        top: mean over the top contributors.
        others: mean over the others.
        low: lower bound of the interval of the difference, top less others; NaN where nothing tells.
        high: upper bound.
    """

    label: Label
    top: float
    others: float
    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Whether the groups differ by more than chance would make."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class TopContributors:
    """The top contributors beside the others.

    Attributes:
        names: by rank.
        comparisons: one per fact.
    """

    names: tuple[str, ...]
    comparisons: tuple[Comparison, ...]


def top_contributors(attribution: Attribution, facts: ContributorFacts, seed: int = 0) -> TopContributors:
    """Compare the top 20 % (at least one) with the others in every fact that has a label.

    Args:
        attribution: the values.
        facts: of the same contributors.
        seed: of the draws of the values.
    """
    n = len(attribution.contributors)
    k = max(1, round(TOP_SHARE * n))
    table = facts.facts.set_index("contributor").loc[list(attribution.contributors), list(facts.labels)]
    numbers = table.to_numpy(dtype=np.float64)
    order = np.argsort(attribution.ranks)
    low = high = np.full(len(facts.labels), math.nan)
    if attribution.covariance is not None and n > 2:
        drawn = attribution.drawn_values(_N_DRAWS, np.random.default_rng(seed))
        differences = _differences(numbers, np.argsort(-drawn, axis=1, kind="stable")[:, :k])
        tail = (1 - attribution.confidence) / (2 * len(facts.labels))
        reach = special.stdtrit(n - 2, 1 - tail) * np.sqrt(differences.var(axis=0) + _by_chance(numbers, order, k))
        low, high = differences.mean(axis=0) - reach, differences.mean(axis=0) + reach
    means = numbers[order[:k]].mean(axis=0), numbers[order[k:]].mean(axis=0)
    return TopContributors(
        names=tuple(attribution.contributors[i] for i in order[:k]),
        comparisons=tuple(
            Comparison(label, *map(float, numbers_of_label))
            for label, *numbers_of_label in zip(facts.labels.values(), *means, low, high, strict=True)
        ),
    )


def _differences(numbers: Floats, tops: npt.NDArray[np.int64]) -> Floats:
    """(draws, facts) mean over the top minus mean over the others; ``tops`` (draws, k) are the rows of the top."""
    n, k = len(numbers), tops.shape[1]
    sums = numbers[tops].sum(axis=1)
    differences: Floats = sums / k - (numbers.sum(axis=0) - sums) / (n - k)
    return differences


def _by_chance(numbers: Floats, order: npt.NDArray[np.int64], k: int) -> Floats:
    """(facts,) variance of the difference of the means of two groups of this size, by their pooled variance."""
    n = len(numbers)
    within = sum(((group - group.mean(axis=0)) ** 2).sum(axis=0) for group in np.split(numbers[order], [k]))
    chance: Floats = within / (n - 2) * (1 / k + 1 / (n - k))
    return chance
