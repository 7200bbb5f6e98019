"""What a valuation will cost, from what one coalition cost: for the log of a run, and for the next run's plan.

A coalition's cost (fine-tuning, sampling, scoring) depends on its model and steps, not on who is in it, so a valuation
costs what is done once, what every shard costs to start, and coalitions times the cost of one.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from shapley_core.config import ValuationConfig
from shapley_core.errors import UserError
from shapley_core.games.plan import n_shards

_LOOP = ("finetune_subset", "generate", "score")
#: Pods of the pipeline: a driver for each task, each iteration, the loop and the graph it is in, beside the tasks' own.
_PODS_PER_SHARD, _PODS_BESIDES = 7, 15


@dataclass(frozen=True)
class Cost:
    """Seconds of one process.

    Attributes:
        once: everything outside the loop over shards.
        per_shard: starting the tasks of a shard, and what they read.
        per_coalition: fine-tuning, sampling and scoring one coalition.
        shard_size: coalitions per shard.
        artifact_bytes: weights and images of one coalition, which the tasks of a shard hand on to each other.
    """

    once: float
    per_shard: float
    per_coalition: float
    shard_size: int
    artifact_bytes: int

    @classmethod
    def of_run(cls, results: Path) -> "Cost":
        """The cost that an earlier run measured.

        Args:
            results: its output folder.

        Raises:
            UserError: the folder holds no results, those of an earlier release, or the run measured no coalition
                itself.
        """
        try:
            values = json.loads((results / "values.json").read_text())
            settings = ValuationConfig.load(results / "config.yaml")
            table = pd.read_parquet(results / "utilities.parquet")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(
                f"{results} holds no results ({error.filename} is missing): name the folder of a run that ended"
            ) from error
        if "parameters" not in values:
            raise UserError(
                f"the results in {results} are of an earlier release, which did not tell how large the model is: give "
                "the command that made them again; nothing is measured anew"
            )
        # A coalition has a row for every property, each with the same seconds.
        table = table.drop_duplicates(["key", "seed"])
        per_coalition = table[["training_seconds", "sampling_seconds", "scoring_seconds"]].sum(axis=1)
        in_loop = sum(values["seconds"].get(stage, 0.0) for stage in _LOOP)
        started = in_loop - per_coalition.sum()
        if started < 0:
            raise UserError(
                f"the run in {results} took most of its coalitions from the store, so its times say nothing about "
                "their cost: name a run that measured them itself"
            )
        return cls(
            once=sum(seconds for stage, seconds in values["seconds"].items() if stage not in _LOOP),
            per_shard=started / n_shards(len(table), settings.run.shard_size),
            per_coalition=float(per_coalition.mean()),
            shard_size=settings.run.shard_size,
            artifact_bytes=_artifact_bytes(settings, values["parameters"]),
        )

    def pods(self, n_coalitions: int) -> int:
        """Pods of a valuation of so many coalitions in a cluster, those of Kubeflow's drivers among them."""
        return _PODS_BESIDES + _PODS_PER_SHARD * n_shards(n_coalitions + 2, self.shard_size)

    def wall_seconds(self, n_coalitions: int, parallel: int) -> float:
        """Wall time of a valuation of so many coalitions, null and full besides, with so many processes at once."""
        shards = n_shards(n_coalitions + 2, self.shard_size)
        rounds = math.ceil(shards / parallel)
        per_shard = self.per_shard + self.per_coalition * (n_coalitions + 2) / shards
        return self.once + rounds * per_shard

    def process_seconds(self, n_coalitions: int) -> float:
        """Time of all processes together: what is paid for."""
        shards = n_shards(n_coalitions + 2, self.shard_size)
        return self.once + shards * self.per_shard + (n_coalitions + 2) * self.per_coalition


def _artifact_bytes(settings: ValuationConfig, parameters: Mapping[str, int]) -> int:
    """Weights are numbers of four bytes, pixels have one per channel."""
    weights = 4 * parameters["full" if settings.game.retrains else "pruned"]
    return weights + settings.generation.n_images * settings.data.resolution**2 * len(settings.data.mode)


def size_in_words(n_bytes: float) -> str:
    """An amount of data as people say it: "0.2 MB", "31 MB", "102 GB"."""
    megabytes = n_bytes / 1e6
    if megabytes < 10:
        return f"{megabytes:.1f} MB"
    return f"{megabytes:.0f} MB" if megabytes < 10_000 else f"{megabytes / 1000:.0f} GB"


def in_words(seconds: float) -> str:
    """A duration as people say it: "48 s", "12 min", "3.4 h", "2.1 days"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
