"""A whole valuation in the images, task by task, as locked down as a restricted pod; `make test-images`.

Not collected by `make test`: it wants root, debootstrap, podman, buildah and runc, 10 GB of disk and a quarter of an
hour. Kubeflow's own DockerRunner starts every task of the compiled pipeline as a container, through podman's socket.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from docker.types import Ulimit
from kfp import components, local
from mlflow import MlflowClient
from tiny import TINY

from shapley_core.stages.chain import value

ROOT = Path(__file__).parents[2]
REGISTRY, TAG = "localhost/diffusion-shapley-test", "0.0.0-test"
BASE = "localhost/diffusion-shapley/debian-python:12"
ESTIMATOR, DIFFUSION = f"{REGISTRY}/estimator:{TAG}", f"{REGISTRY}/diffusion:{TAG}"
IMAGES = {"IMAGE_REGISTRY": REGISTRY, "IMAGE_TAG": TAG}
SETTINGS = TINY | {"run.loop_threads": 1}
NOBODY = 65532


@pytest.fixture(scope="session")
def images() -> str:
    """Both images, built on a Debian that debootstrap made; buildah works without the kernel's namespaces here.

    Returns the commit that they were built from, at the earliest: others may commit in the meantime.
    """
    missing = [program for program in ("debootstrap", "podman", "buildah", "runc") if not shutil.which(program)]
    assert not missing and os.geteuid() == 0, f"to be run as root, with {', '.join(missing) or 'everything there is'}"
    before = _commits("-1", "HEAD")[0]
    if subprocess.run(["podman", "image", "exists", BASE]).returncode:
        subprocess.run([ROOT / "images" / "debian_base.sh", BASE], check=True)
    command = [sys.executable, ROOT / "images" / "build.py", "--base-image", BASE, "--builder", "buildah"]
    subprocess.run(command, check=True, env={**os.environ, **IMAGES, "BUILDAH_ISOLATION": "chroot"})
    return before


def _commits(*which: str) -> list[str]:
    return subprocess.check_output(["git", "rev-list", *which], cwd=ROOT, text=True).split()


@pytest.fixture(scope="session")
def podman_socket(tmp_path_factory: pytest.TempPathFactory, images: str) -> Iterator[str]:
    """The address at which podman answers as docker does, with runc as its runtime."""
    socket = tmp_path_factory.mktemp("podman") / "socket"
    service = subprocess.Popen(["podman", "--runtime", "runc", "system", "service", "--time=0", f"unix://{socket}"])
    try:
        while not socket.exists():
            assert service.poll() is None
            time.sleep(0.1)
        yield f"unix://{socket}"
    finally:
        service.terminate()
        service.wait()


def _in(image: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an image: no network, nothing to write to but /tmp."""
    options = ["--rm", "--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"]
    limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
    podman = ["podman", "--runtime", "runc", "run", *options, *limits, image]
    return subprocess.run([*podman, *command], capture_output=True, text=True)


@pytest.mark.parametrize("image", [ESTIMATOR, DIFFUSION])
def test_image_is_bare(images: str, image: str) -> None:
    assert _in(image, "id", "-u").stdout.strip() == str(NOBODY)
    for program in ("cc", "gcc", "c++", "g++", "clang", "ld", "as", "make", "pip"):
        assert _in(image, "sh", "-c", f"command -v {program}").returncode != 0, program
    assert "Read-only file system" in _in(image, "touch", "/opt/venv/file").stderr
    # Nothing of this repository but the library and the components, and nothing of the build.
    ours = ("*/shapley_core/config.py", "*/pipelines/cli.py", "*/tests/tiny.py", "*/packages.lock", "/wheels")
    patterns = [word for path in ours for word in ("-o", "-path", path)][1:]
    listed = _in(image, "find", "/", "-xdev", *patterns)
    assert listed.stdout.split() == ["/opt/venv/lib/python3.11/site-packages/shapley_core/config.py"]


@pytest.mark.parametrize("image", [ESTIMATOR, DIFFUSION])
def test_image_is_labelled(images: str, image: str) -> None:
    (facts,) = json.loads(subprocess.check_output(["podman", "image", "inspect", image]))
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in facts["Labels"].items()}
    assert labels["title"].endswith(image.split("/")[-1].split(":")[0])
    assert labels["version"] == TAG and labels["base.name"] == BASE
    assert labels["revision"].removesuffix("-dirty") in (images, *_commits(f"{images}..HEAD"))
    assert labels["created"] and labels["description"]
    print(f"\n{image}: {facts['Size'] / 1e6:,.0f} MB")


def test_estimator_has_no_torch(images: str) -> None:
    program = "import importlib.util, shapley_core.stages.estimate; assert not importlib.util.find_spec('torch')"
    ended = _in(ESTIMATOR, "python3", "-c", program)
    assert ended.returncode == 0, ended.stderr
    assert _in(DIFFUSION, "python3", "-c", program).returncode == 1


def test_valuation(podman_socket: str, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = [sys.executable, "-m", "pipelines", "compile", "--out", str(tmp_path)]
    subprocess.run(compiled, cwd=ROOT, check=True, env={**os.environ, **IMAGES})
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o777)  # the tasks run as nobody of this machine
    monkeypatch.setenv("DOCKER_HOST", podman_socket)
    local.init(
        runner=local.DockerRunner(
            network_mode="host",  # for MLflow on loopback
            read_only=True,
            tmpfs={"/tmp": "mode=1777"},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            ulimits=[Ulimit(name=name, soft=1024, hard=1024) for name in ("nofile", "nproc")],
            environment={"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": mlflow_server, "NO_PROXY": "127.0.0.1"},
        ),
        pipeline_root=str(work),
    )
    pipeline = components.load_component_from_file(str(tmp_path / "valuation.yaml"))
    results = Path(pipeline(store=str(work / "store"), overrides=SETTINGS).outputs["Output"].path)

    # Containers did it, and measured what this process measures without them, to the last bit; the linear algebra that
    # makes values of it rounds by where in memory its arrays happen to lie.
    assert (results / "values.json").stat().st_uid == NOBODY
    torch.set_num_threads(1)
    outside = value(tmp_path / "outside", SETTINGS)
    for table, tolerance in (("utilities", 0.0), ("values", 1e-10)):
        inside, without = (pd.read_parquet(folder / f"{table}.parquet") for folder in (results, outside))
        timeless = inside.columns.drop([column for column in inside if column.endswith("seconds")])
        pd.testing.assert_frame_equal(inside[timeless], without[timeless], rtol=tolerance, atol=tolerance)
    # MLflow's client alone logs what a server needs: values, and the report as a file.
    client = MlflowClient(mlflow_server)
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    values = json.loads((results / "values.json").read_text())["contributors"]
    for row in values:
        assert run.data.metrics[f"value/{row['contributor']}"] == pytest.approx(row["value"])
    assert "report.html" in {file.path for file in client.list_artifacts(run.info.run_id)}
