"""One MLflow run per valuation or evaluation: parameters, curves, values, costs, and the files that are left.

Tracking is a courtesy, never a condition of a valuation: a tracking server that is down, slow or refuses
costs seconds and ends in a sentence of warning. MLflow is imported only when something is logged.
"""

import hashlib
import json
import logging
import math
import os
import re
import shlex
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pandas as pd

from shapley_core.config import ValuationConfig
from shapley_core.errors import UserError
from shapley_core.history import Earlier, PastValuation

logger = logging.getLogger(__name__)

#: MLflow's limits (mlflow.utils.validation); one entry beyond them makes a server refuse the whole batch.
_MAX_KEY, _MAX_PARAM, _MAX_TAG, _MAX_TITLE = 250, 6000, 5000, 500
_PARAMS_PER_BATCH, _METRICS_PER_BATCH = 100, 1000
#: Values of earlier valuations that are logged again, at most, each with its interval.
_MAX_PAST = 2000

#: Where MLflow keeps the note on an experiment that its UI shows.
NOTE = "mlflow.note.content"

#: How MLflow's client behaves in this process; what the user set in the environment stays.
_CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # It would print the server's address with the password in it; the user is shown ours.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

T = TypeVar("T")


@dataclass(frozen=True)
class Tracked:
    """What became of the logging of a valuation.

    Attributes:
        run_id: the MLflow run; None if there is none.
        ui_hint: how to look at it, an address or a command; None without a run.
        warning: a sentence on what went wrong; None if everything was logged.
    """

    run_id: str | None
    ui_hint: str | None
    warning: str | None

    def tell(self, results: Path) -> None:
        """Log it, and leave ``mlflow.txt`` in the folder of the results where there is a run to look at."""
        if self.warning:
            logger.warning("%s", self.warning)
        if self.ui_hint:
            logger.info("MLflow: %s", self.ui_hint)
            (results / "mlflow.txt").write_text(self.ui_hint + "\n")


def log_run(
    *,
    tracking_uri: str,
    experiment: str,
    run_name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    tags: Mapping[str, str],
    tables: Mapping[str, pd.DataFrame],
    artifacts: Path,
    view: Mapping[str, str],
    patience: float = 30.0,
) -> Tracked:
    """Logs a valuation, or an evaluation, to MLflow; never raises.

    MLFLOW_TRACKING_URI goes before ``tracking_uri``. With MLFLOW_RUN_ID the platform has made the run: it is
    logged into, its parameters are added to, and its end is left to the platform.

    Args:
        tracking_uri: a server, or a database such as ``sqlite:///runs/mlflow.db`` (made if it is not there;
            its files go into ``mlartifacts`` beside it).
        experiment: name of the experiment, made if it is not there.
        run_name: title of the run.
        params: settings, nested as they like; keys are joined with dots, values cut to MLflow's limit.
        metrics: name to number; numbers that are not finite are left out.
        curves: name to ``{"step": [...], "value": [...]}``, metrics with a history.
        tags: labels of the run.
        tables: name to a table that MLflow's UI shows, logged as ``tables/<name>.csv``.
        artifacts: folder whose files are logged under their relative paths.
        view: labels of the experiment, by which MLflow's UI explains and arranges it
            (:mod:`shapley_core.mlflow_view`).
        patience: seconds to wait before the valuation goes on without its run.
    """
    for name, value in _CLIENT_SETTINGS.items():
        os.environ.setdefault(name, value)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri
    progress = _Progress()

    def work() -> None:
        try:
            from mlflow import MlflowClient

            database = _sqlite_file(uri)
            if database:
                database.parent.mkdir(parents=True, exist_ok=True)
            client = MlflowClient(uri)
            run = progress.run = _open_run(client, uri, experiment, run_name)
            run_id = run.info.run_id
            # The small and important first.
            for settings in _batches(_params(params, run.data.params), _PARAMS_PER_BATCH):
                client.log_batch(run_id, params=settings)
            for labels in _batches(_tags(tags), _PARAMS_PER_BATCH):
                client.log_batch(run_id, tags=labels)
            for points in _batches(_points(metrics, curves), _METRICS_PER_BATCH):
                client.log_batch(run_id, metrics=points)
            _arrange(client, run.info.experiment_id, view)
            for name, table in tables.items():
                client.log_text(run_id, _text(table.to_csv(index=False)), f"tables/{safe_name(name)}.csv")
            for path in sorted(path for path in artifacts.rglob("*") if path.is_file()):
                folder = path.parent.relative_to(artifacts).as_posix()
                client.log_artifact(run_id, str(path), None if folder == "." else folder)
            if not os.environ.get("MLFLOW_RUN_ID"):
                client.set_terminated(run_id)
        except Exception as error:
            progress.error = _reason(error)

    # A thread of its own: no setting bounds how long a trickling server, a lock or a bucket may take.
    thread = threading.Thread(target=work, name="mlflow", daemon=True)
    thread.start()
    thread.join(patience)
    error = f"it was not done after {patience:g} s" if thread.is_alive() else progress.error
    return Tracked(
        run_id=progress.run.info.run_id if progress.run else None,
        ui_hint=_ui_hint(uri, progress.run.info) if progress.run else None,
        warning=_warning(uri, error, partly=progress.run is not None) if error else None,
    )


def value_metrics(values: Mapping[str, Any]) -> dict[str, float]:
    """Values as metrics, under the names by which runs compare; what is unknown is left out.

    Args:
        values: the content of values.json.

    Returns:
        ``value/<contributor>``, ``std_error/<contributor>``, ``width/<contributor>`` (of the interval),
        ``mean_width``, ``rank_stability``, ``n_coalitions``, ``null_value`` and ``full_value``.
    """
    metrics = {name: values[name] for name in ("null_value", "full_value", "n_coalitions")}
    metrics["rank_stability"] = values["diagnostics"].get("rank_stability")
    widths = []
    for row in values["contributors"]:
        name = safe_name(row["contributor"])
        metrics |= {f"{kind}/{name}": row[kind] for kind in ("value", "std_error")}
        if row["ci_low"] is not None:
            widths.append(row["ci_high"] - row["ci_low"])
            metrics[f"width/{name}"] = widths[-1]
    if widths:
        metrics["mean_width"] = sum(widths) / len(widths)
    return {name: float(value) for name, value in metrics.items() if value is not None}


def value_tags(settings: ValuationConfig, values: Mapping[str, Any]) -> dict[str, str]:
    """What values are of and how they were made, as tags; ``values`` is the content of values.json."""
    return {
        "preset": settings.preset,
        "method": settings.game.coalition_model,
        **{name: str(values[name]) for name in ("property", "design", "estimator", "game_id")},
    }


def cost_metrics(utilities: pd.DataFrame) -> dict[str, float]:
    """Seconds of training and sampling, whichever run spent them: ``cost_per_coalition`` (median), ``cost_total``."""
    rows = utilities[utilities["status"] == "ok"]
    training, sampling = rows["training_seconds"], rows["sampling_seconds"]
    return {
        "cost_per_coalition": float(training.median() + sampling.median()),  # as an evaluation's cost/<method>
        "cost_total": float(training.sum() + sampling.sum()),
    }


def coalition_curves(utilities: pd.DataFrame) -> dict[str, dict[str, list[float]]]:
    """Value and seconds of every measured coalition as metric histories; the step is the row of the table."""
    rows = utilities.reset_index(drop=True)
    rows = rows[rows["status"] == "ok"]
    steps = [float(step) for step in rows.index]
    curves = {"coalition/value": rows["value"]}
    for kind in ("training", "sampling", "scoring"):
        curves[f"coalition/{kind}_seconds"] = rows[f"{kind}_seconds"]
    return {name: {"step": steps, "value": column.astype(float).tolist()} for name, column in curves.items()}


def history_curves(past: Earlier, now: PastValuation) -> dict[str, dict[str, list[float]]]:
    """Value and interval of each contributor over a series of valuations; the step is the number of the valuation.

    ``history/value/<contributor>``, ``history/ci_low/<contributor>`` and ``history/ci_high/<contributor>``, of those
    who are valued now; of fewer valuations where there are very many contributors.
    """
    names = {row.contributor: safe_name(row.contributor) for row in now.contributors}
    steps = range(past.count - len(past.shown), past.count + 1)
    numbered = [*zip(steps, [*past.shown, now], strict=True)]
    curves: dict[str, dict[str, list[float]]] = {}
    for step, valuation in numbered[-max(1, _MAX_PAST // len(names)) :]:
        for row in valuation.contributors:
            for kind, number in (("value", row.value), ("ci_low", row.ci_low), ("ci_high", row.ci_high)):
                if row.contributor in names and number is not None:
                    curve = curves.setdefault(f"history/{kind}/{names[row.contributor]}", {"step": [], "value": []})
                    curve["step"].append(float(step))
                    curve["value"].append(number)
    return curves


def safe_name(name: str) -> str:
    """``name`` as one part of a metric's name: as it is where MLflow takes it, else made unique by a hash."""
    longest = _MAX_KEY - 50  # leaves room for what the name is a part of
    safe = re.sub(r"[^\w.\- :]", "_", name)
    if safe == name == name.strip() and name.strip(".") and len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{safe[: longest - 9].strip()}-{digest}"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys to text: words as they are, everything else as JSON."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat


@dataclass
class _Progress:
    """How far the logging of a valuation has come: MLflow's run, and what stopped it."""

    run: Any = None
    error: str | None = None


def _open_run(client: Any, uri: str, experiment: str, run_name: str) -> Any:
    """The run the platform has made, or a new one in the experiment."""
    given = os.environ.get("MLFLOW_RUN_ID")
    if given:
        return client.get_run(given)
    return client.create_run(_experiment_id(client, uri, experiment), run_name=_text(run_name, _MAX_TITLE))


def _experiment_id(client: Any, uri: str, name: str) -> str:
    """The experiment's id; it is made if it is not there, perhaps by another valuation at the same moment."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifact_location(uri)))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise UserError(f"the experiment '{name}' was deleted there: restore it, or choose another name")
    return str(found.experiment_id)


def _arrange(client: Any, experiment_id: str, view: Mapping[str, str]) -> None:
    """Set labels of an experiment; a note that is there stays, somebody may have written it."""
    there = client.get_experiment(experiment_id).tags
    for name, value in view.items():
        if name != NOTE or not there.get(NOTE):
            client.set_experiment_tag(experiment_id, name, _text(value, _MAX_TAG))


def _artifact_location(uri: str) -> str | None:
    """For a SQLite file the folder ``mlartifacts`` beside it; a server chooses its own."""
    database = _sqlite_file(uri)
    return (database.parent.resolve() / "mlartifacts").as_uri() if database else None


def _sqlite_file(uri: str) -> Path | None:
    """The file of a ``sqlite:///`` address; None for any other."""
    return Path(uri.removeprefix("sqlite:///").split("?")[0]) if uri.startswith("sqlite:///") else None


def _params(params: Mapping[str, Any], known: Mapping[str, str]) -> list[Any]:
    """Those not yet known: parameters never change in MLflow, so a second try keeps those of the first."""
    from mlflow.entities import Param

    flat = {_key(key): _text(value, _MAX_PARAM) for key, value in flatten(params).items()}
    return [Param(key, value) for key, value in flat.items() if key not in known]


def _tags(tags: Mapping[str, str]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(_key(key), _text(str(value), _MAX_TAG)) for key, value in tags.items()]


def _points(metrics: Mapping[str, float], curves: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Any]:
    """Metrics and curves as MLflow's points, all of the present time."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    single = [(name, 0.0, value) for name, value in metrics.items()]
    history = [(name, *point) for name, c in curves.items() for point in zip(c["step"], c["value"], strict=True)]
    return [Metric(_key(k), float(v), now, int(step)) for k, step, v in single + history if math.isfinite(v)]


def _key(name: str) -> str:
    """A metric, parameter or tag name that MLflow takes; a slash groups names in its UI."""
    return "/".join(safe_name(part) for part in name.split("/"))[:_MAX_KEY]


def _text(value: str, length: int | None = None) -> str:
    """``value`` without lone surrogates, which no file or database takes, cut to ``length``."""
    return value.encode(errors="replace").decode()[:length]


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _ui_hint(uri: str, info: Any) -> str:
    shown = _without_password(uri, uri)
    if urlsplit(uri).scheme in ("http", "https"):
        return f"{shown.rstrip('/')}/#/experiments/{info.experiment_id}/runs/{info.run_id}"
    return f"mlflow ui --backend-store-uri {shlex.quote(shown)}"


def _reason(error: BaseException) -> str:
    """What went wrong, in short: what the operating system said, if that is at the bottom of it."""
    origin = error
    while deeper := origin.__cause__ or origin.__context__:
        origin = deeper
    return str(origin if isinstance(origin, OSError) else error) or type(error).__name__


def _warning(uri: str, error: str, partly: bool) -> str:
    reason = _without_password(" ".join(error.split()), uri)
    return (
        f"the results are complete, but MLflow at {_without_password(uri, uri)} took "
        f"{'only a part of it' if partly else 'nothing of it'} ({reason[:300]}). Check that it answers and "
        "that MLFLOW_TRACKING_URI is right; all results are in the output folder."
    )


def _without_password(text: str, uri: str) -> str:
    """``text`` with the user and password of ``uri`` left out."""
    secret, at, _ = urlsplit(uri).netloc.rpartition("@")
    return text.replace(f"{secret}@", "") if at else text
