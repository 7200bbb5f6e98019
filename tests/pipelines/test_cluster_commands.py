"""submit, status, fetch and schedule, against a server that speaks the REST API of Kubeflow Pipelines."""

import base64
import json
import re
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import kfp_api
import kfp_server_api as api
import pytest
from command_line import CommandLine
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kfp import Client
from kfp_api import Answer, HTTPStatus, KfpApi

from pipelines.compiling import compile_valuation, version_name
from pipelines.remote import runs
from shapley_core.storage import open_store

STORE = "s3://bucket/valuations"
#: What estimate leaves, of which a run brings all.
RESULTS = {"values.json": b'{"contributors": []}', "report.html": b"<html>", "figures/values.png": bytes(range(256))}
RESULTS |= {"mlflow.txt": b"https://mlflow.test\n"}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled pipeline."""
    return compile_valuation(tmp_path_factory.mktemp("compiled") / "valuation.yaml")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: Path) -> Iterator[KfpApi]:
    """An empty server, which the environment names; nothing of this machine's own configuration is seen."""
    monkeypatch.setattr(Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "kfp" / "context.json"))
    for name in ("NAMESPACE", "TOKEN", "SA_TOKEN_PATH", "CA_FILE", "UI_ENDPOINT"):
        monkeypatch.delenv(f"KF_PIPELINES_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(runs, "POLLING", 0.01)
    # Compiled once: it takes a third of a second.
    monkeypatch.setattr("pipelines.compiling.compile_valuation", lambda path: Path(shutil.copy(package, path)))
    with kfp_api.kfp_api() as state:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", state.address)
        yield state


@pytest.fixture
def started(server: KfpApi, command: CommandLine) -> Any:
    """A run that was started."""
    command.lines("submit", "--store", STORE, "--no-wait")
    (run,) = server.runs.values()
    return run


def task(name: str, state: str | None, after: int = 0, **more: Any) -> Any:
    begin = datetime.now(UTC) + timedelta(seconds=after)
    return api.V2beta1PipelineTaskDetail(
        task_id=kfp_api.new_id(), display_name=name, state=state, create_time=begin, start_time=begin, **more
    )


def script(server: KfpApi, *looks: list[Any], ends: str = "SUCCEEDED") -> None:
    """At each look at a run it has the next of these lists of tasks; at the last it has ended."""
    scenes = list(looks)

    def move(run: Any) -> None:
        run.state = "RUNNING"
        run.run_details = api.V2beta1RunDetails(task_details=scenes[0])
        if len(scenes) == 1:
            run.state, run.finished_at = ends, kfp_api.now()
        else:
            scenes.pop(0)

    server.on_look = move


# --- submit


def test_submit_uploads_once_and_starts_a_run(
    server: KfpApi, command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.compiling.compile_valuation", compile_valuation)
    first = command.lines("submit", "--store", STORE, "--no-wait", "--experiment", "autumn")
    name = version_name(compile_valuation(tmp_path / "valuation.yaml"))
    assert re.fullmatch(r"\d+\.\d+\.\d+-[0-9a-f]{12}", name)
    (version,), (run,) = server.versions.values(), server.runs.values()
    assert (version.display_name, version.name) == (name, f"valuation-{name}")
    assert first == [
        f"pipeline version {name}: uploaded",
        f"run {run.run_id}",
        f"Kubeflow: {server.address}/#/runs/details/{run.run_id}",
    ]
    (experiment,) = server.experiments.values()
    assert (experiment.display_name, run.experiment_id) == ("autumn", experiment.experiment_id)
    assert run.runtime_config.parameters == {"store": STORE, "experiment": "autumn"}
    assert run.runtime_config.pipeline_root is None
    assert run.display_name.startswith("digits ")

    second = command.lines("submit", "--store", STORE, "--no-wait", "--experiment", "autumn")
    assert second[0] == f"pipeline version {name}: already there"
    assert len(server.versions) == len(server.experiments) == 1
    assert {r.pipeline_version_reference.pipeline_version_id for r in server.runs.values()} == {
        version.pipeline_version_id
    }


def test_a_changed_pipeline_is_a_new_version(
    server: KfpApi, command: CommandLine, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.lines("submit", "--store", STORE, "--no-wait")

    def other(path: Path) -> Path:
        path.write_text(package.read_text().replace("estimator:", "estimator-rocm:"))
        return path

    monkeypatch.setattr("pipelines.compiling.compile_valuation", other)
    assert "uploaded" in command.lines("submit", "--store", STORE, "--no-wait")[0]
    assert len(server.pipelines) == 1
    assert len({version.name for version in server.versions.values()}) == 2
    assert len({run.pipeline_version_reference.pipeline_version_id for run in server.runs.values()}) == 2


def test_two_people_at_once(server: KfpApi, command: CommandLine) -> None:
    command.lines("submit", "--store", STORE, "--no-wait")
    # As the server was before the other one came.
    nothing = {"status": HTTPStatus.OK, "body": "{}", "content_type": "application/json"}
    server.interruptions += [Answer(**nothing, path="pipelines"), Answer(**nothing, path="pipelines/[^/]+/versions")]
    assert "already there" in command.lines("submit", "--store", STORE, "--no-wait")[0]
    assert len(server.asked("POST", "pipelines")) == len(server.asked("POST", "pipelines/upload_version")) == 2
    assert len(server.pipelines) == len(server.versions) == 1


def test_inputs(server: KfpApi, command: CommandLine) -> None:
    options = {"--preset": "openmoji", "--data": "s3://bucket/images", "--tracking-uri": "http://mlflow.test:5000"}
    settings = ["game.estimator=odd_ridge", "finetuning.steps=50", "stopping.seconds=null"]
    inputs = ["coalitions=200", "seed=0", "memory=16Gi", "accelerator_count=1", "method=retraining"]
    lines = command.lines(
        *("submit", "--store", STORE, "--no-wait", "--pipeline-root", "s3://bucket/artifacts"),
        *("--service-account", "valuation-runner"),
        *(part for pair in options.items() for part in pair),
        *(part for setting in settings for part in ("--set", setting)),
        *(part for pair in inputs for part in ("--input", pair)),
    )
    (run,) = server.runs.values()
    assert run.runtime_config.parameters == {
        "store": STORE,
        "preset": "openmoji",
        "data": "s3://bucket/images",
        "tracking_uri": "http://mlflow.test:5000",
        # Kubeflow cannot carry a None.
        "overrides": {"game.estimator": "odd_ridge", "finetuning.steps": 50, "stopping.seconds": "null"},
        "coalitions": 200,
        "seed": 0,
        "memory": "16Gi",
        "accelerator_count": "1",
        "method": "retraining",
    }
    assert run.runtime_config.pipeline_root == "s3://bucket/artifacts"
    assert run.service_account == "valuation-runner"
    assert "MLflow: http://mlflow.test:5000" in lines


def test_several_users(server: KfpApi, command: CommandLine) -> None:
    server.multi_user = True
    command.lines("submit", "--store", STORE, "--no-wait", "--namespace", "team-a")
    assert [pipeline.namespace for pipeline in server.pipelines.values()] == ["team-a"]
    assert [experiment.namespace for experiment in server.experiments.values()] == ["team-a"]
    assert len(command.lines("status", "--namespace", "team-a")) == 2
    assert "namespace is empty" in command("status").sentence
    schedule(command, "weekly", "0 0 3 * * 1", "--namespace", "team-a")
    assert len(command.lines("schedule", "list", "--namespace", "team-a")) == 2
    assert len(command.lines("schedule", "list", "--namespace", "team-b")) == 1
    assert len(server.pipelines) == len(server.versions) == len(server.experiments) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--store is missing: Where models and utilities are kept"),
        (["--store", STORE, "--preset", "digitz"], "there is no preset 'digitz'; did you mean 'digits'?"),
        (["--store", STORE, "--set", "game.coalitions=5"], "there is no setting 'game.coalitions'; did you mean"),
        (["--store", STORE, "--set", "finetuning.steps=0"], "finetuning.steps: Input should be greater"),
        (["--store", STORE, "--input", "method=magic"], "game.coalition_model: Input should be"),
        (["--store", STORE, "--input", "coalitions=many"], "the input coalitions is 'many': give a whole number"),
        (["--store", STORE, "--input", "coalitions=true"], "the input coalitions is 'true': give a whole number"),
        (["--store", STORE, "--input", "gpu=1"], "the pipeline has no input 'gpu'"),
        (["--store", STORE, "--input", "memory"], "--input memory: write NAME=VALUE"),
        (["--store", "runs/store"], "--store runs/store is on this machine"),
        (["--store", STORE, "--data", "images"], "--data images is on this machine"),
        (["--store", STORE, "--preset", "runs/digits/config.yaml"], "is on this machine: name a preset"),
        (["--store", STORE, "--tracking-uri", "http://me:hunter2@mlflow.test"], "--tracking-uri holds a password"),
        (["--store", "s3://AKIA:hunter2@bucket/store"], "takes no keys: set AWS_ACCESS_KEY_ID"),
        (["--store", STORE, "--version", "0.0.9-0123456789ab"], "has no version '0.0.9-0123456789ab'; the server has"),
    ],
)
def test_bad_inputs_leave_nothing(server: KfpApi, command: CommandLine, arguments: list[str], told: str) -> None:
    sentence = command("submit", "--no-wait", *arguments).sentence
    assert told in sentence
    assert "hunter2" not in sentence
    assert not server.pipelines and not server.runs


def test_version_of_another_release(server: KfpApi, command: CommandLine, started: Any) -> None:
    (version,) = server.versions.values()
    ours, version.display_name = version.display_name, "0.0.9-0123456789ab"
    refused = command("submit", "--store", STORE, "--no-wait", "--version", version.display_name).sentence
    assert "was compiled with release 0.0.9, and this is release" in refused
    assert len(server.runs) == 1
    version.display_name = ours
    command.lines("submit", "--store", STORE, "--no-wait", "--version", ours)
    assert len(server.runs) == 2
    assert "did you mean" in command("submit", "--store", STORE, "--version", ours[:-1] + "x").sentence


# --- following


def test_follow_to_the_end(server: KfpApi, command: CommandLine) -> None:
    before = [task("prepare-driver", "SUCCEEDED"), task("prepare", "SUCCEEDED"), task("train", "SUCCEEDED")]
    script(
        server,
        [task("root-driver", "RUNNING")],
        [task("prepare-driver", "SUCCEEDED"), task("prepare", "RUNNING")],
        [*before, task("measure-coalitions", "RUNNING"), *(task("score", state) for state in ("SUCCEEDED", "RUNNING"))],
        [*before, task("measure-coalitions", "SUCCEEDED"), *(task("score", "SUCCEEDED") for _ in range(2))],
    )
    lines = command.lines("submit", "--store", STORE)
    (run,) = server.runs.values()
    assert lines[3:-1] == [
        "prepare: running",
        "prepare: done",
        "train: done",
        "score: 1 done, 1 running",
        "score: 2 done",
    ]
    assert lines[-1] == f"succeeded; bring its results with: fetch {run.run_id} --out FOLDER"


def test_a_run_that_fails(server: KfpApi, command: CommandLine, started: Any) -> None:
    error = api.GoogleRpcStatus(code=2, message="Error (exit code 137)")
    loop = task("measure-coalitions", "FAILED")
    script(
        server,
        [task("train", "SUCCEEDED"), loop, task("score", "FAILED", error=error, parent_task_id=loop.task_id)],
        ends="FAILED",
    )
    ended = command("status", started.run_id, "--wait")
    assert ended.code == 1
    assert ended.err.splitlines() == [
        f"error: the run {started.run_id} ended as failed: score failed (Error (exit code 137)). Logs of its tasks are "
        f"at {server.address}/#/runs/details/{started.run_id}"
    ]
    # Kubeflow's own pods may fail, too.
    script(server, [task("train-driver", "FAILED")], ends="FAILED")
    assert "ended as failed: train-driver failed. Logs" in command("status", started.run_id).err


def test_a_server_that_is_away_for_a_while(
    server: KfpApi, command: CommandLine, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter((False, False, True, True, False))

    def look(run: Any) -> None:
        run.state = "RUNNING"
        away = next(looks, None)
        if away is None:
            run.state = "SUCCEEDED"
        elif away:
            server.interruptions.append(Answer(HTTPStatus.SERVICE_UNAVAILABLE, "<html>no healthy upstream</html>"))

    server.on_look = look
    lines = command.lines("status", started.run_id, "--wait")
    assert sum("fails (503: no reason given); trying again" in line for line in lines) == 2
    assert lines[-1].startswith("succeeded")

    monkeypatch.setattr(runs, "PATIENCE", 0.0)
    server.interruptions.clear()

    def silent(run: Any) -> None:
        run.state = "RUNNING"
        server.interruptions += [Answer(HTTPStatus.SERVICE_UNAVAILABLE, "")] * 3

    server.on_look = silent
    assert "fails (503" in command("status", started.run_id, "--wait").err


def test_interrupted_while_following(
    server: KfpApi, command: CommandLine, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.time, "sleep", interrupted)
    ended = command("status", started.run_id, "--wait")
    assert ended.code == 130
    assert f"the run goes on; follow it with: status {started.run_id} --wait" in ended.out


def test_token_that_is_renewed_and_one_that_is_not(
    server: KfpApi, command: CommandLine, started: Any, tmp_path: Path
) -> None:
    file = tmp_path / "token"

    def renewed(run: Any) -> None:
        run.state = "RUNNING"
        server.token = {"first": "second", "second": "third"}[str(server.token)]
        file.write_text(server.token if server.token == "second" else "late")

    server.token = "first"
    file.write_text("first")
    server.on_look = renewed
    told = command("status", started.run_id, "--wait", "--token-file", file).sentence
    assert server.token == "third"
    assert "does not take the token (401)" in told
    assert told.endswith(f"; the run goes on; follow it with: status {started.run_id} --wait")


# --- status


def test_status(server: KfpApi, command: CommandLine, started: Any) -> None:
    script(server, [task("train", "RUNNING"), task("prepare", "SUCCEEDED")], [])
    started.plugins_output = {
        "mlflow": api.V2beta1PluginOutput(
            entries={
                "run_id": api.V2beta1MetadataValue(value="abc"),
                "run": api.V2beta1MetadataValue(value="https://mlflow.test/#/runs/abc", render_type="URL"),
            }
        )
    }
    lines = command.lines("status", started.run_id)
    assert lines[0].startswith(f"{started.display_name}: running, ")
    assert lines[1:3] == [
        f"Kubeflow: {server.address}/#/runs/details/{started.run_id}",
        "MLflow: https://mlflow.test/#/runs/abc",
    ]
    assert any("prepare" in line and "done" in line for line in lines)
    assert any("train" in line and "running" in line for line in lines)


def test_latest_runs(server: KfpApi, command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(command.lines("status")) == 1  # a table without rows
    for preset in ("digits", "openmoji"):
        command.lines("submit", "--store", STORE, "--preset", preset, "--no-wait")
    text = "\n".join(command.lines("status"))
    assert text.index("openmoji") < text.index("digits")
    for run in server.runs.values():
        assert run.run_id in text


def test_runs_that_somebody_else_made(server: KfpApi, command: CommandLine, started: Any) -> None:
    script(server, [task("train", "RUNNING")], [task("train", "SUCCEEDED")])
    (version,) = server.versions.values()
    server.versions.clear()
    assert (
        f"the pipeline version of the run {started.run_id} has been deleted"
        in command("status", started.run_id).sentence
    )
    started.pipeline_spec, started.pipeline_version_reference = version.pipeline_spec, None
    assert any("train" in line and "done" in line for line in command.lines("status", started.run_id))


def test_no_such_run(server: KfpApi, command: CommandLine) -> None:
    assert command("status", "1234").sentence == (
        f"there is no run 1234 at {server.address}; the command status without a run lists the latest"
    )


# --- fetch


def leave_results(run: Any, root: str, attempt: str = "b7", names: tuple[str, ...] = tuple(RESULTS)) -> None:
    """Put results where Kubeflow's driver has them put."""
    store = open_store(f"{root}/valuation/{run.run_id}/estimate")
    for name in names:
        store.write(f"{attempt}/results/{name}", RESULTS[name])
    store.write(f"{attempt}/report", b"<html>")
    run.state = "SUCCEEDED"


def brought(out: Path) -> dict[str, bytes]:
    files = [path for path in out.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def test_fetch_from_a_folder(server: KfpApi, command: CommandLine, tmp_path: Path) -> None:
    command.lines("submit", "--store", STORE, "--no-wait", "--pipeline-root", str(tmp_path / "artifacts"))
    (run,) = server.runs.values()
    # An attempt that was killed half-way is passed over.
    leave_results(run, str(tmp_path / "artifacts"), "c9", names=("report.html",))
    leave_results(run, str(tmp_path / "artifacts"))
    out = tmp_path / "out"
    lines = command.lines("fetch", run.run_id, "--out", out)
    assert lines == [f"report: {out / 'report.html'}", "MLflow: https://mlflow.test"]
    assert brought(out) == RESULTS


def test_fetch_from_s3(server: KfpApi, command: CommandLine, started: Any, s3_bucket: str, tmp_path: Path) -> None:
    leave_results(started, f"s3://{s3_bucket}/v2/artifacts")
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    (out / "mlflow.txt").write_text("an earlier run's")
    assert "does not say where its artifacts are" in command("fetch", started.run_id, "--out", out).sentence
    # As it stands in kfp-launcher.
    command.lines(
        "fetch", started.run_id, "--out", out, "--pipeline-root", f"minio://{s3_bucket}/v2/artifacts?region=x"
    )
    assert brought(out) == RESULTS


def test_what_cannot_be_fetched(server: KfpApi, command: CommandLine, started: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "values.json").write_text("an earlier run's")
    fetch = ("fetch", started.run_id, "--out", out, "--pipeline-root", tmp_path / "artifacts")
    assert "has no results: it is pending. Wait for it" in command(*fetch).sentence
    leave_results(started, str(tmp_path / "artifacts"), names=("report.html",))
    assert "there are no results at" in command(*fetch).sentence
    assert brought(out) == {"values.json": b"an earlier run's"}
    assert "there is no run 12" in command("fetch", "12", "--out", out).sentence


# --- schedule


def test_mlflow_is_ours_where_the_run_names_none(
    server: KfpApi, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.test")
    assert "MLflow: https://mlflow.test" in command.lines("submit", "--store", STORE, "--no-wait")
    for other in ("sqlite:///mlflow.db", "https://me:hunter2@mlflow.test"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
        assert not [line for line in command.lines("submit", "--store", STORE, "--no-wait") if "MLflow" in line]
    # It is the way from here, and may be no way from a pod.
    assert all("tracking_uri" not in run.runtime_config.parameters for run in server.runs.values())


def schedule(command: CommandLine, name: str = "weekly", cron: str = "0 0 3 * * 1", *more: str) -> list[str]:
    return command.lines("schedule", "create", cron, "--name", name, "--store", STORE, *more)


def test_schedule(server: KfpApi, command: CommandLine) -> None:
    lines = schedule(command, "weekly", "0 30 3 ? * MON", "--time-zone", "Europe/Berlin", "--input", "coalitions=500")
    (recurring,), (version,) = server.recurring_runs.values(), server.versions.values()
    assert lines[1] == (f"weekly: At 03:30 on Monday, Europe/Berlin, with the pipeline version {version.display_name}")
    times = [datetime.strptime(line.strip().rpartition(" ")[0], "%a %Y-%m-%d %H:%M:%S") for line in lines[2:]]
    assert len(times) == 3 and {(time.weekday(), time.hour, time.minute) for time in times} == {(0, 3, 30)}
    assert times[1] - times[0] == times[2] - times[1] == timedelta(days=7)

    assert recurring.trigger.cron_schedule.cron == "0 30 3 ? * MON"
    assert recurring.no_catchup is True
    assert recurring.max_concurrency == "1"
    assert recurring.mode == "ENABLE"
    assert recurring.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
    assert recurring.runtime_config.parameters == {"store": STORE, "coalitions": 500}
    assert not server.runs


def test_list_pause_resume_delete(server: KfpApi, command: CommandLine) -> None:
    schedule(command, "weekly")
    schedule(command, "nightly", "0 0 1 * * *")
    (version,) = server.versions.values()
    told = "\n".join(command.lines("schedule", "list"))
    assert "At 03:00 on Monday" in told and "At 01:00 every day" in told and version.display_name[:10] in told
    assert "paused" not in told and "another release" not in told

    assert command.lines("schedule", "pause", "nightly") == ["nightly: paused"]
    states = {recurring.display_name: recurring.status for recurring in server.recurring_runs.values()}
    assert states == {"weekly": "ENABLED", "nightly": "DISABLED"}
    version.display_name = "0.0.9-0123456789ab"
    told = "\n".join(command.lines("schedule", "list"))
    assert "paused" in told and "another" in told

    assert command.lines("schedule", "resume", "nightly") == ["nightly: resumed"]
    assert {recurring.status for recurring in server.recurring_runs.values()} == {"ENABLED"}
    assert command.lines("schedule", "delete", "nightly") == ["nightly: deleted"]
    assert [recurring.display_name for recurring in server.recurring_runs.values()] == ["weekly"]


def test_more_schedules_than_a_page_has(server: KfpApi, command: CommandLine) -> None:
    schedule(command)
    (weekly,) = server.recurring_runs.values()
    for i in range(230):
        copy = api.V2beta1RecurringRun(**{name: getattr(weekly, name) for name in weekly.openapi_types})
        copy.recurring_run_id, copy.display_name = kfp_api.new_id(), f"s{i}"
        server.recurring_runs[copy.recurring_run_id] = copy
    command.lines("schedule", "pause", "s229")
    assert [r.display_name for r in server.recurring_runs.values() if r.status == "DISABLED"] == ["s229"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create", "0 3 * * 1", "--name", "weekly"], "has five fields, and Kubeflow's has six"),
        (["create", "0 0 3 * * 1", "--name", "weekly", "--time-zone", "Mars"], "there is no time zone 'Mars'"),
        (["create", "0 0 3 * * 1", "--name", "taken"], "there is already a schedule 'taken'"),
        (["create", "0 0 3 * * 1", "--name", "new", "--preset", "digitz"], "there is no preset 'digitz'"),
        (["pause", "takne"], "there is no schedule 'takne'; did you mean 'taken'?"),
    ],
)
def test_what_is_no_schedule(server: KfpApi, command: CommandLine, arguments: list[str], told: str) -> None:
    schedule(command, "taken")
    more = ["--store", STORE] if arguments[0] == "create" else []
    assert told in command("schedule", *arguments, *more).sentence
    assert [recurring.display_name for recurring in server.recurring_runs.values()] == ["taken"]


def test_two_schedules_of_one_name(server: KfpApi, command: CommandLine) -> None:
    schedule(command, "a")
    schedule(command, "b")
    first, second = server.recurring_runs.values()
    second.display_name = "a"  # Kubeflow's UI lets it happen
    assert "2 schedules are named 'a'" in command("schedule", "delete", "a").sentence
    assert command.lines("schedule", "delete", second.recurring_run_id)
    assert list(server.recurring_runs.values()) == [first]


# --- the way there


def token(expires: datetime) -> str:
    """A JSON Web Token without a signature worth anything."""
    parts = ({"alg": "none"}, {"exp": int(expires.timestamp()), "sub": "me"}, {})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def test_token(
    server: KfpApi,
    command: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.token = token(datetime.now(UTC) + timedelta(hours=1))
    said = [command("status").sentence]
    assert "does not take the token (401)" in said[0]
    file = tmp_path / "token"
    file.write_text(f"{server.token}\n")
    lines = command.lines("submit", "--store", STORE, "--no-wait", "--token-file", file)
    monkeypatch.setenv("KF_PIPELINES_TOKEN", server.token)
    lines += command.lines("status")

    old = token(datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    monkeypatch.setenv("KF_PIPELINES_TOKEN", old)
    said.append(command("status").sentence)
    assert "does not take the token: it expired at 2026-01-02 03:04 UTC (401). Get a new one" in said[-1]
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "two words")
    said.append(command("status").sentence)
    assert "one word" in said[-1]
    assert "cannot read the token" in command("status", "--token-file", tmp_path / "none").sentence
    for text in (*said, *lines, caplog.text, *map(str, server.requests)):
        assert server.token not in text and old not in text


def test_login_page(server: KfpApi, command: CommandLine) -> None:
    server.interruptions += [Answer(HTTPStatus.OK, "<html>Log in to your account</html>")] * 3
    assert "answers with a web page instead of data, perhaps its login" in command("status").sentence


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("http://127.0.0.1:9", "cannot reach Kubeflow Pipelines at http://127.0.0.1:9: Failed to establish"),
        ("http://no-such-host.invalid", "cannot reach Kubeflow Pipelines at http://no-such-host.invalid: "),
        ("http://[", "is no address"),
    ],
)
def test_host_that_is_down(server: KfpApi, command: CommandLine, host: str, told: str) -> None:
    assert told in command("submit", "--store", STORE, "--host", host).sentence
    assert not server.requests


def test_server_that_is_silent(server: KfpApi, command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.remote.connection.TIMES", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert (
            f"cannot reach Kubeflow Pipelines at {host}: Read timed out" in command("status", "--host", host).sentence
        )


def test_https(server: KfpApi, command: CommandLine, tmp_path: Path) -> None:
    file = certificate(tmp_path / "server.pem")
    with kfp_api.kfp_api(file) as safe:
        refused = command("status", "--host", safe.address).sentence
        assert f"cannot trust {safe.address}: " in refused and "--ca-file" in refused
        assert not safe.requests
        command.lines("status", "--host", safe.address, "--ca-file", file)
        assert safe.requests
    assert "there is no certificate file" in command("status", "--ca-file", "none.pem").sentence


def certificate(file: Path) -> Path:
    """A certificate of 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    day = timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(datetime.now(UTC) - day).not_valid_after(datetime.now(UTC) + day)
    signed = built.add_extension(address, critical=False).sign(key, hashes.SHA256())
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(encoded + signed.public_bytes(serialization.Encoding.PEM))
    return file


def test_address_of_a_page(server: KfpApi, command: CommandLine) -> None:
    assert command.lines("status", "--host", f"{server.address}/#/experiments")
    told = command("status", "--host", f"{server.address}/dashboard").sentence
    assert told.startswith(f"{server.address}/dashboard is not the address of Kubeflow Pipelines (404)")


def kubeconfig(folder: Path, address: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {"token": "not-a-secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def test_kubectls_configuration(
    server: KfpApi, command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    location = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
    monkeypatch.setattr(location, str(tmp_path / "none"))
    assert "no address of Kubeflow Pipelines: give --host" in command("status").sentence
    monkeypatch.setattr(location, str(kubeconfig(tmp_path, server.address)))
    server.token = "not-a-secret"
    command.lines("status")
    assert server.requests[-1][1].startswith("/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/")


def test_our_token_counts_before_kubectls(
    server: KfpApi, command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    location = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
    monkeypatch.setattr(location, str(kubeconfig(tmp_path, server.address)))
    server.token = "ours"
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "ours")
    command.lines("status")


def test_kfps_saved_namespace(server: KfpApi, command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "kfp").mkdir()
    (tmp_path / "kfp" / "context.json").write_text('{"namespace": "team-b"}')
    server.multi_user = True
    command.lines("submit", "--store", STORE, "--no-wait")
    assert [experiment.namespace for experiment in server.experiments.values()] == ["team-b"]
