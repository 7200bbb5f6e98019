"""Valuations made again in one store: a larger budget, somebody who joined, and what is told of the last time."""

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from sklearn.datasets import load_digits
from tiny import TINY

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.errors import UserError
from shapley_core.games.plan import Plan
from shapley_core.games.store import UtilityStore
from shapley_core.stage_log import StageLog
from shapley_core.stages.chain import Chain, value
from shapley_core.stages.game_files import read_game_id, utility_file
from shapley_core.stages.keeping import checkpoint_digest
from shapley_core.stages.prune import prune
from shapley_core.stages.sample_space import training_samples
from shapley_core.stages.train import train
from shapley_core.storage import LocalStore
from shapley_core.tracking import safe_name

SCHEMA = Path(__file__).parents[2] / "docs/schemas/values.schema.json"
SHORT = {
    "training.steps": 8,
    "pruning.finetuning.steps": 4,
    "finetuning.steps": 2,
    "generation.n_images": 32,
    "generation.n_steps": 2,
    "property.classifier_steps": 20,
}
FIRST = ["ada", "bo", "cleo", "dora", "eve"]
JOINED = "carl"


def add_images(folder: Path, contributor: str, digit: int) -> None:
    digits = load_digits()
    (folder / contributor).mkdir(parents=True)
    for i, image in enumerate(digits.images[digits.target == digit][:24]):
        Image.fromarray((image * 15).astype(np.uint8)).save(folder / contributor / f"{i}.png")


class Series:
    """Valuations of one folder of images, in one store."""

    def __init__(self, root: Path) -> None:
        self.root, self.images, self.store = root, root / "images", root / "store"
        for digit, name in enumerate(FIRST):
            add_images(self.images, name, digit)

    def settings(self, **changes: Any) -> dict[str, Any]:
        folder = {"data.source": "image_folder", "data.path": str(self.images)}
        budget = {"game.n_coalitions": 14, "run.shard_size": 100}
        return TINY | SHORT | folder | budget | {name.replace("__", "."): change for name, change in changes.items()}

    def value(self, name: str, **changes: Any) -> Chain:
        value(self.root / name, self.settings(**changes), store=self.store)
        return Chain(self.root / name, str(self.store))


def values(chain: Chain) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((chain.path("results") / "values.json").read_text())
    jsonschema.validate(result, json.loads(SCHEMA.read_text()))
    return result


def utilities(chain: Chain) -> pd.DataFrame:
    table = pd.read_parquet(utility_file(chain.path("utilities-0")))
    return table.set_index("key")[["property", "seed", "value", "status"]].sort_index()


def fine_tuned(chain: Chain) -> int:
    return int(StageLog.load(chain.path("utilities-0") / "logs" / "finetune_subset-0.json").facts["fine_tuned"])


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    torch.set_num_threads(1)
    return Series(tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="module")
def first(series: Series) -> Chain:
    return series.value("first")


@pytest.fixture(scope="module")
def larger(series: Series, first: Chain) -> Chain:
    return series.value("larger", game__n_coalitions=20)


@pytest.fixture(scope="module")
def joined(series: Series, larger: Chain) -> Chain:
    """After somebody joined; the models are those of the first valuation."""
    add_images(series.images, JOINED, 7)
    return series.value("joined", game__n_coalitions=20, game__model_contributors=FIRST)


def test_the_first_valuation_has_no_last_time(first: Chain) -> None:
    assert "since_last_time" not in values(first)
    assert "Since last time" not in (first.path("results") / "report.html").read_text()


def test_a_larger_budget_measures_each_coalition_once(series: Series, first: Chain, larger: Chain) -> None:
    assert (fine_tuned(first), fine_tuned(larger)) == (16, 6)
    since = values(larger)["since_last_time"]
    assert since["same_game"] and (since["coalitions_reused"], since["coalitions_measured"]) == (16, 6)
    assert since["new"] == since["gone"] == []
    before = {row["contributor"]: row for row in values(first)["contributors"]}
    now = {row["contributor"]: row for row in values(larger)["contributors"]}
    for row in since["contributors"]:
        name = row["contributor"]
        assert row["value_then"] == before[name]["value"] and row["ci_low_then"] == before[name]["ci_low"]
        assert row["moved_by"] == pytest.approx(now[name]["value"] - before[name]["value"])
        assert not row["other_images"]
    tables = [pd.read_parquet(path) for path in (series.store / read_game_id(larger.path("game"))).glob("*.parquet")]
    assert not pd.concat(tables).duplicated(["key", "property", "seed"]).any()
    report = (larger.path("results") / "report.html").read_text()
    assert "Since last time" in report and "16 were known and 6 were measured" in report


def test_who_joins_is_valued_by_models_that_stay(first: Chain, larger: Chain, joined: Chain) -> None:
    for stage in ("train", "prune"):
        assert StageLog.load(joined.path(f"{stage}.log")).facts["reused"] == 1
    assert read_game_id(joined.path("game")) == read_game_id(first.path("game"))
    plan = Plan.load(joined.path("plan"))
    known = {*utilities(larger).index}
    with_new = [plan.contributors.index(JOINED) in members for members in plan.table["members"]]
    assert [key not in known for key in plan.table["key"]] == with_new
    assert fine_tuned(joined) == sum(with_new) == 11  # one of each of ten pairs, and everybody
    result = values(joined)
    since = result["since_last_time"]
    assert since["same_game"] and since["new"] == [JOINED]
    assert (since["coalitions_reused"], since["coalitions_measured"]) == (11, 11)
    assert JOINED in {row["contributor"] for row in result["contributors"]}
    assert sum(row["value"] for row in result["contributors"]) == pytest.approx(
        result["full_value"] - result["null_value"]
    )


def test_what_was_known_is_what_would_be_measured_now(series: Series, joined: Chain, tmp_path: Path) -> None:
    """In an empty store the same valuation trains the models and measures all coalitions anew."""
    anew = Chain(tmp_path, str(tmp_path / "store"))
    anew.prepare("digits", series.settings(game__n_coalitions=20, game__model_contributors=FIRST))
    assert [anew.measure(shard) for shard in anew.models()] == [22]
    pd.testing.assert_frame_equal(utilities(anew), utilities(joined), check_exact=True)


def test_without_the_setting_who_joins_makes_another_game(series: Series, first: Chain, joined: Chain) -> None:
    chain = Chain(series.root / "retrained", str(series.store))
    chain.prepare("digits", series.settings())
    chain.models()
    assert StageLog.load(chain.path("train.log")).facts["reused"] == 0
    game = read_game_id(chain.path("game"))
    assert game != read_game_id(first.path("game"))
    assert UtilityStore(LocalStore(series.store), game).load().empty


def test_each_valuation_leaves_one_record_and_a_repeated_task_none(series: Series, joined: Chain) -> None:
    records = sorted((series.store / "history").rglob("*.json"))
    assert len({path.parent for path in records}) == 1
    assert [len(json.loads(path.read_text())["contributors"]) for path in records] == [5, 5, 6]
    written = [path.read_bytes() for path in records]
    since = values(joined)["since_last_time"]
    again = values_of_repeated_estimate(joined)
    assert sorted((series.store / "history").rglob("*.json")) == records
    assert [path.read_bytes() for path in records] == written
    assert again == since


def values_of_repeated_estimate(chain: Chain) -> dict[str, Any]:
    chain.estimate([0])
    since: dict[str, Any] = values(chain)["since_last_time"]
    return since


def test_mlflow_has_the_values_over_time(series: Series, first: Chain, larger: Chain, joined: Chain) -> None:
    hint = (joined.path("results") / "mlflow.txt").read_text()
    client = MlflowClient(hint.split()[-1])
    experiment = client.get_experiment_by_name("valuation").experiment_id
    (name,) = [path.name for path in (series.store / "history").iterdir()]
    run, *before = client.search_runs([experiment], filter_string=f"tags.series = '{name}'")  # the newest first
    assert len(before) >= 2 and name.startswith("digits-inception_score-")
    past = [values(chain) for chain in (first, larger, joined)]
    for name in (*FIRST, JOINED):
        for kind in ("value", "ci_low", "ci_high"):
            points = client.get_metric_history(run.info.run_id, f"history/{kind}/{safe_name(name)}")
            expected = {
                step: row[kind]
                for step, result in enumerate(past)
                for row in result["contributors"]
                if row["contributor"] == name
            }
            assert {point.step: point.value for point in points} == pytest.approx(expected)


def test_latents_of_who_joined_are_made_by_the_autoencoder_that_stays(series: Series, tmp_path: Path) -> None:
    latent = {
        "model__family": "ldm",
        "model__autoencoder__steps": 3,
        "model__autoencoder__block_out_channels": [8, 16],
        "model__autoencoder__norm_num_groups": 4,
    }
    (tmp_path / "images").mkdir()
    for name in FIRST:
        shutil.copytree(series.images / name, tmp_path / "images" / name)
    changes = {**latent, "data__path": str(tmp_path / "images")}
    chains = []
    for name, chosen in (("before", None), ("after", FIRST)):
        chain = Chain(tmp_path / name, str(tmp_path / "store"))
        chain.prepare("digits", series.settings(**changes, game__model_contributors=chosen))
        inputs = chain.path("dataset"), chain.path("config")
        train(*inputs, chain.store, model=chain.path("model"), log=chain.path("train.log"))
        prune(*inputs, chain.path("model"), chain.store, pruned=chain.path("pruned"), log=chain.path("prune.log"))
        chains.append(chain)
        add_images(tmp_path / "images", f"{JOINED}{len(chains)}", 7)
    before, after = chains
    settings = ValuationConfig.load(after.path("config"))
    old, new = (ContributorDataset.load(chain.path("dataset")) for chain in chains)
    for model in ("model", "pruned"):
        assert checkpoint_digest(before.path(model)) == checkpoint_digest(after.path(model))
        few = training_samples(settings, old, before.path(model)).clean
        everybody = training_samples(settings, new, after.path(model)).clean
        assert (len(few), len(everybody)) == (5 * 24, 6 * 24)
        owner = np.array(new.contributors)[new.contributor_ids]
        torch.testing.assert_close(everybody[torch.from_numpy(owner != f"{JOINED}1")], few, rtol=0, atol=1e-5)
    # What is kept with the models is theirs alone.
    assert not list((tmp_path / "store").rglob("everybodys*"))
    assert len(list((tmp_path / "store" / "models").iterdir())) == 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"game__model_contributors": [*FIRST, "zoe"]}, "names 'zoe', and there is no such contributor"),
        ({"game__model_contributors": ["ada"]}, "at least two to start from"),
        (
            {"game__model_contributors": FIRST, "game__coalition_model": "gradient_ascent"},
            "would have to forget images that it was never trained on",
        ),
    ],
)
def test_models_that_cannot_be_kept(series: Series, changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        Chain(tmp_path, str(tmp_path / "store")).prepare("digits", series.settings(**changes))
