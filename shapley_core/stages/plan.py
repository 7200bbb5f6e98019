"""plan: draws the coalitions to measure, gives each its seed, and shares them out among shards.

Only what the store does not have yet is shared out: a valuation that is made again, because it was interrupted, is to
have more coalitions, or has its turn once more, starts no tasks for coalitions that are known.
"""

from pathlib import Path

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.games.plan import make_plan
from shapley_core.games.store import UtilityStore
from shapley_core.stage_log import StageLog
from shapley_core.stages.game_files import read_game_id
from shapley_core.stages.known_measurements import known_measurements
from shapley_core.storage import open_store


def plan(dataset: Path, config: Path, reference: Path, store: str, *, plan: Path, log: Path) -> list[int]:
    """Write the plan (Parquet) and return the numbers of its shards, at most 64.

    Args:
        dataset: the contributor data set.
        config: the resolved configuration.
        reference: the game's reference.
        store: where utilities are kept.
        plan: output file.
        log: output file.
    """
    record = StageLog("plan")
    settings = ValuationConfig.load(config)
    data = ContributorDataset.load(dataset)
    drawn = make_plan(
        data.fingerprints,
        settings.game.design,
        settings.game.n_coalitions,
        settings.seed,
        settings.run.shard_size,
        settings.game.unions,
        settings.game.model_contributors,
    )
    root = open_store(store)
    kept = UtilityStore(root, read_game_id(reference)).load()
    drawn = drawn.shared_out(known_measurements(settings, drawn.table, kept, reference, root))
    drawn.save(plan)
    record.facts |= {"shards": len(drawn.shards)}
    record.save(log)
    return drawn.shards
