"""A valuation, or an evaluation, stage by stage in this process: what the pipelines do, without starting tasks.

For tests, benchmarks and notebooks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapley_core.evaluation.removal import REMOVAL_METHODS
from shapley_core.stages.attribute import attribute
from shapley_core.stages.collect_removal import collect_removal
from shapley_core.stages.estimate import estimate
from shapley_core.stages.evaluate import evaluate
from shapley_core.stages.finetune_subset import finetune_subset
from shapley_core.stages.generate import generate
from shapley_core.stages.open_valuation import open_valuation
from shapley_core.stages.plan import plan
from shapley_core.stages.plan_counterfactuals import plan_counterfactuals
from shapley_core.stages.plan_removal import plan_removal
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
        """Full model, pruned model, reference, plan; returns the shards."""
        inputs = self.path("dataset"), self.path("config")
        train(*inputs, self.store, model=self.path("model"), log=self.path("train.log"))
        prune(*inputs, self.path("model"), self.store, pruned=self.path("pruned"), log=self.path("prune.log"))
        reference(
            *inputs,
            self.path("model"),
            self.path("pruned"),
            reference=self.path("game"),
            log=self.path("reference.log"),
        )
        return self.plan()

    def plan(self) -> list[int]:
        """The coalitions; returns the shards."""
        inputs = self.path("dataset"), self.path("config"), self.path("game")
        return plan(*inputs, self.store, plan=self.path("plan"), log=self.path("plan.log"))

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


@dataclass(frozen=True)
class EvaluationChain:
    """An evaluation stage by stage; its files stand under ``folder``."""

    folder: Path
    store: str

    def path(self, name: str) -> Path:
        """Where an input or output stands."""
        return self.folder / name

    def open(self, valuation: Path, overrides: Mapping[str, Any]) -> None:
        """The valuation's data, configuration and values, its plan and models."""
        self.folder.mkdir(parents=True, exist_ok=True)
        inputs = self.path("dataset"), self.path("config")
        open_valuation(
            str(valuation),
            overrides,
            self.store,
            dataset=inputs[0],
            config=inputs[1],
            values=self.path("values"),
            log=self.path("open.log"),
        )
        Chain(self.folder, self.store).models()

    def attribute(self) -> None:
        """The baselines."""
        attribute(
            self.path("dataset"),
            self.path("config"),
            self.path("model"),
            self.path("game"),
            self.store,
            attributions=self.path("baselines"),
            lens=self.path("lens"),
            log=self.path("attribute.log"),
        )

    def measure(self, method: str) -> int:
        """Draw and measure the coalitions of a removal method; returns how many models were made."""
        work = self.path(method)
        work.mkdir(exist_ok=True)
        shards = plan_removal(
            method,
            self.path("config"),
            self.path("values"),
            self.path("plan"),
            self.path("game"),
            self._start(method),
            self.store,
            removal_config=work / "config",
            game=work / "game",
            coalitions=work / "plan",
            purposes=work / "purposes",
            log=work / "plan.log",
        )
        return self._measure(work, method, shards)

    def counterfactuals(self) -> int:
        """Draw and retrain them; returns how many models were made."""
        work = self.path("counterfactuals")
        work.mkdir(exist_ok=True)
        shards = plan_counterfactuals(
            self.path("config"),
            self.path("values"),
            self.path("plan"),
            self.path("baselines"),
            self.path("retraining") / "measured",
            self.path("retraining") / "game",
            self.store,
            coalitions=work / "plan",
            purposes=work / "purposes",
            log=work / "plan.log",
        )
        return self._measure(work, "retraining", shards)

    def _start(self, method: str) -> Path:
        return self.path("model" if REMOVAL_METHODS[method].start == "full" else "pruned")

    def _measure(self, work: Path, method: str, shards: list[int]) -> int:
        """The coalitions of the plan in ``work``, in the game of a method."""
        config, game, plan = self.path(method) / "config", self.path(method) / "game", work / "plan"
        start, begun, made = self._start(method), self.path("open.log"), 0.0
        for k in shards:
            models, images, utilities = (work / f"{kind}-{k}" for kind in ("models", "images", "utilities"))
            dataset = self.path("dataset")
            tuned = finetune_subset(dataset, config, start, game, plan, begun, k, self.store, models=models)
            made += tuned["fine_tuned"]
            generate(config, start, models, k, images=images)
            score(config, game, plan, images, k, self.store, utilities=utilities)
        collect_removal(
            config,
            game,
            work / "purposes",
            [work / f"utilities-{k}" for k in shards],
            self.path("retraining") / "game",
            self.path("lens"),
            self.store,
            measured=work / "measured",
            log=work / "collect.log",
        )
        return int(made)

    def evaluate(self) -> Path:
        """Tables, figures and report; returns the results folder."""
        evaluate(
            self.path("config"),
            self.path("values"),
            self.path("plan"),
            self.path("baselines"),
            {method: self.path(method) / "measured" for method in REMOVAL_METHODS},
            self.path("counterfactuals") / "measured",
            [self.path("open.log"), self.path("attribute.log")],
            f"sqlite:///{self.folder / 'mlflow.db'}",
            results=self.path("results"),
        )
        return self.path("results")
