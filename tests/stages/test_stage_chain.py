"""A whole valuation in this process: what it leaves, that it is reproducible, and that it survives faults."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny import TINY

from shapley_core.config import ValuationConfig
from shapley_core.errors import UserError
from shapley_core.forecast import Cost
from shapley_core.games.plan import Plan
from shapley_core.stages import finetune_subset as finetuning
from shapley_core.stages.chain import Chain, value
from shapley_core.stages.game_files import utility_file
from shapley_core.training.loop import DiffusionTrainer, TrainingRun

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one tiny valuation; its store stands beside them."""
    torch.set_num_threads(1)
    return value(tmp_path_factory.mktemp("tiny"), TINY)


def utilities(results: Path) -> pd.DataFrame:
    """The parts of a utility table that must not depend on how the work was spread."""
    table = pd.read_parquet(results / "utilities.parquet")
    return table[["key", "property", "seed", "value", "status"]].sort_values("key", ignore_index=True)


def test_results_are_what_the_interface_promises(tiny: Path) -> None:
    values = json.loads((tiny / "values.json").read_text())
    jsonschema.validate(values, json.loads((ROOT / "docs/schemas/values.schema.json").read_text()))
    assert sum(row["value"] for row in values["contributors"]) == pytest.approx(
        values["full_value"] - values["null_value"], abs=1e-6
    )
    assert sorted(row["rank"] for row in values["contributors"]) == list(range(1, 11))
    assert values["n_coalitions"] == 24
    stages = {"prepare", "plan", "train", "prune", "reference", "finetune_subset", "generate", "score", "estimate"}
    assert set(values["seconds"]) == stages
    assert len(pd.read_parquet(tiny / "values.parquet")) == 10
    facts = pd.read_parquet(tiny / "contributors.parquet")
    assert facts["n_images"].sum() == 1797
    assert (facts["inception_score_mean"] > 0).all()
    assert "Licence: <bdi>CC BY 4.0</bdi>" in (tiny / "report.html").read_text()
    assert len(utilities(tiny)) == 26
    for name in ("report.html", "config.yaml"):
        assert (tiny / name).stat().st_size > 0


def test_config_is_enough_to_run_again(tiny: Path, tmp_path: Path) -> None:
    again = Chain(tmp_path, str(tmp_path / "store"))
    again.prepare(str(_with_suffix(tiny / "config.yaml", tmp_path)), {})
    first = ValuationConfig.load(tiny / "config.yaml").model_dump(exclude={"preset"})
    assert ValuationConfig.load(again.path("config")).model_dump(exclude={"preset"}) == first


def _with_suffix(config: Path, folder: Path) -> Path:
    copy = folder / "again.yaml"
    copy.write_bytes(config.read_bytes())
    return copy


def test_shard_and_batch_size_change_no_digit(tiny: Path, tmp_path: Path) -> None:
    other = value(tmp_path, TINY | {"run.shard_size": 5, "generation.batch_size": 7})
    pd.testing.assert_frame_equal(utilities(other), utilities(tiny), check_exact=True)
    plans = [Plan.load(results.parent / "plan").table.drop(columns="shard") for results in (tiny, other)]
    pd.testing.assert_frame_equal(*plans, check_exact=True)
    values = [json.loads((results / "values.json").read_text())["contributors"] for results in (tiny, other)]
    assert values[0] == values[1]


def test_another_seed_is_another_valuation(tiny: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path, str(tmp_path / "store"))
    chain.prepare("digits", TINY | {"seed": 1})
    shards = chain.models()
    assert not Plan.load(chain.path("plan")).table.equals(Plan.load(tiny.parent / "plan").table)
    chain.measure(shards[0])
    new = pd.read_parquet(utility_file(chain.path("utilities-0")))
    assert not set(new["value"]) & set(utilities(tiny)["value"])


def test_a_second_run_measures_nothing_again(tiny: Path, tmp_path: Path) -> None:
    store = tiny.parent / "store"
    before = sorted(store.rglob("*"))
    chain = Chain(tmp_path, str(store))
    chain.prepare("digits", TINY)
    shards = chain.models()
    assert [chain.measure(shard) for shard in shards] == [0]
    results = chain.estimate(shards)
    pd.testing.assert_frame_equal(utilities(results), utilities(tiny), check_exact=True)
    assert sorted(store.rglob("*")) == before


def test_a_larger_budget_measures_only_what_is_new(tiny: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path, str(tiny.parent / "store"))
    chain.prepare("digits", TINY | {"game.n_coalitions": 28})
    shards = chain.models()
    assert [chain.finetune(shard) for shard in shards] == [2, 1, 1]


def test_a_stage_run_again_in_its_folder_repeats_nothing(tiny: Path, tmp_path: Path) -> None:
    chain = _after_models(tiny, tmp_path)
    assert chain.finetune(0) == 13
    written = {path: path.stat().st_mtime_ns for path in chain.path("models-0").glob("*.safetensors")}
    next(chain.path("models-0").glob("*.json")).unlink()  # as if killed before this coalition's record was written
    assert chain.finetune(0) == 1
    again = {path: path.stat().st_mtime_ns for path in chain.path("models-0").glob("*.safetensors")}
    assert sum(again[path] != written[path] for path in written) == 1


def test_a_failing_coalition_costs_itself_alone(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = _after_models(tiny, tmp_path)
    unlucky = Plan.load(chain.path("plan")).table.iloc[5]["seed"]
    calls = []

    class Sometimes(DiffusionTrainer):
        def __init__(self, runs: Sequence[TrainingRun], *rest: Any) -> None:
            calls.extend({run.seed for run in runs})
            if unlucky in {run.seed for run in runs}:
                raise RuntimeError("out of memory")
            super().__init__(runs, *rest)

    monkeypatch.setattr(finetuning, "DiffusionTrainer", Sometimes)
    for shard in (0, 1):
        chain.measure(shard)
    assert calls.count(unlucky) == 2  # with its group, and by itself
    results = chain.estimate([0, 1])
    table = utilities(results)
    failed = table[table["status"] != "ok"]
    assert list(failed["status"]) == ["fine-tuning failed: RuntimeError: out of memory"]
    assert len(table) == 26 and np.isnan(failed["value"]).all()
    assert json.loads((results / "values.json").read_text())["n_coalitions"] == 23
    assert "out of memory" in (results / "report.html").read_text()

    monkeypatch.undo()
    healed = Chain(tmp_path / "healed", chain.store)
    healed.prepare("digits", TINY)
    shards = healed.models()
    assert [healed.measure(shard) for shard in shards] == [1]
    pd.testing.assert_frame_equal(utilities(healed.estimate(shards)), utilities(tiny), check_exact=True)


def test_too_many_failures_stop_with_a_sentence(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = _after_models(tiny, tmp_path)

    def never(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(finetuning, "DiffusionTrainer", never)
    for shard in (0, 1):
        chain.measure(shard)
    with pytest.raises(UserError, match="measured"):
        chain.estimate([0, 1])


def test_a_full_disk_is_nobodys_coalition(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = _after_models(tiny, tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(finetuning, "DiffusionTrainer", full)
    with pytest.raises(OSError, match="No space left"):
        chain.finetune(0)


def _after_models(tiny: Path, tmp_path: Path) -> Chain:
    """A chain with the tiny valuation's data and models, and an empty store."""
    chain = Chain(tmp_path / "chain", str(tmp_path / "store"))
    chain.folder.mkdir()
    for name in ("dataset", "config", "plan", "model", "pruned", "game"):
        chain.path(name).symlink_to(tiny.parent / name)
    for log in tiny.parent.glob("*.log"):
        chain.path(log.name).symlink_to(log)
    return chain


def test_coalitions_can_be_retrained_from_scratch_instead(tiny: Path, tmp_path: Path) -> None:
    """Another game: the full architecture, each coalition from weights of its own, independent of the pruned model."""
    retraining = {"game.coalition_model": "retraining", "training.steps": 4, "game.n_coalitions": 24}
    chain = Chain(tmp_path / "retrained", str(tmp_path / "store"))
    results = value(chain.folder, TINY | retraining, Path(chain.store))
    table = utilities(results)
    assert len(table) == 26 and (table["status"] == "ok").all()
    assert not set(table["value"]) & set(utilities(tiny)["value"])
    weights = load_file(next(chain.path("models-0").glob("*.safetensors")))
    assert weights["conv_in.weight"].shape[0] == 16

    other_pruning = Chain(tmp_path / "other", chain.store)
    other_pruning.prepare("digits", TINY | retraining | {"pruning.ratio": 0.5, "run.shard_size": 7})
    assert [other_pruning.measure(shard) for shard in other_pruning.models()] == [0]


def test_the_number_of_copies_changes_no_more_than_rounding(tiny: Path, tmp_path: Path) -> None:
    one_by_one = value(tmp_path, TINY | {"run.copies": 1})
    difference = utilities(one_by_one)["value"] - utilities(tiny)["value"]
    assert difference.abs().max() < 0.02


def test_two_properties_of_the_same_images_and_either_can_be_valued(tiny: Path, tmp_path: Path) -> None:
    both = {"property.also": ["diversity"], "property.n_clusters": 8}
    results = value(tmp_path / "first", TINY | both, store=tmp_path / "store")
    table = utilities(results)
    first = table[table["property"] == "inception_score"].reset_index(drop=True)
    # Measured beside it, diversity changes nothing of the score.
    pd.testing.assert_frame_equal(first, utilities(tiny), check_exact=True)
    assert sorted(table["key"]) == sorted([*first["key"]] * 2)
    assert table.loc[table["property"] == "diversity", "value"].between(0, np.log(8)).all()
    # A coalition was trained once, however many properties it has.
    seconds = pd.read_parquet(results / "utilities.parquet").drop_duplicates("key")["training_seconds"]
    cost = Cost.of_run(results)
    assert cost.per_coalition > seconds.mean()
    spent = json.loads((results / "values.json").read_text())["seconds"]
    loop = sum(spent[stage] for stage in ("finetune_subset", "generate", "score"))
    assert 2 * cost.per_shard + len(seconds) * cost.per_coalition == pytest.approx(loop)

    swapped = Chain(tmp_path / "second", str(tmp_path / "store"))
    swapped.prepare("digits", TINY | {**both, "property.name": "diversity", "property.also": ["inception_score"]})
    shards = swapped.models()
    assert [swapped.measure(shard) for shard in shards] == [0]
    values = json.loads((swapped.estimate(shards) / "values.json").read_text())
    assert values["property"] == "diversity"
    assert (
        values["full_value"]
        == table.set_index(["property", "key"])["value"]["diversity"][
            Plan.load(swapped.path("plan")).table.set_index("kind")["key"]["full"]
        ]
    )


def test_a_property_that_is_added_is_measured(tiny: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path, str(tiny.parent / "store"))
    chain.prepare("digits", TINY | {"property.also": ["diversity"], "property.n_clusters": 8})
    shards = chain.models()
    assert chain.measure(shards[0]) == 13
