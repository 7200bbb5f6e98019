"""Runs of the pipeline on the cluster: started, followed, and told about."""

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.remote.connection import AbsentError, Cluster, UnreachableError
from pipelines.remote.pipeline_versions import PipelineVersion, spec_of, task_names
from shapley_core.errors import UserError

#: Seconds between two looks at a run, and those for which the server may be away while one is followed.
POLLING = 5.0
PATIENCE = 600.0

#: The words of Kubeflow for what has become of a run or a task, when nothing more will.
_ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


def start(
    cluster: Cluster,
    version: PipelineVersion,
    parameters: Mapping[str, Any],
    *,
    experiment: str,
    name: str,
    pipeline_root: str,
    service_account: str,
) -> Any:
    """Start a run of a pipeline version in an experiment, which is made if it is not there."""
    return cluster.ask(
        cluster.client.run_pipeline,
        experiment_id(cluster, experiment),
        name,
        params=dict(parameters),
        pipeline_id=version.pipeline_id,
        version_id=version.version_id,
        pipeline_root=pipeline_root or None,
        service_account=service_account or None,
    )


def experiment_id(cluster: Cluster, name: str) -> str:
    """The experiment of that name in Kubeflow, made if it is not there."""
    made = cluster.ask(cluster.client.create_experiment, name, namespace=cluster.namespace)
    return str(made.experiment_id)


def get(cluster: Cluster, run_id: str) -> Any:
    """A run.

    Raises:
        UserError: there is none of that id.
    """
    try:
        return cluster.ask(cluster.client.get_run, run_id)
    except AbsentError:
        raise UserError(
            f"there is no run {run_id} at {cluster.host}; the command status without a run lists the latest"
        ) from None


def latest(cluster: Cluster, n: int) -> Sequence[Any]:
    """The last ``n`` runs that were started, the newest first."""
    page = cluster.ask(cluster.client.list_runs, page_size=n, sort_by="created_at desc", namespace=cluster.namespace)
    return page.runs or []


def follow(cluster: Cluster, run_id: str, show: Callable[[str], None]) -> Any:
    """Wait for the end of a run and return it.

    Args:
        cluster: where it runs.
        run_id: its id.
        show: called with a line whenever a task has come further.
    """
    told: dict[str, str] = {}
    names: set[str] | None = None
    away: float | None = None
    while True:
        try:
            run = get(cluster, run_id)
            if names is None:
                names = task_names(spec_of(cluster, run))
        except UnreachableError as error:
            away = away or time.monotonic()
            if time.monotonic() - away > PATIENCE:
                raise
            show(f"{error}; trying again")
        else:
            away = None
            for task, phrase in progress(run, names).items():
                if told.get(task) != phrase:
                    told[task] = phrase
                    show(f"{task}: {phrase}")
            if has_ended(run):
                return run
        time.sleep(POLLING)


def has_ended(run: Any) -> bool:
    """Will nothing more become of it?"""
    return run.state in _ENDED


def progress(run: Any, names: Container[str]) -> dict[str, str]:
    """How far each task has come that was begun, e.g. "running", or in a loop "3 done, 1 running", the first first.

    Args:
        run: the run.
        names: tasks that run something; Kubeflow lists its own beside them.
    """
    states: dict[str, Counter[str]] = {}
    for task in sorted(tasks(run), key=lambda task: task.create_time or datetime.now(UTC)):
        if task.display_name in names:
            states.setdefault(task.display_name, Counter())[_in_words(task.state)] += 1
    return {name: _phrase(counts) for name, counts in states.items()}


def failures(run: Any, names: Container[str]) -> list[str]:
    """The tasks that failed, each with what Kubeflow says of it: of those in ``names``, otherwise of its own."""
    failed = [task for task in tasks(run) if task.state == "FAILED"]
    # What is around a failed task, a loop or the whole graph, fails with it.
    told = [task for task in failed if task.display_name in names] or failed
    return [f"{task.display_name} failed{f' ({task.error.message})' if task.error else ''}" for task in told]


def tasks(run: Any) -> list[Any]:
    """Everything that Kubeflow tells of a run's tasks."""
    return (run.run_details and run.run_details.task_details) or []


def seconds(run: Any) -> float:
    """How long a run took, or has taken so far."""
    # An end before the beginning is Kubeflow's word for none.
    has_end = run.finished_at is not None and run.finished_at >= run.created_at
    return float(((run.finished_at if has_end else datetime.now(UTC)) - run.created_at).total_seconds())


def mlflow_address(run: Any) -> str | None:
    """Where the run stands in MLflow: what Kubeflow's plug-in says, or else the server of the run, or of us."""
    plugin = (run.plugins_output or {}).get("mlflow")
    for entry in (plugin.entries or {}).values() if plugin else ():
        if entry.render_type == "URL":
            return str(entry.value)
    parameters = (run.runtime_config and run.runtime_config.parameters) or {}
    servers = (str(parameters.get("tracking_uri", "")), os.environ.get("MLFLOW_TRACKING_URI", ""))
    # Not one with a password in it.
    return next((server for server in servers if re.match(r"https?://[^@]*$", server)), None)


def _phrase(counts: Counter[str]) -> str:
    if counts.total() == 1:
        return next(iter(counts))
    return ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))


def _in_words(state: str | None) -> str:
    return {None: "waiting", "SUCCEEDED": "done", "PENDING": "waiting"}.get(state, str(state).lower())
