"""The plan of an evaluation's measurements, in which those that the store has share a shard."""

from pathlib import Path

import pandas as pd

from shapley_core.config import ValuationConfig
from shapley_core.evaluation.coalitions import evaluation_plan, measurements
from shapley_core.games.plan import Plan
from shapley_core.games.store import UtilityStore
from shapley_core.stages.game_files import read_game_id
from shapley_core.stages.known_measurements import known_measurements
from shapley_core.storage import open_store


def plan_measurements(
    settings: ValuationConfig, valuation: Plan, wanted: pd.DataFrame, reference: Path, store: str
) -> Plan:
    """The plan of what an evaluation wants measured (:mod:`shapley_core.evaluation.coalitions`) in a game.

    Args:
        settings: the method's configuration.
        valuation: its plan.
        wanted: what is to be measured, and what for.
        reference: the method's game.
        store: where utilities are kept.
    """
    root = open_store(store)
    rows = measurements(valuation, wanted)
    known = known_measurements(settings, rows, UtilityStore(root, read_game_id(reference)).load(), reference, root)
    return evaluation_plan(valuation, rows, known, settings.run.shard_size)
