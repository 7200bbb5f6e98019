"""The compiled pipeline on this machine: killed, started again with the same command, and what it then leaves."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch

from shapley_core.stages.chain import value

sys.path.append(str(Path(__file__).parents[1] / "stages"))
from tiny import TINY

# Four shards, two at a time: when the first utilities appear, there is work left to do.
OVERRIDES = TINY | {"run.shard_size": 7, "run.loop_threads": 1}


def _command(out: Path, **more: object) -> list[str]:
    settings = [part for key, value in (OVERRIDES | more).items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "pipelines", "run", "--out", str(out), *settings]


def _utilities(store: Path) -> pd.DataFrame:
    """Every row of every utility table in the store."""
    return pd.concat([pd.read_parquet(path) for path in sorted(store.rglob("*.parquet"))], ignore_index=True)


def _tasks(run: int) -> list[psutil.Process]:
    """Processes of the pipeline's tasks that a run has now."""
    found = []
    for process in psutil.Process(run).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "executor_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_killed_and_started_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    store = out / "store"
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MLFLOW_")}
    killed = subprocess.Popen(_command(out), start_new_session=True, stdout=subprocess.DEVNULL, env=environment)
    try:
        while not list(store.rglob("*.parquet")):
            assert killed.poll() is None, (out / "run.log").read_text()[-3000:]
            time.sleep(0.2)
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    scored = _utilities(store)
    assert 0 < len(scored) < 26

    again = subprocess.run(_command(out), capture_output=True, text=True, env=environment)
    assert again.returncode == 0, again.stderr
    for word in ("rank", "contributor", "interval", "share", "digit 0", "report.html", "mlflow ui"):
        assert word in again.stdout
    everything = _utilities(store)
    assert len(everything) == 26 and everything["key"].is_unique
    kept = everything[everything["key"].isin(scored["key"])]
    columns = ["key", "value", "training_seconds"]
    pd.testing.assert_frame_equal(
        kept[columns].sort_values("key", ignore_index=True), scored[columns].sort_values("key", ignore_index=True)
    )

    torch.set_num_threads(1)
    undisturbed = value(tmp_path / "undisturbed", TINY)
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / "values.parquet"), pd.read_parquet(undisturbed / "values.parquet"), check_exact=True
    )
    names = {"values.json", "values.parquet", "utilities.parquet", "report.html", "config.yaml"}
    assert names <= {path.name for path in out.iterdir()}


def test_told_to_end_it_takes_its_tasks_along(tmp_path: Path) -> None:
    run = subprocess.Popen(_command(tmp_path / "out"), stdout=subprocess.DEVNULL)
    while not (tasks := _tasks(run.pid)):
        assert run.poll() is None
        time.sleep(0.05)
    run.terminate()
    assert run.wait(60) == 128 + signal.SIGTERM
    gone, alive = psutil.wait_procs(tasks, timeout=60)
    assert gone and not alive


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_amid_the_coalitions_it_tries_no_task_again(tmp_path: Path, told: signal.Signals) -> None:
    more = {"finetuning.steps": 4000}
    run = subprocess.Popen(_command(tmp_path / "out", **more), stdout=subprocess.PIPE, text=True)
    while len(tasks := _tasks(run.pid)) < 2:  # only shards are two at a time
        assert run.poll() is None
        time.sleep(0.05)
    temporary = Path(tasks[0].environ()["TMPDIR"])
    run.send_signal(told)
    try:
        assert run.wait(20) == 128 + told
    finally:
        run.kill()
        _, alive = psutil.wait_procs(tasks, timeout=1)
        for task in alive:
            task.kill()
    assert not alive and not temporary.exists()
    assert "the same command goes on from there" in " ".join(run.communicate()[0].split())


def test_stopped_early_and_paid_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = {"game.n_coalitions": 50, "run.shard_size": 13, "stopping.seconds": 1, "payout.pool": 99_999}
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MLFLOW_")}
    run = subprocess.run(_command(out, **more), capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    values = json.loads((out / "values.json").read_text())
    assert "it has taken" in values["diagnostics"]["stopped"]
    assert 10 <= values["n_coalitions"] < 50
    assert len(pd.read_parquet(out / "utilities.parquet")) < 52
    assert pd.read_csv(out / "payout.csv")["amount"].sum() == 99_999
    assert values["diagnostics"]["stopped"] in run.stdout.replace("\n", " ")
