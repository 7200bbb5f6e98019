"""A whole evaluation in this process: what it leaves, what it does not measure twice, and whom it refuses to judge."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from evaluations import PAGE, lds_by_the_page
from PIL import Image
from sklearn.datasets import load_digits
from tiny import TINY

from shapley_core.baselines import BASELINES
from shapley_core.errors import UserError
from shapley_core.evaluation.removal import REMOVAL_METHODS
from shapley_core.evaluation.result import BY_FINETUNING, LEAVE_ONE_OUT, NUMBER_OF_IMAGES, OURS
from shapley_core.games.plan import Plan
from shapley_core.stages.chain import EvaluationChain, value
from shapley_core.stages.game_files import read_game_id
from shapley_core.stages.removal_files import read_purposes

#: The first eight images of each digit: gradients are taken of every image.
SMALL = TINY | {
    "data.source": "image_folder",
    "training.steps": 6,
    "training.batch_size": 16,
    "generation.n_images": 24,
    "property.n_clusters": 6,
    "unlearning.epochs": 0.5,
    "unlearning.fisher_batches": 2,
    "run.shard_size": 200,
}
EVALUATION = {
    "evaluation.alphas": [0.5],
    "evaluation.n_sets": 2,
    "evaluation.n_held_out": 4,
    "evaluation.n_seeds": 2,
    "evaluation.n_repeated": 4,
    "evaluation.n_retrained": 6,
    "evaluation.n_finetuned": 24,
    "evaluation.n_compared": 1,
    "evaluation.gradient_timesteps": 2,
    "evaluation.projection_dim": 64,
}


@pytest.fixture(scope="module")
def valuation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a small valuation; its images stand beside them, its store too."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("valuation")
    digits = load_digits()
    for digit in range(10):
        target = folder / "images" / str(digit)
        target.mkdir(parents=True)
        for k, image in enumerate(digits.images[digits.target == digit][:8]):
            Image.fromarray((image * 15.9).astype(np.uint8)).save(target / f"{k}.png")
    return value(folder, SMALL | {"data.path": str(folder / "images")})


@pytest.fixture(scope="module")
def evaluated(valuation: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluationChain:
    """A whole evaluation of it."""
    return whole(tmp_path_factory.mktemp("evaluation"), valuation, EVALUATION)


def whole(folder: Path, valuation: Path, overrides: Mapping[str, Any]) -> EvaluationChain:
    """An evaluation from its beginning to its end, with the store of the valuation."""
    chain = EvaluationChain(folder, str(valuation.parent / "store"))
    chain.open(valuation, overrides)
    chain.attribute()
    for method in REMOVAL_METHODS:
        chain.measure(method)
    chain.counterfactuals()
    chain.evaluate()
    return chain


def test_what_an_evaluation_leaves(evaluated: EvaluationChain) -> None:
    results = evaluated.path("results")
    lds = pd.read_parquet(results / "lds.parquet").set_index("attribution")
    assert set(lds.index) >= {*BASELINES, LEAVE_ONE_OUT, OURS, BY_FINETUNING}  # 6 retrained are too few to solve from
    assert (lds["n_coalitions"] == 8).all() and (lds["size"] == 5).all() and lds["lds"].between(-1, 1).all()
    costs = pd.read_parquet(results / "costs.parquet").set_index("method")
    assert set(costs.index) == set(REMOVAL_METHODS) and costs.loc["retraining", "times_cheaper"] == 1
    fids = pd.read_parquet(results / "fids.parquet").set_index("method")
    assert set(fids.index) == set(REMOVAL_METHODS) - {"retraining"} and (fids["mean"] > 0).all()
    short_cut = pd.read_parquet(results / "short_cut.parquet")
    assert short_cut["prediction"].tolist() == ["v", "sum"] and short_cut["n_coalitions"].tolist() == [8, 8]
    assert short_cut["lds"].between(-1, 1).all()
    changes = pd.read_parquet(results / "counterfactuals.parquet")
    assert set(changes["action"]) == {"remove", "keep"} and OURS in set(changes["attribution"])
    assert dict(zip(changes["action"], changes["n"], strict=True)) == {"remove": 6, "keep": 6}
    found = json.loads((results / "evaluation.json").read_text())
    assert found["facts"]["contributors"] == 10 and not found["refused"] and found["ceiling"] is not None
    for name in ("evaluation.html", "evaluation.md", "attributions.parquet", "mlflow.txt"):
        assert (results / name).stat().st_size > 0
    assert [*(results / "figures").glob("*.png")]
    assert "8 coalitions of 5 contributors, the mean of 2 retrainings each" in (results / "evaluation.md").read_text()


def test_what_an_evaluation_leaves_is_documented(evaluated: EvaluationChain) -> None:
    results, documented = evaluated.path("results"), PAGE.read_text()
    tables = {path.stem for path in results.glob("*.parquet")} - {"measurements", "attributions"}
    assert tables == {*re.findall(r"^## (\w+)$", documented, re.MULTILINE)}
    for name in {path.name for path in results.iterdir()} - {f"{table}.parquet" for table in tables}:
        assert f"`{name}`" in documented or f"`{name}/`" in documented, name
    measurements = pd.read_parquet(results / "measurements.parquet")
    for name in (*measurements.columns, *measurements["purpose"].unique(), *measurements["method"].unique()):
        assert f"`{name}`" in documented or f"`{name.removeprefix('sparsified_')}`" in documented, name


def test_an_lds_can_be_checked_as_documented(valuation: Path, tmp_path: Path) -> None:
    once = {"evaluation.n_seeds": 1, "evaluation.n_finetuned": 0, "evaluation.n_compared": 0}
    results = whole(tmp_path, valuation, EVALUATION | once).path("results")
    told = lds_by_the_page(results)
    table = pd.read_parquet(results / "lds.parquet").set_index("attribution")["lds"]
    assert {*told} == {*table.index}
    # Everybody has eight images, which says nothing of the order of coalitions.
    assert np.isnan(told.pop(NUMBER_OF_IMAGES)) and table[NUMBER_OF_IMAGES] == 0
    for name, score in told.items():
        assert score == pytest.approx(table[name]), name


def test_held_out_coalitions_are_retrained_and_unseen(evaluated: EvaluationChain) -> None:
    measured = read_purposes(evaluated.path("retraining") / "measured")
    seen = set(Plan.load(evaluated.path("plan")).table["key"])
    held_out = measured[measured["purpose"] == "held_out"]
    assert len(held_out) == 16 and held_out["key"].nunique() == 8 and not set(held_out["key"]) & seen
    assert (held_out["status"] == "ok").all() and held_out["value"].nunique() == 16
    finetuned = read_purposes(evaluated.path("sparsified_finetuning") / "measured")
    finetuned = finetuned[finetuned["purpose"] == "held_out"]
    assert len(finetuned) == 8 and set(finetuned["key"]) == set(held_out["key"])
    assert (finetuned["status"] == "ok").all() and set(finetuned["seed"]) <= set(held_out["seed"])


def test_methods_are_games_of_their_own_and_sparsified_finetuning_is_the_valuations(evaluated: EvaluationChain) -> None:
    ids = {method: read_game_id(evaluated.path(method) / "game") for method in REMOVAL_METHODS}
    assert len({*ids.values()}) == len(REMOVAL_METHODS)
    assert ids["sparsified_finetuning"] == read_game_id(evaluated.path("game"))


def test_retraining_starts_from_the_noise_that_fine_tuning_started_from(evaluated: EvaluationChain) -> None:
    tables = [read_purposes(evaluated.path(name) / "measured") for name in ("retraining", "sparsified_finetuning")]
    mine, theirs = (t[t["purpose"] == "fit"].set_index("key")["seed"] for t in tables)
    assert len(mine) == 8 and (mine == theirs[mine.index]).all()


def test_a_second_evaluation_makes_no_model(valuation: Path, evaluated: EvaluationChain, tmp_path: Path) -> None:
    again = EvaluationChain(tmp_path, evaluated.store)
    again.open(valuation, EVALUATION | {"run.shard_size": 1})
    again.attribute()
    assert [again.measure(method) for method in REMOVAL_METHODS] == [0] * len(REMOVAL_METHODS)
    assert again.counterfactuals() == 0
    # What is known costs no tasks but those of its shard; a coalition that was measured twice stands in two.
    for method in (*REMOVAL_METHODS, "counterfactuals"):
        plan = Plan.load(again.path(method) / "plan")
        assert len(plan.shards) == max(1, plan.table.groupby("key").size().max())
    results = again.evaluate()
    first = evaluated.path("results")
    for table in ("lds", "counterfactuals", "fids", "costs", "budget", "fidelity"):
        kept = [pd.read_parquet(folder / f"{table}.parquet") for folder in (results, first)]
        pd.testing.assert_frame_equal(*kept, check_exact=True)


def test_other_images_are_refused(valuation: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(valuation.parent / "images", moved)
    (moved / "0" / "0.png").unlink()
    results = tmp_path / "results"
    shutil.copytree(valuation, results)
    config = (results / "config.yaml").read_text().replace(str(valuation.parent / "images"), str(moved))
    (results / "config.yaml").write_text(config)
    with pytest.raises(UserError, match="have changed since"):
        EvaluationChain(tmp_path / "e", str(tmp_path / "store")).open(results, EVALUATION)


def test_another_game_is_refused(valuation: Path, evaluated: EvaluationChain, tmp_path: Path) -> None:
    chain = EvaluationChain(tmp_path / "e", evaluated.store)
    shutil.copytree(evaluated.folder, chain.folder, ignore=shutil.ignore_patterns("results", "*_*", "retraining"))
    values = json.loads((chain.path("values") / "values.json").read_text())
    (chain.path("values") / "values.json").write_text(json.dumps(values | {"game_id": "0" * 16}))
    with pytest.raises(UserError, match="the values are of the game 0000000000000000, and configuration"):
        chain.measure("finetuning")


def test_settings_of_the_valuation_are_refused(valuation: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"finetuning\.steps belongs to the valuation, which is finished"):
        EvaluationChain(tmp_path, str(tmp_path / "store")).open(valuation, {"finetuning.steps": 3})


def test_no_valuation_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no finished valuation at .*values.json is missing"):
        EvaluationChain(tmp_path, str(tmp_path / "store")).open(tmp_path, {})


def test_a_held_out_coalition_that_the_fit_has_seen_is_refused(evaluated: EvaluationChain, tmp_path: Path) -> None:
    """A valuation that was run again with more coalitions, after the held-out ones were drawn."""
    chain = EvaluationChain(tmp_path / "e", evaluated.store)
    shutil.copytree(evaluated.folder, chain.folder)
    plan = Plan.load(chain.path("plan"))
    held_out = read_purposes(chain.path("retraining") / "measured").iloc[0]
    plan.table.loc[5, "key"] = held_out["key"]
    plan.save(chain.path("plan"))
    with pytest.raises(UserError, match="1 of the held-out coalitions took part in the valuation"):
        chain.evaluate()
