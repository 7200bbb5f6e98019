"""Stopping rules: has enough been measured? Each judges a result and what it cost, and says why in words.

Rules combine: ``StandardError(0.01) & RankStability(0.9) | Budget(500) | WallTime(3600)`` stops when the values are
precise and their ranking is stable, or when either resource is used up. ``&`` binds more strongly than ``|``, as in any
Python expression. A rule holds nothing of what it has judged, so that it can be asked again at any time, of a run that
was resumed, too.

Looking often and stopping at the first good look is a choice among many looks: the standard error that stops a run is
rather too small than too large. The more is asked of ``Budget`` before the first look, the less that matters.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from shapley_core.errors import UserError
from shapley_core.estimators.result import Attribution


@dataclass(frozen=True)
class Spent:
    """What a valuation has cost so far.

    Attributes:
        coalitions: measured, or tried, besides null and full.
        seconds: of wall time.
    """

    coalitions: int
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """Stop or go on.

    Attributes:
        stop: has enough been measured?
        why: what speaks for it, as the rest of a sentence: "120 of at most 500 coalitions are measured".
    """

    stop: bool
    why: str

    def __str__(self) -> str:
        return f"{'Stop' if self.stop else 'Go on'}: {self.why}."


class StoppingRule(ABC):
    """A rule that says stop or go on; combines with others by ``&`` (both say stop) and ``|`` (either does)."""

    @abstractmethod
    def judge(self, attribution: Attribution, spent: Spent) -> Verdict:
        """Whether to stop at a result that cost so much."""

    def __and__(self, other: "StoppingRule") -> "StoppingRule":
        return Both(self, other)

    def __or__(self, other: "StoppingRule") -> "StoppingRule":
        return Either(self, other)


@dataclass(frozen=True)
class Budget(StoppingRule):
    """Stops when ``coalitions`` are measured."""

    coalitions: int

    def __post_init__(self) -> None:
        if self.coalitions < 1:
            raise UserError(f"a budget must be at least one coalition, and is {self.coalitions}")

    def judge(self, attribution: Attribution, spent: Spent) -> Verdict:
        """See the class."""
        why = f"{spent.coalitions} of at most {self.coalitions} coalitions are measured"
        return Verdict(spent.coalitions >= self.coalitions, why)


@dataclass(frozen=True)
class WallTime(StoppingRule):
    """Stops after ``seconds``."""

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise UserError(f"a limit of wall time must be positive, and is {self.seconds} s")

    def judge(self, attribution: Attribution, spent: Spent) -> Verdict:
        """See the class."""
        why = f"it has taken {spent.seconds:.0f} of at most {self.seconds:.0f} seconds"
        return Verdict(spent.seconds >= self.seconds, why)


@dataclass(frozen=True)
class StandardError(StoppingRule):
    """Stops when every contributor's standard error is at most ``share`` of v(N) - v(∅), 0.01: a hundredth of it."""

    share: float

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise UserError(f"a standard error to be reached must be positive, and is {self.share}")

    def judge(self, attribution: Attribution, spent: Spent) -> Verdict:
        """See the class."""
        errors = attribution.std_errors
        if not np.isfinite(errors).all():
            return Verdict(False, "there are too few coalitions for standard errors")
        total = abs(attribution.full_value - attribution.null_value)
        largest = int(np.argmax(errors))
        why = (
            f"the largest standard error, that of {attribution.contributors[largest]}, is {errors[largest]:.3g}, and "
            f"at most {self.share * total:.3g} is asked for"
        )
        return Verdict(bool(errors[largest] <= self.share * total), why)


@dataclass(frozen=True)
class RankStability(StoppingRule):
    """Stops when the ranking's stability (``diagnostics["rank_stability"]``, at most 1) is ``at_least`` so much."""

    at_least: float

    def __post_init__(self) -> None:
        if not 0 < self.at_least <= 1:
            raise UserError(f"a rank stability to be reached must be above 0 and at most 1, and is {self.at_least}")

    def judge(self, attribution: Attribution, spent: Spent) -> Verdict:
        """See the class."""
        stability = attribution.diagnostics["rank_stability"]
        if not np.isfinite(stability):
            return Verdict(False, "there are too few coalitions to say how stable the ranking is")
        why = f"the rank stability is {stability:.2f}, and {self.at_least:.2f} is asked for"
        return Verdict(bool(stability >= self.at_least), why)


@dataclass(frozen=True)
class Both(StoppingRule):
    """Stops when both rules do; otherwise the reasons are those of the rules that do not."""

    one: StoppingRule
    other: StoppingRule

    def judge(self, attribution: Attribution, spent: Spent) -> Verdict:
        """See the class."""
        verdicts = [rule.judge(attribution, spent) for rule in (self.one, self.other)]
        return _because(all(verdict.stop for verdict in verdicts), verdicts)


@dataclass(frozen=True)
class Either(StoppingRule):
    """Stops when one of the rules does, for the reasons of those that do."""

    one: StoppingRule
    other: StoppingRule

    def judge(self, attribution: Attribution, spent: Spent) -> Verdict:
        """See the class."""
        verdicts = [rule.judge(attribution, spent) for rule in (self.one, self.other)]
        return _because(any(verdict.stop for verdict in verdicts), verdicts)


def _because(stop: bool, verdicts: list[Verdict]) -> Verdict:
    """The verdict with the reasons of those that agree with it."""
    return Verdict(stop, "; ".join(verdict.why for verdict in verdicts if verdict.stop == stop))
