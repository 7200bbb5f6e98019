"""Tracking with a real MLflow: in SQLite, on a server, in the platform's own run; and servers that fail."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_metric_name

from shapley_core import tracking
from shapley_core.estimators.result import Attribution
from shapley_core.tracking import Tracked, log_run

NAMES = (
    "digit 1",
    "<script>alert(1)</script>",
    "a/../b",
    "..",
    "\u5c71\u7530",
    "x" * 300,
    "caf\u00e9?",
    "caf\u00e9!",
)
UTILITIES = pd.DataFrame(
    {
        "key": ["a", "b", "c"],
        "value": [1.5, np.nan, 2.5],
        "status": ["ok", "out of memory", "ok"],
        "training_seconds": [1.0, 0.5, 2.0],
        "sampling_seconds": [0.25, np.nan, 0.5],
        "scoring_seconds": [0.125, np.nan, 0.25],
    }
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's variables as where nobody set them, and short waits for servers that do not answer."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a SQLite database is made by the first test that logs; making one takes MLflow seconds."""
    return tmp_path_factory.mktemp("tracking") / "runs" / "mlflow.db"


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """The folder of a valuation."""
    folder = tmp_path / "valuation"
    (folder / "figures").mkdir(parents=True)
    (folder / "report.html").write_text("<!DOCTYPE html><title>report</title>")
    (folder / "figures" / "values.png").write_bytes(b"\x89PNG")
    return folder


def attribution() -> Attribution:
    values = np.arange(1.0, len(NAMES) + 1)
    errors = np.array([np.nan, *values[1:] / 10])
    facts = ("inception_score", "paired", "kernel_shap", 64, 0.95, {"rank_stability": 0.75})
    return Attribution(NAMES, values, errors, values - 0.25, values + 0.25, 1.25, 1.25 + values.sum(), *facts)


def log(uri: str, artifacts: Path, **changes: Any) -> Tracked:
    """A whole valuation, logged."""
    given: dict[str, Any] = {
        "tracking_uri": uri,
        "experiment": "valuation",
        "run_name": "digits",
        "params": {
            "seed": 0,
            "data": {"source": "digits", "path": ""},
            "model": {"widths": [16, 32], "long": "p" * 9000},
        },
        "metrics": {
            **tracking.value_metrics(attribution().to_dict()),
            **tracking.cost_metrics(UTILITIES),
            "seconds/train": 30.5,
            "undefined": float("nan"),
        },
        "curves": {
            "training loss": {"step": [0.0, 10.0, 20.0], "value": [1.0, 0.5, 0.25]},
            **tracking.coalition_curves(UTILITIES),
        },
        "tags": {"game id": "0123456789abcdef"},
        "tables": {"values": attribution().to_frame()},
        "artifacts": artifacts,
        "view": {tracking.NOTE: "what it means", "arranged": "by us"},
    }
    return log_run(**{**given, **changes})


def check(client: MlflowClient, run_id: str, tmp_path: Path, artifacts: Path) -> None:
    """Everything of :func:`log` is in the run."""
    run = client.get_run(run_id)
    assert run.data.params["seed"] == "0"
    assert run.data.params["data.source"] == "digits"
    assert run.data.params["data.path"] == ""
    assert run.data.params["model.widths"] == "[16, 32]"
    assert run.data.params["model.long"] == "p" * 6000
    assert run.data.tags["game id"] == "0123456789abcdef"

    metrics = run.data.metrics
    assert metrics["null_value"] == 1.25
    assert metrics["full_value"] == 37.25
    assert metrics["seconds/train"] == 30.5
    assert "undefined" not in metrics
    assert metrics["value/digit 1"] == 1.0
    assert metrics["value/\u5c71\u7530"] == 5.0
    assert sorted(v for name, v in metrics.items() if name.startswith("value/")) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sum(name.startswith("std_error/") for name in metrics) == 7  # one is unknown
    assert metrics["width/digit 1"] == 0.5 and metrics["mean_width"] == 0.5
    assert metrics["n_coalitions"] == 64 and metrics["rank_stability"] == 0.75
    assert metrics["cost_per_coalition"] == 1.5 + 0.375 and metrics["cost_total"] == 3.75
    assert client.get_experiment(run.info.experiment_id).tags["arranged"] == "by us"

    def history(name: str) -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]

    assert history("training loss") == [(0, 1.0), (10, 0.5), (20, 0.25)]
    assert history("coalition/value") == [(0, 1.5), (2, 2.5)]
    assert history("coalition/training_seconds") == [(0, 1.0), (2, 2.0)]

    (tmp_path / "copy").mkdir()
    copy = Path(client.download_artifacts(run_id, "", str(tmp_path / "copy")))
    files = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert files == {"report.html", "figures/values.png", "tables/values.csv"}
    assert (copy / "report.html").read_bytes() == (artifacts / "report.html").read_bytes()
    assert set(pd.read_csv(copy / "tables" / "values.csv")["contributor"]) == set(NAMES)


def test_sqlite_is_made_and_filled(database, artifacts, tmp_path):
    uri = f"sqlite:///{database}"
    tracked = log(uri, artifacts)
    assert tracked.warning is None
    assert tracked.ui_hint == f"mlflow ui --backend-store-uri {uri}"
    client = MlflowClient(uri)
    check(client, tracked.run_id, tmp_path, artifacts)
    run = client.get_run(tracked.run_id)
    assert run.info.run_name == "digits"
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith((database.parent / "mlartifacts").as_uri())

    client.set_experiment_tag(run.info.experiment_id, tracking.NOTE, "somebody's own")
    again = log(uri, artifacts)
    assert again.warning is None
    assert client.get_experiment(run.info.experiment_id).tags[tracking.NOTE] == "somebody's own"
    runs = client.search_runs([run.info.experiment_id])
    assert {run.info.run_id for run in runs} == {tracked.run_id, again.run_id}


def test_more_entries_than_a_batch_takes(database, artifacts):
    uri = f"sqlite:///{database}"
    tracked = log(
        uri,
        artifacts,
        params={f"p{i}": i for i in range(230)},
        metrics={f"value/artist {i}": i for i in range(1100)},
        tags={f"t{i}": i for i in range(130)},
        curves={"loss": {"step": list(range(2500)), "value": [1.0] * 2500}},
    )
    assert tracked.warning is None
    run = MlflowClient(uri).get_run(tracked.run_id)
    assert len(run.data.params) == 230
    assert len(run.data.metrics) == 1101
    assert run.data.tags["t129"] == "129"


def test_a_deleted_experiment_is_a_warning(database, artifacts):
    uri = f"sqlite:///{database}"
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("given up"))
    tracked = log(uri, artifacts, experiment="given up")
    assert tracked.run_id is None
    assert "the experiment 'given up' was deleted there" in tracked.warning


def test_what_cannot_be_encoded_is_replaced(database, artifacts):
    table = pd.DataFrame({"contributor": pd.Series(["\udc80"], dtype=object)})
    tracked = log(
        f"sqlite:///{database}",
        artifacts,
        params={"path": "\udc80"},
        tables={"values": table},
        run_name="\udc80",
    )
    assert tracked.warning is None
    assert MlflowClient(f"sqlite:///{database}").get_run(tracked.run_id).data.params["path"] == "?"


def test_a_server_named_by_the_environment(mlflow_server, artifacts, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    tracked = log(f"sqlite:///{tmp_path / 'unused.db'}", artifacts, patience=120)
    assert tracked.warning is None
    assert not (tmp_path / "unused.db").exists()
    client = MlflowClient(mlflow_server)
    check(client, tracked.run_id, tmp_path, artifacts)
    run = client.get_run(tracked.run_id)
    assert run.info.status == "FINISHED"
    assert tracked.ui_hint == f"{mlflow_server}/#/experiments/{run.info.experiment_id}/runs/{tracked.run_id}"


def test_a_password_is_shown_nowhere(mlflow_server, artifacts, capfd, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    tracked = log(mlflow_server.replace("//", "//someone:a-secret@"), artifacts, patience=120)
    assert tracked.warning is None
    assert tracked.ui_hint.startswith(mlflow_server)
    assert "a-secret" not in "".join(capfd.readouterr())


def test_the_run_of_the_platform(mlflow_server, artifacts, tmp_path, monkeypatch):
    client = MlflowClient(mlflow_server)
    experiment = client.create_experiment("of the platform")
    given = client.create_run(experiment).info.run_id
    client.log_param(given, "image", "estimator:1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    tracked = log("sqlite:///unused.db", artifacts, patience=120)
    assert tracked == Tracked(given, f"{mlflow_server}/#/experiments/{experiment}/runs/{given}", None)
    check(client, given, tmp_path, artifacts)
    run = client.get_run(given)
    assert run.info.status == "RUNNING", "the platform ends its run"
    assert run.data.params["image"] == "estimator:1"
    assert len(client.search_runs([experiment])) == 1

    # The task is tried again, on another number of threads.
    again = log("sqlite:///unused.db", artifacts, patience=120, params={"seed": 1, "threads": 2})
    assert again.warning is None
    assert client.get_run(given).data.params["seed"] == "0"
    assert client.get_run(given).data.params["threads"] == "2"


def test_a_run_id_that_is_unknown_is_a_warning(database, artifacts, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    tracked = log(f"sqlite:///{database}", artifacts)
    assert tracked.run_id is None
    assert "0" * 32 in tracked.warning


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a socket that accepts and does with each connection what ``answer`` says."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.append(connection)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for connection in connections:
            connection.close()


def test_nobody_listens(artifacts):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, so that nobody else takes it, but not listening
        port = unused.getsockname()[1]
        tracked = log(f"http://someone:secret@127.0.0.1:{port}", artifacts)
    assert tracked.run_id is None and tracked.ui_hint is None
    assert f"MLflow at http://127.0.0.1:{port} took nothing of it" in tracked.warning
    assert "secret" not in tracked.warning
    assert "Connection refused" in tracked.warning


def test_a_server_that_never_answers(artifacts):
    with listening(lambda connection: None) as address:
        tracked = log(address, artifacts)
    assert tracked.run_id is None
    assert f"MLflow at {address} took nothing of it" in tracked.warning
    assert "timed out" in tracked.warning


def test_a_server_that_trickles_is_given_up_on(artifacts):
    stop = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while not stop.wait(0.2):  # each byte comes before the client's timeout
            connection.sendall(b" ")

    with listening(trickle) as address:
        tracked = log(address, artifacts, patience=3)
        stop.set()
    assert tracked.run_id is None
    assert "it was not done after 3 s" in tracked.warning


def test_a_server_that_speaks_something_else(artifacts):
    def hello(connection: socket.socket) -> None:
        connection.sendall(b"220 mail.example ESMTP\r\n")

    with listening(hello) as address:
        tracked = log(address, artifacts)
    assert tracked.run_id is None
    assert "took nothing of it" in tracked.warning


@given(st.text(st.characters()))
def test_safe_names_are_what_mlflow_takes(name):
    safe = tracking.safe_name(name)
    assert "/" not in safe
    _validate_metric_name(f"std_error/{safe}")
    assert len(f"std_error/{safe}") <= 250
    assert tracking.safe_name(safe) == safe


@given(st.lists(st.text("aA1 .-_:/?!\n\u00e9", max_size=4), unique=True, max_size=50))
def test_safe_names_stay_apart(names):
    assert len({tracking.safe_name(name) for name in names}) == len(names)


def test_safe_names_are_readable_and_the_same_in_every_run():
    assert tracking.safe_name("digit 1") == "digit 1"
    assert re.fullmatch(r"a_b-[0-9a-f]{8}", tracking.safe_name("a/b"))
    assert tracking.safe_name("a/b") != tracking.safe_name("a_b")
    assert tracking.safe_name("a/b") == tracking.safe_name("a/b")


def test_settings_are_flattened():
    tree = {"seed": 0, "data": {"path": "", "skip": False}, "widths": [16, 32], "none": None, "empty": {}}
    assert tracking.flatten(tree) == {
        "seed": "0",
        "data.path": "",
        "data.skip": "false",
        "widths": "[16, 32]",
        "none": "null",
    }
