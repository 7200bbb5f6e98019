"""plan: draws the coalitions to measure, gives each its seed, and shares them out among shards."""

from pathlib import Path

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.games.plan import make_plan
from shapley_core.stage_log import StageLog


def plan(dataset: Path, config: Path, *, plan: Path, log: Path) -> list[int]:
    """Write the plan (Parquet) and return the numbers of its shards, at most 64."""
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
    drawn.save(plan)
    record.facts |= {"shards": len(drawn.shards)}
    record.save(log)
    return drawn.shards
