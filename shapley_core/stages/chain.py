"""A valuation stage by stage in this process: what the pipeline does, without Kubeflow and without starting tasks.

For tests, benchmarks and notebooks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapley_core.stages.estimate import estimate
from shapley_core.stages.finetune_subset import finetune_subset
from shapley_core.stages.generate import generate
from shapley_core.stages.plan import plan
from shapley_core.stages.prepare import prepare
from shapley_core.stages.prune import prune
from shapley_core.stages.reference import reference
from shapley_core.stages.score import score
from shapley_core.stages.train import train


@dataclass(frozen=True)
class Chain:
    """The files of one valuation under ``folder``; every method is a stage."""

    folder: Path
    store: str

    def path(self, name: str) -> Path:
        """Where an input or output stands."""
        return self.folder / name

    def prepare(self, preset: str, overrides: Mapping[str, Any]) -> None:
        """Configuration and data."""
        self.folder.mkdir(parents=True, exist_ok=True)
        prepare(
            preset,
            overrides,
            self.store,
            dataset=self.path("dataset"),
            config=self.path("config"),
            log=self.path("prepare.log"),
        )

    def models(self) -> list[int]:
        """Plan, full model, pruned model, reference; returns the shards."""
        inputs = self.path("dataset"), self.path("config")
        shards = plan(*inputs, plan=self.path("plan"), log=self.path("plan.log"))
        train(*inputs, self.store, model=self.path("model"), log=self.path("train.log"))
        prune(*inputs, self.path("model"), self.store, pruned=self.path("pruned"), log=self.path("prune.log"))
        reference(
            *inputs,
            self.path("model"),
            self.path("pruned"),
            reference=self.path("game"),
            log=self.path("reference.log"),
        )
        return shards

    def finetune(self, shard: int) -> int:
        """Fine-tune a shard; returns how many coalitions were."""
        counts = finetune_subset(
            self.path("dataset"),
            self.path("config"),
            self.path("pruned"),
            self.path("game"),
            self.path("plan"),
            self.path("prepare.log"),
            shard,
            self.store,
            models=self.path(f"models-{shard}"),
        )
        return int(counts["fine_tuned"])

    def generate(self, shard: int) -> None:
        """Sample a shard."""
        generate(
            self.path("config"),
            self.path("pruned"),
            self.path(f"models-{shard}"),
            shard,
            images=self.path(f"images-{shard}"),
        )

    def score(self, shard: int) -> None:
        """Score a shard."""
        score(
            self.path("config"),
            self.path("game"),
            self.path("plan"),
            self.path(f"images-{shard}"),
            shard,
            self.store,
            utilities=self.path(f"utilities-{shard}"),
        )

    def measure(self, shard: int) -> int:
        """The three loop stages; returns how many coalitions were fine-tuned."""
        fine_tuned = self.finetune(shard)
        self.generate(shard)
        self.score(shard)
        return fine_tuned

    def estimate(self, shards: list[int]) -> Path:
        """Values and report; returns the results folder."""
        names = ("prepare", "plan", "train", "prune", "reference")
        estimate(
            self.path("config"),
            self.path("plan"),
            self.path("game"),
            [self.path(f"{name}.log") for name in names],
            [self.path(f"utilities-{shard}") for shard in shards],
            self.store,
            f"sqlite:///{self.folder / 'mlflow.db'}",
            results=self.path("results"),
        )
        return self.path("results")


def value(folder: Path, overrides: Mapping[str, Any], store: Path | None = None, preset: str = "digits") -> Path:
    """A whole valuation; returns the results folder."""
    chain = Chain(folder, str(store or folder / "store"))
    chain.prepare(preset, overrides)
    shards = chain.models()
    for shard in shards:
        chain.measure(shard)
    return chain.estimate(shards)
