"""Contributors with names as nobody would like to meet them, valued whole: on S3, in MLflow, in the report."""

import csv
import json
import re
from pathlib import Path

import pandas as pd
import torch
from mlflow import MlflowClient
from PIL import Image
from sklearn.datasets import load_digits
from tiny import TINY

from shapley_core.stages.chain import Chain
from shapley_core.storage import open_store
from shapley_core.tracking import safe_name

NAMES = (
    "n" * 300,
    "bell\x07 escape\x1b[31m two\r\nlines",
    "<script>alert(1)</script>",
    "../../etc",
    "photo\u202egnp.exe",
)
SMALL = TINY | {
    "data.source": "manifest",
    "training.steps": 6,
    "pruning.finetuning.steps": 4,
    "finetuning.steps": 2,
    "generation.n_images": 16,
    "generation.n_steps": 2,
    "property.classifier_steps": 20,
    "game.n_coalitions": 12,
    "payout.pool": 1000,
}


def manifest(folder: Path) -> Path:
    """Eight images of a digit for each of the names."""
    digits = load_digits()
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "contributor"))
        for digit, name in enumerate(NAMES):
            for k, image in enumerate(digits.images[digits.target == digit][:8]):
                Image.fromarray((image * 15.9).astype("uint8")).save(folder / f"{digit}-{k}.png")
                rows.writerow((f"{digit}-{k}.png", name))
    return folder / "manifest.csv"


def test_a_valuation_of_odd_names(s3_bucket: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    store = f"s3://{s3_bucket}/store"
    chain = Chain(tmp_path / "work", store)
    chain.prepare("digits", SMALL | {"data.path": str(manifest(tmp_path))})
    shards = chain.models()
    for shard in shards:
        chain.measure(shard)
    results = chain.estimate(shards)

    # As data the names are what they were.
    rows = json.loads((results / "values.json").read_text())["contributors"]
    assert {row["contributor"] for row in rows} == set(NAMES)
    assert set(pd.read_parquet(results / "values.parquet")["contributor"]) == set(NAMES)
    assert set(pd.read_csv(results / "payout.csv")["contributor"]) == set(NAMES)

    # Keys of the store and names of files are made of hashes and words of ours.
    for key in (*open_store(store).list(), *(str(path.relative_to(results)) for path in results.rglob("*"))):
        assert re.fullmatch(r"[\w./-]{1,200}", key, re.ASCII), key
        assert ".." not in key

    # Metrics have names that MLflow takes, one for each.
    hint = (results / "mlflow.txt").read_text().split()
    client = MlflowClient(hint[-1])
    newest = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=1)[0]
    metrics = newest.data.metrics
    assert {name: metrics[f"value/{safe_name(name)}"] for name in NAMES} == {
        row["contributor"]: row["value"] for row in rows
    }
    assert all(len(name) <= 250 and name.isprintable() for name in metrics)

    # The report shows them, and nothing of them acts.
    html = (results / "report.html").read_text()
    assert "<script>alert(1)" not in html and "&lt;script&gt;alert(1)" in html
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", html)
    assert "n" * 300 in html
