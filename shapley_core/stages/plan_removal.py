"""plan_removal: which coalitions an evaluation measures by a removal method, and the game that they belong to."""

import json
import shutil
from pathlib import Path

import pandas as pd

from shapley_core.config import StoppingConfig, ValuationConfig
from shapley_core.errors import UserError
from shapley_core.evaluation.coalitions import held_out_coalitions, removal_coalitions, retraining_coalitions
from shapley_core.evaluation.lds import check_held_out
from shapley_core.evaluation.removal import REMOVAL_METHODS
from shapley_core.games.plan import Plan
from shapley_core.stage_log import StageLog
from shapley_core.stages.game_facts import game_facts
from shapley_core.stages.game_files import properties_folder, read_game_id, write_game
from shapley_core.stages.keeping import folder_digest
from shapley_core.stages.plan_measurements import plan_measurements
from shapley_core.stages.removal_files import write_purposes


def plan_removal(
    method: str,
    config: Path,
    values: Path,
    plan: Path,
    reference: Path,
    start: Path,
    store: str,
    *,
    removal_config: Path,
    game: Path,
    coalitions: Path,
    purposes: Path,
    log: Path,
) -> list[int]:
    """Write the method's configuration, game, plan and what each of its coalitions is for; returns the shards.

    Args:
        method: a key of :data:`~shapley_core.evaluation.removal.REMOVAL_METHODS`.
        config: the valuation's resolved configuration.
        values: the valuation's values.
        plan: the valuation's plan.
        reference: the valuation's reference.
        start: the model that the method starts from.
        store: where utilities are kept: what is known already shares a shard.
        removal_config: output file.
        game: output folder, the reference with the method's own identity.
        coalitions: output file, the plan.
        purposes: output file.
        log: output file.

    Raises:
        UserError: the values are of another game than the configuration, data and models make, or there are too few
            coalitions that the valuation has not seen.
    """
    record = StageLog("plan_removal")
    settings = ValuationConfig.load(config)
    valuation = Plan.load(plan)
    check_same_game(values, reference)
    removed = settings.game.model_copy(update={"coalition_model": REMOVAL_METHODS[method].coalition_model})
    # Measured to the end: what judges is not what is judged.
    chosen = settings.model_copy(update={"game": removed, "stopping": StoppingConfig()})
    chosen.save(removal_config)
    shutil.copytree(reference, game, dirs_exist_ok=True)
    write_game(game, game_facts(chosen, start, folder_digest(properties_folder(reference))))

    wanted = settings.evaluation
    if method == "retraining":
        table = retraining_coalitions(valuation, wanted, settings.seed)
        check_held_out(table.loc[table["purpose"].isin(("held_out", "repeated")), "key"], valuation.table["key"])
    else:
        n = {"sparsified_finetuning": len(valuation.table), "finetuning": wanted.n_finetuned}.get(method, 0)
        table = removal_coalitions(valuation, n, wanted.n_compared)
        if method == "sparsified_finetuning":
            table = pd.concat([table, held_out_coalitions(valuation, wanted)], ignore_index=True)
    write_purposes(table, purposes)
    drawn = plan_measurements(chosen, valuation, table, game, store)
    drawn.save(coalitions)
    record.save(log)
    return drawn.shards


def check_same_game(values: Path, reference: Path) -> None:
    """Raise :class:`UserError` where the values were not solved from the game of this reference."""
    known = json.loads((values / "values.json").read_text())["game_id"]
    now = read_game_id(reference)
    if known != now:
        raise UserError(
            f"the values are of the game {known}, and configuration, data, models and this release make the game "
            f"{now}: run the valuation again with the same store, so that both are of one game"
        )
