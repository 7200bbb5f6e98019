"""Stopping rules: each by hand, and how they combine."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from closed_form import measure, play, random_game, sqrt_sum
from hypothesis import given
from hypothesis import strategies as st

from shapley_core.errors import UserError
from shapley_core.estimators import exact, get_estimator
from shapley_core.estimators.stopping import (
    Budget,
    RankStability,
    Spent,
    StandardError,
    StoppingRule,
    Verdict,
    WallTime,
)

RESULT = replace(
    exact(measure(random_game(3, 0), 3)),
    contributors=("ada", "bo", "cleo"),
    std_errors=np.array([0.01, 0.05, 0.03]),
    null_value=2.0,
    full_value=1.0,
    diagnostics={"rank_stability": 0.8},
)
SPENT = Spent(coalitions=120, seconds=90.0)


@pytest.mark.parametrize(
    ("rule", "stop", "why"),
    [
        (Budget(120), True, "120 of at most 120 coalitions are measured"),
        (Budget(121), False, "120 of at most 121 coalitions are measured"),
        (WallTime(90), True, "it has taken 90 of at most 90 seconds"),
        (WallTime(91), False, "it has taken 90 of at most 91 seconds"),
        (StandardError(0.05), True, "the largest standard error, that of bo, is 0.05, and at most 0.05 is asked for"),
        (StandardError(0.04), False, "the largest standard error, that of bo, is 0.05, and at most 0.04 is asked for"),
        (RankStability(0.8), True, "the rank stability is 0.80, and 0.80 is asked for"),
        (RankStability(0.9), False, "the rank stability is 0.80, and 0.90 is asked for"),
    ],
)
def test_rules_by_hand(rule, stop, why):
    verdict = rule.judge(RESULT, SPENT)
    assert verdict == Verdict(stop, why)
    assert str(verdict) == f"{'Stop' if stop else 'Go on'}: {why}."


def test_without_standard_errors_it_goes_on():
    few = get_estimator("leverage_shap")(measure(random_game(6, 0), 6, "leverage", 12).first(8))
    assert StandardError(9.0).judge(few, SPENT) == Verdict(False, "there are too few coalitions for standard errors")
    assert "too few coalitions" in RankStability(0.1).judge(few, SPENT).why


def test_nothing_to_share_out_is_never_precise_enough():
    assert not StandardError(1.0).judge(replace(RESULT, full_value=2.0), SPENT).stop


@dataclass(frozen=True)
class Says(StoppingRule):
    stop: bool
    why: str

    def judge(self, attribution, spent):
        return Verdict(self.stop, self.why)


@given(st.booleans(), st.booleans(), st.booleans())
def test_rules_combine_as_logic_does(a, b, c):
    one, two, three = Says(a, "a"), Says(b, "b"), Says(c, "c")
    for rule, stop in [
        (one & two, a and b),
        (one | two, a or b),
        (one & two | three, (a and b) or c),
        (one & (two | three), a and (b or c)),
    ]:
        verdict = rule.judge(RESULT, SPENT)
        assert verdict.stop == stop
        # The reasons are those of the rules that agree, and there is one at least.
        assert {x: {"a": a, "b": b, "c": c}[x] for x in verdict.why.split("; ")} == dict.fromkeys(
            verdict.why.split("; "), stop
        )


def test_a_run_stops_when_its_values_are_precise_or_its_budget_is_used_up():
    rule = StandardError(0.04) & RankStability(0.5) | Budget(400)
    game = play(sqrt_sum(10), "leverage", 400, 0, noise=0.2)
    verdicts = {}
    for m in range(20, 401, 20):
        result = get_estimator("leverage_shap")(game.first(m))
        verdicts[m] = rule.judge(result, Spent(m, 0.0))
        if verdicts[m].stop:
            break
    assert 20 < m < 400 and not any(verdict.stop for verdict in list(verdicts.values())[:-1])
    assert result.std_errors.max() <= 0.04 * (game.full_value - game.null_value)
    assert str(verdicts[m]).startswith("Stop: the largest standard error")
    assert "of at most 400 coalitions" in verdicts[20].why


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(0), "at least one coalition, and is 0"),
        (lambda: WallTime(0.0), "must be positive, and is 0.0 s"),
        (lambda: StandardError(float("nan")), "must be positive, and is nan"),
        (lambda: RankStability(1.1), "at most 1, and is 1.1"),
    ],
)
def test_limits_that_make_no_sense(make, message):
    with pytest.raises(UserError, match=message):
        make()
