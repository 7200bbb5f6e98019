"""plan_counterfactuals: whose top contributors are removed, or kept alone, and the coalitions to retrain for it.

Of the values, of the best baseline of each kind by its LDS at the middle share, and of leave-one-out (paper §4.4).
"""

from pathlib import Path

from shapley_core.config import ValuationConfig
from shapley_core.errors import UserError
from shapley_core.evaluation.coalitions import counterfactual_coalitions, middle_share
from shapley_core.evaluation.judgement import HeldOut, best_of_each_kind
from shapley_core.evaluation.result import OURS
from shapley_core.games.plan import Plan
from shapley_core.stage_log import StageLog
from shapley_core.stages.known_attributions import without_other_games
from shapley_core.stages.plan_measurements import plan_measurements
from shapley_core.stages.removal_files import read_purposes, write_purposes


def plan_counterfactuals(
    config: Path,
    values: Path,
    plan: Path,
    baselines: Path,
    retrained: Path,
    game: Path,
    store: str,
    *,
    coalitions: Path,
    purposes: Path,
    log: Path,
) -> list[int]:
    """Write the plan and what each coalition is for; returns the shards.

    Args:
        config: the valuation's resolved configuration.
        values: the valuation's values.
        plan: the valuation's plan.
        baselines: their attributions.
        retrained: the measurements of retraining.
        game: the game of retraining.
        store: where utilities are kept: what is known already shares a shard.
        coalitions: output file, the plan.
        purposes: output file.
        log: output file.

    Raises:
        UserError: the property is the same for all held-out coalitions, or too few of them were measured.
    """
    record = StageLog("plan_counterfactuals")
    settings = ValuationConfig.load(config)
    valuation = Plan.load(plan)
    measured = read_purposes(retrained)
    everybody = measured[measured["purpose"] == "everybody"]
    if (everybody.loc[everybody["status"] == "ok", "value"] == 0).any():
        raise UserError(
            f"the {settings.property.name} of everybody's model is 0, and a change relative to it is not defined: "
            "judge without counterfactuals, by empty evaluation.remove and evaluation.keep"
        )
    known, _ = without_other_games(settings, valuation, values, baselines, measured)
    judge = HeldOut.of(measured, middle_share(settings.evaluation), len(valuation.contributors))
    chosen = {name: known[name] for name in (*best_of_each_kind(known, judge), OURS)}
    table = counterfactual_coalitions(chosen, valuation, settings.evaluation)
    write_purposes(table, purposes)
    drawn = plan_measurements(settings, valuation, table, game, store)
    drawn.save(coalitions)
    record.save(log)
    return drawn.shards
