"""A whole valuation on a real S3 server: its images come from there, everything is kept there, its results go there."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from tiny import TINY

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.errors import UserError
from shapley_core.stage_log import StageLog
from shapley_core.stages.chain import Chain
from shapley_core.stages.game_files import read_game_id
from shapley_core.stages.open_valuation import open_valuation
from shapley_core.storage import get_folder, open_store, put_folder

#: Four contributors, and checkpoints on the way.
SMALL = TINY | {
    "data.source": "image_folder",
    "training.steps": 6,
    "pruning.finetuning.steps": 4,
    "finetuning.steps": 2,
    "generation.n_images": 16,
    "generation.n_steps": 2,
    "property.classifier_steps": 20,
    "game.n_coalitions": 8,
    "run.checkpoint_every": 2,
}


@pytest.fixture
def bucket(s3_bucket: str) -> str:
    """The address of a bucket with eight images of each of four digits under ``images/``."""
    digits = load_digits()
    store = open_store(f"s3://{s3_bucket}/images")
    for digit in range(4):
        for k, image in enumerate(digits.images[digits.target == digit][:8]):
            store.write(f"{digit}/{k}.png", png(image))
    return f"s3://{s3_bucket}"


def png(image: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray((image * 15.9).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_data_models_utilities_and_results_on_s3(bucket: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    first = Chain(tmp_path / "first", f"{bucket}/store")
    first.prepare("digits", SMALL | {"data.path": f"{bucket}/images"})
    shards = first.models()
    assert sum(first.measure(shard) for shard in shards) == 10
    results = first.estimate(shards)
    kept = open_store(f"{bucket}/store").list()
    assert not [key for key in kept if key.startswith("checkpoints/")]
    assert sum(key.endswith("/_complete.json") for key in kept) == 2  # the full and the pruned model
    game = read_game_id(first.path("game"))
    assert f"{game}/game.json" in kept
    assert sum(key.startswith(f"{game}/samples/") for key in kept) == 10

    # Another machine, with nothing but the bucket, trains nothing and finds the same.
    second = Chain(tmp_path / "second", f"{bucket}/store")
    second.prepare("digits", SMALL | {"data.path": f"{bucket}/images"})
    shards = second.models()
    assert len(shards) == 1  # nothing is left to share out
    assert StageLog.load(second.path("train.log")).facts["reused"] == 1
    assert content(second.path("pruned")) == content(first.path("pruned"))
    assert [second.measure(shard) for shard in shards] == [0] * len(shards)
    again = second.estimate(shards)
    values = [pd.read_parquet(folder / "values.parquet") for folder in (results, again)]
    pd.testing.assert_frame_equal(*values, check_exact=True)
    assert open_store(f"{bucket}/store").list() == kept

    published(results, first, bucket, tmp_path)


def published(results: Path, chain: Chain, bucket: str, tmp_path: Path) -> None:
    """Results that were put to S3 are read from there as they were, and an evaluation takes the valuation up there."""
    put_folder(open_store(f"{bucket}/published"), "run-1", results)
    assert get_folder(open_store(f"{bucket}/published"), "run-1", tmp_path / "back") is True
    assert content(tmp_path / "back") == content(results)

    outputs = {name: tmp_path / "opened" / name for name in ("dataset", "config", "values", "log")}
    (tmp_path / "opened").mkdir()
    open_valuation(f"{bucket}/published/run-1", {}, chain.store, **outputs)
    assert content(outputs["values"]) == {
        name: (results / name).read_bytes() for name in ("values.json", "values.parquet")
    }
    data = ContributorDataset.load(outputs["dataset"])
    assert json.loads((results / "values.json").read_text())["dataset"] == data.digest[:16]
    decisive = [
        ValuationConfig.load(p).model_dump(exclude={"preset"}) for p in (outputs["config"], chain.path("config"))
    ]
    assert decisive[0] == decisive[1]

    with pytest.raises(UserError, match=rf"there is no finished valuation at {bucket}/published/run-2"):
        open_valuation(f"{bucket}/published/run-2", {}, chain.store, **outputs)
    open_store(f"{bucket}/images").delete("3/0.png")
    with pytest.raises(UserError, match=rf"images of the valuation at {bucket}/published/run-1 have changed since"):
        open_valuation(f"{bucket}/published/run-1", {}, chain.store, **outputs)
