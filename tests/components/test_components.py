"""The components as Kubeflow calls them: a small valuation of real images, each component once."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kfp import dsl
from PIL import Image
from sklearn.datasets import load_digits
from tiny import TINY

from components.estimate.component import estimate
from components.finetune_subset.component import finetune_subset
from components.generate.component import generate
from components.plan.component import plan
from components.prepare.component import prepare
from components.prune.component import prune
from components.reference.component import reference
from components.score.component import score
from components.train.component import train
from shapley_core.config import ValuationConfig
from shapley_core.models.checkpoint import load_unet, n_parameters
from shapley_core.stage_log import StageLog

#: Three contributors have six coalitions besides the empty one and that of everybody.
SETTINGS = TINY | {"game.n_coalitions": 6, "run.shard_size": 4, "data.skip_bad_images": True}


class Valuation:
    """The artifacts of one valuation, each under its own name in a folder, as Kubeflow would lay them out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = str(folder / "store")
        self.tracking_uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.artifacts: dict[str, dsl.Artifact] = {}

    def new(self, name: str, kind: type[dsl.Artifact] = dsl.Artifact) -> dsl.Artifact:
        """An artifact for a component to fill."""
        artifact = kind(name=name, uri=str(self.folder / name))
        self.artifacts[name] = artifact
        return artifact

    def __getitem__(self, name: str) -> dsl.Artifact:
        return self.artifacts[name]

    def path(self, name: str) -> Path:
        return Path(self[name].path)

    def prepare(self, data: Path) -> None:
        prepare.python_func(
            preset="digits",
            overrides=SETTINGS | {"data.source": "image_folder", "data.path": str(data)},
            store=self.store,
            dataset=self.new("dataset", dsl.Dataset),
            config=self.new("config"),
            log=self.new("prepare_log"),
            metrics=self.new("prepare_metrics", dsl.Metrics),
        )

    def plan(self) -> list[int]:
        shards: list[int] = plan.python_func(
            dataset=self["dataset"],
            config=self["config"],
            game=self["game"],
            store=self.store,
            coalitions=self.new("coalitions", dsl.Dataset),
            log=self.new("plan_log"),
        )
        return shards

    def train(self, store: str | None = None, name: str = "model") -> None:
        train.python_func(
            dataset=self["dataset"],
            config=self["config"],
            store=store or self.store,
            model=self.new(name, dsl.Model),
            log=self.new("train_log"),
            metrics=self.new("train_metrics", dsl.Metrics),
        )

    def prune(self, store: str | None = None) -> None:
        prune.python_func(
            dataset=self["dataset"],
            config=self["config"],
            model=self["model"],
            store=store or self.store,
            pruned=self.new("pruned", dsl.Model),
            log=self.new("prune_log"),
            metrics=self.new("prune_metrics", dsl.Metrics),
        )

    def reference(self) -> None:
        reference.python_func(
            dataset=self["dataset"],
            config=self["config"],
            model=self["model"],
            pruned=self["pruned"],
            game=self.new("game"),
            log=self.new("reference_log"),
            metrics=self.new("reference_metrics", dsl.Metrics),
        )

    def finetune_subset(self, shard: int, store: str | None = None) -> None:
        finetune_subset.python_func(
            dataset=self["dataset"],
            config=self["config"],
            pruned=self["pruned"],
            game=self["game"],
            coalitions=self["coalitions"],
            prepare_log=self["prepare_log"],
            shard=shard,
            store=store or self.store,
            models=self.new(f"models-{shard}", dsl.Model),
        )

    def generate(self, shard: int) -> None:
        generate.python_func(
            config=self["config"],
            pruned=self["pruned"],
            models=self[f"models-{shard}"],
            shard=shard,
            images=self.new(f"images-{shard}", dsl.Dataset),
        )

    def score(self, shard: int, store: str | None = None) -> None:
        score.python_func(
            config=self["config"],
            game=self["game"],
            coalitions=self["coalitions"],
            images=self[f"images-{shard}"],
            shard=shard,
            store=store or self.store,
            utilities=self.new(f"utilities-{shard}", dsl.Dataset),
        )

    def estimate(self, shards: list[int], store: str | None = None) -> None:
        estimate.python_func(
            config=self["config"],
            coalitions=self["coalitions"],
            game=self["game"],
            prepare_log=self["prepare_log"],
            plan_log=self["plan_log"],
            train_log=self["train_log"],
            prune_log=self["prune_log"],
            reference_log=self["reference_log"],
            utilities=[self[f"utilities-{shard}"] for shard in shards],
            store=store or self.store,
            tracking_uri=self.tracking_uri,
            results=self.new("results"),
            report=self.new("report", dsl.HTML),
            metrics=self.new("metrics", dsl.Metrics),
        )

    def beside(self) -> "Valuation":
        """The same inputs, with nothing of this valuation's own overwritten by what is made from them."""
        other = Valuation(self.folder / "beside")
        other.artifacts = dict(self.artifacts)
        return other


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three contributors with a hundred digits in all, and one file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    digits = load_digits()
    for digit, name in enumerate(("Ada", "Bob", "Çelik")):
        (folder / name).mkdir()
        for i, pixels in enumerate(digits.images[digits.target == digit][:33]):
            Image.fromarray((pixels * 15).astype(np.uint8)).save(folder / name / f"{i}.png")
    (folder / "Bob" / "broken.png").write_text("no image at all")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Valuation:
    """A whole valuation, component by component."""
    torch.set_num_threads(1)
    valuation = Valuation(tmp_path_factory.mktemp("valuation"))
    valuation.prepare(images)
    valuation.train()
    valuation.prune()
    valuation.reference()
    shards = valuation.plan()
    assert shards == [0, 1]
    for shard in shards:
        valuation.finetune_subset(shard)
        valuation.generate(shard)
        valuation.score(shard)
    valuation.estimate(shards)
    return valuation


def test_prepare(done: Valuation) -> None:
    assert done["prepare_metrics"].metadata == {"images": 99, "contributors": 3}
    assert StageLog.load(done.path("prepare_log")).facts["images_skipped"] == 1
    config = ValuationConfig.load(done.path("config"))
    assert config.data.source == "image_folder" and config.training.steps == TINY["training.steps"]


def test_models(done: Valuation) -> None:
    full, pruned = (n_parameters(load_unet(done.path(name))) for name in ("model", "pruned"))
    assert done["train_metrics"].metadata == {"parameters": full}
    assert done["prune_metrics"].metadata == {"parameters_before": full, "parameters_after": pruned}
    assert pruned < 0.8 * full
    # The Inception Score lies between one and the number of classes.
    scores = done["reference_metrics"].metadata
    assert set(scores) == {"full_model", "pruned_model"}
    assert all(1 <= score <= 3 for score in scores.values())


def test_loop(done: Valuation) -> None:
    tables = [pd.read_parquet(done.path(f"utilities-{shard}") / "utilities.parquet") for shard in (0, 1)]
    assert [len(table) for table in tables] == [4, 4]
    together = pd.concat(tables)
    assert together["key"].is_unique
    assert set(together["key"]) == set(pd.read_parquet(done.path("coalitions"))["key"])
    assert set(together["status"]) == {"ok"} and together["value"].between(1, 3).all()
    for table, shard in zip(tables, (0, 1), strict=True):
        for key in table["key"]:
            pixels = np.load(done.path(f"images-{shard}") / f"{key}.npy", allow_pickle=False)
            assert pixels.shape == (TINY["generation.n_images"], 8, 8, 1)


def test_every_task_leaves_a_log(done: Valuation) -> None:
    for name in ("prepare", "plan", "train", "prune", "reference"):
        assert StageLog.load(done.path(f"{name}_log")).stage == name
    for shard in (0, 1):
        logs = [StageLog.load(path) for path in (done.path(f"utilities-{shard}") / "logs").iterdir()]
        assert sorted(log.stage for log in logs) == ["finetune_subset", "generate", "score"]


def test_estimate(done: Valuation) -> None:
    values = json.loads((done.path("results") / "values.json").read_text())
    names = {row["contributor"] for row in values["contributors"]}
    assert names == {"Ada", "Bob", "Çelik"}
    metrics = done["metrics"].metadata
    kinds = {"value", "std_error", "width"}
    of_all = {"null_value", "full_value", "n_coalitions", "mean_width", "rank_stability"}
    assert set(metrics) == of_all | {f"{kind}/{name}" for kind in kinds for name in names}
    assert sum(metrics[f"value/{name}"] for name in names) == pytest.approx(
        metrics["full_value"] - metrics["null_value"], abs=1e-6
    )
    assert done.path("report").read_bytes() == (done.path("results") / "report.html").read_bytes()


def test_model_is_trained_once(done: Valuation) -> None:
    again = done.beside()
    again.train(done.store, "model again")
    assert StageLog.load(again.path("train_log")).facts["reused"] == 1
    assert again["train_metrics"].metadata == done["train_metrics"].metadata
    for path in done.path("model").iterdir():
        assert (again.path("model again") / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "component",
    [
        lambda valuation: valuation.train("ftp://nowhere"),
        lambda valuation: valuation.prune("ftp://nowhere"),
        lambda valuation: valuation.finetune_subset(0, "ftp://nowhere"),
        lambda valuation: valuation.score(0, "ftp://nowhere"),
        lambda valuation: valuation.estimate([0, 1], "ftp://nowhere"),
    ],
    ids=["train", "prune", "finetune_subset", "score", "estimate"],
)
def test_store_that_cannot_be(
    done: Valuation, capsys: pytest.CaptureFixture[str], component: Callable[[Valuation], None]
) -> None:
    told = refused(capsys, lambda: component(done.beside()))
    assert told == "cannot keep anything at ftp://nowhere: give a folder or an address s3://bucket/prefix"


@pytest.mark.parametrize(
    ("missing", "component", "expected"),
    [
        ("dataset", lambda valuation: valuation.plan(), "does not hold a complete contributor data set"),
        ("model", lambda valuation: valuation.reference(), "holds no UNet"),
        ("pruned", lambda valuation: valuation.generate(0), "holds no UNet"),
    ],
)
def test_artifact_that_is_not_there(
    done: Valuation,
    capsys: pytest.CaptureFixture[str],
    missing: str,
    component: Callable[[Valuation], None],
    expected: str,
) -> None:
    other = done.beside()
    other.new(missing)
    assert expected in refused(capsys, lambda: component(other))


def test_configuration_that_is_wrong(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"data.source": "image_folder", "data.path": str(images)}
    valuation = Valuation(tmp_path)

    def prepared(preset: str, overrides: dict[str, object]) -> str:
        return refused(
            capsys,
            lambda: prepare.python_func(
                preset,
                overrides,
                valuation.store,
                dataset=valuation.new("dataset", dsl.Dataset),
                config=valuation.new("config"),
                log=valuation.new("log"),
                metrics=valuation.new("metrics", dsl.Metrics),
            ),
        )

    assert prepared("digitz", {}) == "there is no preset 'digitz'; did you mean 'digits'?"
    assert "1 of 100 images cannot be read: 'Bob/broken.png'" in prepared("digits", settings)
    assert "game.n_coalitions" in prepared("digits", settings | {"data.skip_bad_images": True})
    assert not valuation["metrics"].metadata
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def refused(capsys: pytest.CaptureFixture[str], component: Callable[[], object]) -> str:
    """What a component says that ends with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        component()
    assert stop.value.code == 2
    *_, last = io.StringIO(capsys.readouterr().out)
    assert last.startswith("ERROR: ")
    return last.removeprefix("ERROR: ").strip()
