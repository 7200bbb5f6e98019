"""Stopping early: whether the coalitions measured so far are enough, and what was measured when a valuation stopped.

Every shard asks when it starts (:func:`verdict`); a shard that is told to stop measures nothing. Shards run side by
side, so what is there need not be the beginning of the plan without a gap. Values rest on the longest beginning without
one: the plan is made again for so many coalitions, which keeps them and gives them the weights of a plan of that size.
"""

import time
from functools import reduce
from operator import and_

import pandas as pd

from shapley_core.config import StoppingConfig, ValuationConfig
from shapley_core.errors import UserError
from shapley_core.estimators import get_estimator
from shapley_core.estimators.default import chosen_estimator
from shapley_core.estimators.stopping import RankStability, Spent, StandardError, StoppingRule, Verdict, WallTime
from shapley_core.games.measured import measured_game
from shapley_core.games.plan import Plan, make_plan

#: Designs that are nothing unless they are whole.
_WHOLE = ("exhaustive", "leave_one_out")

#: Shards that there must be: two start at once on one machine, and nothing is there to judge by.
_FEWEST_SHARDS = 4


def check_stopping(settings: ValuationConfig, plan: Plan) -> None:
    """Raise :class:`UserError` where a valuation by this plan cannot stop early."""
    if not settings.stopping.asked_for:
        return
    if plan.design in _WHOLE:
        raise UserError(
            f"the design '{plan.design}' is measured as a whole and cannot stop early: leave out the settings under "
            "stopping, or choose the design 'paired'"
        )
    n_coalitions = plan.table["key"].nunique()
    if len(plan.shards) < _FEWEST_SHARDS <= n_coalitions:
        raise UserError(
            f"whether to stop is looked at when a shard of coalitions starts, and there are only {len(plan.shards)}: "
            f"set run.shard_size to {max(1, n_coalitions // (2 * _FEWEST_SHARDS))} or so"
        )


def stopping_rule(config: StoppingConfig) -> StoppingRule | None:
    """Every precision that is asked for, or the time is up; None: the plan is measured to its end."""
    goals: list[StoppingRule] = []
    if config.std_error is not None:
        goals.append(StandardError(config.std_error))
    if config.rank_stability is not None:
        goals.append(RankStability(config.rank_stability))
    rule = reduce(and_, goals) if goals else None
    if config.seconds is None:
        return rule
    time_is_up = WallTime(config.seconds)
    return rule | time_is_up if rule else time_is_up


def verdict(settings: ValuationConfig, plan: Plan, utilities: pd.DataFrame, started: float) -> Verdict:
    """Whether to measure more.

    Args:
        settings: of the valuation.
        plan: all coalitions.
        utilities: what was measured of the game so far.
        started: when the run did, in seconds since the epoch.
    """
    rule = stopping_rule(settings.stopping)
    if rule is None:
        return Verdict(False, "no rule says when to stop")
    try:
        begun = first_measured(plan, utilities, settings)
        game = measured_game(begun, utilities, settings.property.name, settings.game.min_measured)
        estimator = get_estimator(chosen_estimator(settings.game.estimator, game))
        attribution = estimator(game, confidence=settings.game.confidence)
    except UserError as error:
        return Verdict(False, f"there is too little to judge by ({error})")
    return rule.judge(attribution, Spent(len(game.values), time.time() - started))


def first_measured(plan: Plan, utilities: pd.DataFrame, settings: ValuationConfig) -> Plan:
    """The plan of as many coalitions as its beginning has without one that nobody tried to measure.

    Raises:
        UserError: those are fewer than the design needs.
    """
    tried = {*zip(utilities["key"], utilities["seed"], strict=True)}
    sampled = plan.table[plan.table["kind"] == "sampled"].drop_duplicates("key")
    there = [measured in tried for measured in zip(sampled["key"], sampled["seed"], strict=True)]
    m = there.index(False) if False in there else len(there)
    if m == len(there):
        return plan
    return make_plan(
        dict(zip(plan.contributors, plan.fingerprints, strict=True)),
        settings.game.design,
        m // 2 * 2,  # no pair is torn
        settings.seed,
        settings.run.shard_size,
        settings.game.unions,
        settings.game.model_contributors,
    )
