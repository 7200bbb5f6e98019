"""The scripts around the bucket, run as their manifests run them, on a real S3 server; and what they would delete."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from kfp import compiler
from manifests import K8S, OVERLAYS, one, overlay, pod_templates

from pipelines import servers
from pipelines.measure_coalitions import measure_coalitions
from shapley_core.storage import open_store, put_folder

sys.path.append(str(K8S / "components" / "retention"))
from sweep import MARKER, PATTERNS, TASKS, expired

RUN = str(UUID(int=7))
GAME = "0123456789abcdef"
NOW = datetime(2026, 11, 24, tzinfo=UTC)

STAYS = [
    f"store/{GAME}/game.json",
    f"store/{GAME}/{'ab' * 32}.parquet",
    f"artifacts/valuation/{RUN}/estimate/1f/results/values.json",
    f"artifacts/valuation/{RUN}/estimate/1f/results/figures/generate/curve.png",
    f"artifacts/valuation/{RUN}/score/1f/utilities/utilities.parquet",
    f"artifacts/valuation/{RUN}/train/1f/model/diffusion_pytorch_model.safetensors",
    "mlflow/1/values.json",
    "store/models.txt",
    "images/finetune-subset/cat.png",
]
GOES = {
    f"artifacts/valuation/{RUN}/finetune-subset/1f/models/0a.safetensors": "coalitions",
    f"artifacts/namespace/team/valuation/{RUN}/generate/2e/images/0a.npy": "coalitions",
    f"store/{GAME}/samples/0a.png": "coalitions",
    f"store/{GAME}/images/0a-1.npy": "coalitions",
    "store/models/fedcba9876543210/config.json": "models",
    "store/checkpoints/fedcba9876543210": "checkpoints",
}


def command(workload: str, bucket: str) -> list[str]:
    """The command of a manifest, with the places of its container put in."""
    (container,) = dict(pod_templates(overlay("kind")))[workload]["spec"]["containers"]
    words = [*container["command"], *container.get("args", [])]
    (script,) = K8S.glob(f"components/*/{workload.replace('-', '_')}.py")
    assert words[:3] == ["python3", f"/scripts/{script.name}", "$(BUCKET)"]
    # The ConfigMap that is mounted there holds the script as it stands in the repository.
    assert one(overlay("kind"), "ConfigMap", workload)["data"] == {script.name: script.read_text()}
    return [sys.executable, str(script), bucket, *words[3:]]


def run(words: list[str], server: servers.S3Server) -> str:
    return subprocess.run(
        words, env={**os.environ, **server.environment}, check=True, capture_output=True, text=True
    ).stdout


def test_the_bucket_is_made_once(s3_server: servers.S3Server) -> None:
    bucket = "valuations-made-by-a-job"
    assert run(command("make-bucket", bucket), s3_server) == f"the bucket {bucket} is there\n"
    s3_server.client.put_object(Bucket=bucket, Key="store/kept", Body=b"kept")
    assert run(command("make-bucket", bucket), s3_server) == f"the bucket {bucket} is there\n"
    assert s3_server.client.get_object(Bucket=bucket, Key="store/kept")["Body"].read() == b"kept"
    s3_server.client.delete_bucket(Bucket=bucket)


def test_what_is_young_stays_and_what_expired_goes(s3_server: servers.S3Server, s3_bucket: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_bucket}")
    for key in (*STAYS, *GOES):
        store.write(key, b"content")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.safetensors").write_bytes(b"weights")
    put_folder(open_store(f"s3://{s3_bucket}/store"), "models/00000000000000aa", tmp_path / "model")
    everything = store.list()
    assert len(everything) == len(STAYS) + len(GOES) + 2

    words = command("sweep", s3_bucket)
    assert "0 of 17 files" in run(words, s3_server)
    assert store.list() == everything

    no_days = [re.sub(r"=\d+$", "=0", word) for word in words]
    assert "8 of 17 files" in run(no_days, s3_server)
    assert store.list() == sorted(STAYS)


def days(**changes: int) -> dict[str, int]:
    return {"coalitions": 30, "models": 180, "checkpoints": 14} | changes


def aged(ages: Mapping[str, float]) -> list[tuple[str, datetime]]:
    return [(key, NOW - timedelta(days=age)) for key, age in ages.items()]


def test_each_kind_has_its_own_days() -> None:
    assert set(GOES.values()) == set(PATTERNS) == set(days())
    for key, kind in GOES.items():
        limit = days()[kind]
        assert list(expired(aged({key: limit + 1}), days(), NOW)) == [key]
        assert list(expired(aged({key: limit - 1}), days(), NOW)) == []


def test_values_never_go() -> None:
    nothing = days(coalitions=0, models=0, checkpoints=0)
    assert list(expired(aged(dict.fromkeys(STAYS, 10_000.0)), nothing, NOW)) == []


def test_a_model_goes_as_a_whole_with_its_marker_first() -> None:
    folder = "store/models/fedcba9876543210/"
    files = {f"{folder}{name}": 200.0 for name in ("a.json", "weights.safetensors", MARKER, "z/config.json")}
    others = {"store/models/00000000000000aa/a.json": 200.0, "store/models/00000000000000aa/b.json": 1.0}
    keys = list(expired(aged(files | others), days(), NOW))
    assert keys[0] == folder + MARKER
    assert set(keys) == set(files)


def test_a_run_that_goes_on_keeps_all_its_shards() -> None:
    shards = {f"artifacts/valuation/{RUN}/generate/{i}/images/0.npy": 40.0 - 20 * i for i in range(2)}
    assert list(expired(aged(shards), days(), NOW)) == []
    assert len(list(expired(aged(shards), days(coalitions=10), NOW))) == 2


def test_the_tasks_are_those_of_the_loop_whose_outputs_are_models_and_images(tmp_path: Path) -> None:
    compiler.Compiler().compile(measure_coalitions, str(tmp_path / "loop.yaml"))
    pipeline = next(yaml.safe_load_all((tmp_path / "loop.yaml").read_text()))
    tasks = {name.removeprefix("comp-"): c for name, c in pipeline["components"].items() if "executorLabel" in c}
    assert {*TASKS} == {
        name for name, c in tasks.items() if {"models", "images"} & set(c["outputDefinitions"]["artifacts"])
    }


@pytest.mark.parametrize("name", OVERLAYS)
def test_sweeping_is_part_of_every_overlay(name: str) -> None:
    sweep = one(overlay(name), "CronJob", "sweep")["spec"]
    assert sweep["concurrencyPolicy"] == "Forbid"
    (container,) = sweep["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert [argument.split("=")[0] for argument in container["args"]] == [f"--{kind}" for kind in PATTERNS]
