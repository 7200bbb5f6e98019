"""The attributions that an evaluation compares, from what its tasks measured. Needs the light half only."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from shapley_core.config import ValuationConfig
from shapley_core.errors import UserError
from shapley_core.estimators import get_estimator
from shapley_core.estimators.default import chosen_estimator
from shapley_core.evaluation.coalitions import leave_one_out_plan
from shapley_core.evaluation.removal import NOT_MEASURED
from shapley_core.evaluation.result import LEAVE_ONE_OUT, OURS
from shapley_core.games.measured import MeasuredGame, measured_game
from shapley_core.games.plan import Plan
from shapley_core.seeds import derive_seed
from shapley_core.stages.stopping import first_measured

Floats = npt.NDArray[np.float64]


def without_other_games(
    settings: ValuationConfig, plan: Plan, values: Path, baselines: Path, retrained: pd.DataFrame
) -> tuple[dict[str, Floats], dict[str, str]]:
    """The valuation's values, the baselines and leave-one-out: name to (n,) in the plan's order, and who refused why.

    Args:
        settings: of the valuation.
        plan: its plan.
        values: its values.
        baselines: what the stage ``attribute`` wrote.
        retrained: measurements of retraining.
    """
    order = list(plan.contributors)
    table = pd.read_parquet(baselines)
    refused = dict(table.loc[table["refused"] != "", ["attribution", "refused"]].itertuples(index=False))
    found: dict[str, Floats] = {
        str(name): rows.set_index("contributor")["value"].reindex(order).to_numpy(dtype=float)
        for name, rows in table[table["refused"] == ""].groupby("attribution", sort=False)
    }
    if settings.evaluation.leave_one_out:
        try:
            left_out = leave_one_out_plan(plan, settings.seed)
            game = measured_game(left_out, _utilities(settings, retrained), settings.property.name, min_measured=1)
            found[LEAVE_ONE_OUT] = get_estimator(LEAVE_ONE_OUT)(game).values
        except UserError as error:
            refused[LEAVE_ONE_OUT] = str(error)
    ours = pd.read_parquet(values / "values.parquet").set_index("contributor")["value"]
    return found | {OURS: ours.reindex(order).to_numpy(dtype=float)}, refused


def game_of(settings: ValuationConfig, plan: Plan, measured: pd.DataFrame) -> MeasuredGame | None:
    """The valuation's game by another removal method, as far as it was measured; None where that is too little."""
    utilities = _utilities(settings, measured[(measured["purpose"] == "fit") & (measured["status"] != NOT_MEASURED)])
    try:
        begun = first_measured(plan, utilities, settings)
        return measured_game(begun, utilities, settings.property.name, settings.game.min_measured)
    except UserError:
        return None


def shapley_values(settings: ValuationConfig, game: MeasuredGame) -> Floats | None:
    """Values by the valuation's estimator; None where there are too few coalitions for it."""
    try:
        estimator = get_estimator(chosen_estimator(settings.game.estimator, game))
        return estimator(game, seed=derive_seed(settings.seed, "estimator")).values
    except UserError:
        return None


def _utilities(settings: ValuationConfig, measured: pd.DataFrame) -> pd.DataFrame:
    """Measurements as a utility table, each once."""
    return measured.drop_duplicates(["key", "seed"]).assign(property=settings.property.name)


def by_method(games: Mapping[str, MeasuredGame | None], settings: ValuationConfig) -> dict[str, Floats]:
    """Shapley values by each removal method whose game was measured: ``shapley_<method>`` to (n,)."""
    solved = {f"shapley_{name}": shapley_values(settings, game) for name, game in games.items() if game is not None}
    return {name: values for name, values in solved.items() if values is not None}
