"""The commands for a cluster: ``submit``, ``status``, ``fetch`` and ``schedule``."""

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import shapley_core
from components.prepare.inputs import as_settings
from pipelines.local import PipelineFailedError
from pipelines.settings import check_can_be_told, parsed
from shapley_core.config import resolve
from shapley_core.errors import UserError
from shapley_core.forecast import in_words
from shapley_core.storage import open_store

if TYPE_CHECKING:  # Kubeflow takes half a second to import: only where a command needs it
    from pipelines.remote.connection import Cluster
    from pipelines.remote.pipeline_versions import PipelineVersion

#: The pipeline that these commands are about, its preset, and the experiment in Kubeflow, where nobody names others.
_PIPELINE = _EXPERIMENT = "valuation"
_PRESET = "digits"

cluster_commands = typer.Typer()
schedule_commands = typer.Typer(
    no_args_is_help=True, help="Start valuations at set times: create, list, pause, resume, delete."
)
cluster_commands.add_typer(schedule_commands, name="schedule", short_help="Value the contributors at set times.")

Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        envvar="KF_PIPELINES_ENDPOINT",
        help="Kubeflow Pipelines.  [default: the cluster we are in, or kubectl's]",
    ),
]
Namespace = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        envvar="KF_PIPELINES_NAMESPACE",
        help="Your namespace, where Kubeflow has several users.  [default: kfp's saved one]",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="KF_PIPELINES_SA_TOKEN_PATH",
        help="File with the bearer token.  [default: the variable KF_PIPELINES_TOKEN]",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", envvar="KF_PIPELINES_CA_FILE", help="Certificates (PEM) to trust the server by, for https."
    ),
]
Store = Annotated[
    str,
    typer.Option(
        metavar="PLACE",
        help="Where models and utilities are kept from run to run: s3://bucket/prefix or a shared folder.",
    ),
]
Preset = Annotated[str, typer.Option(metavar="NAME", help="What to value and how.  [default: digits]")]
Data = Annotated[
    str,
    typer.Option(metavar="PLACE", help="Your own images: s3://bucket/prefix, or a path that the cluster's pods see."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. finetuning.steps=50; repeatable."),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=VALUE",
        help="Any other input of the pipeline by its name in the UI, e.g. coalitions=200 or memory=16Gi; repeatable.",
    ),
]
TrackingUri = Annotated[
    str,
    typer.Option(metavar="ADDRESS", help="MLflow as the cluster's pods see it.  [default: the cluster's own setting]"),
]
Experiment = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Experiment in Kubeflow and MLflow.  [default: valuation; in MLflow, the preset's]"
    ),
]
Version = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="A pipeline version that is there already.  [default: this one, uploaded where it is not]"
    ),
]
PipelineRoot = Annotated[
    str, typer.Option(metavar="PLACE", help="Where the cluster keeps artifacts.  [default: the cluster's own setting]")
]
ServiceAccount = Annotated[
    str,
    typer.Option(metavar="NAME", help="Service account of the run's pods.  [default: the cluster's own setting]"),
]
Zone = Annotated[
    str,
    typer.Option(
        metavar="ZONE", help="Time zone that Kubeflow's schedules go by (cronScheduleTimezone of its installation)."
    ),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]
ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the schedule.")]


@cluster_commands.command(short_help="Value the contributors on a cluster.")
def submit(
    store: Store = "",
    preset: Preset = "",
    data: Data = "",
    settings: Settings = None,
    inputs: Inputs = None,
    tracking_uri: TrackingUri = "",
    experiment: Experiment = "",
    version: Version = "",
    pipeline_root: PipelineRoot = "",
    service_account: ServiceAccount = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run to its end.")] = True,
    host: Host = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Start a valuation on Kubeflow Pipelines, and follow it.

    The pipeline is uploaded as a version of its own, unless the same one is there already.
    """
    given = _given(store, preset, data, settings, inputs, tracking_uri, experiment)
    console = _console()
    cluster, pinned, parameters = _prepared(version, given, console, (host, namespace, token_file, ca_file))
    from pipelines.remote import runs

    run = runs.start(
        cluster,
        pinned,
        parameters,
        experiment=experiment or _EXPERIMENT,
        name=f"{given.get('preset', _PRESET)} {datetime.now(UTC):%Y-%m-%d %H:%M}",
        pipeline_root=pipeline_root,
        service_account=service_account,
    )
    _say(console, f"run {run.run_id}")
    _addresses(console, cluster, run)
    if wait:
        _follow(console, cluster, run)


@cluster_commands.command(short_help="Say how far a run on a cluster has come.")
def status(
    run_id: Annotated[
        str, typer.Argument(metavar="[RUN]", help="Id of the run.  [default: a list of the latest]")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    host: Host = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Say how far a run has come and where it can be looked at; without a run, list the latest."""
    cluster = _connect(host, namespace, token_file, ca_file)
    from pipelines.remote import runs
    from pipelines.remote.pipeline_versions import spec_of, task_names

    console = _console()
    if not run_id:
        _print(
            console,
            ("run", "name", "state", "started (UTC)"),
            [
                (run.run_id, run.display_name, str(run.state).lower(), f"{run.created_at:%Y-%m-%d %H:%M}")
                for run in runs.latest(cluster, 20)
            ],
        )
        return
    run = runs.get(cluster, run_id)
    _say(console, f"{run.display_name}: {str(run.state).lower()}, {in_words(runs.seconds(run))}")
    _addresses(console, cluster, run)
    _print(console, ("task", "state"), runs.progress(run, task_names(spec_of(cluster, run))).items())
    if runs.has_ended(run):
        _conclude(console, cluster, run)
    elif wait:
        _follow(console, cluster, run)


@cluster_commands.command(short_help="Bring values and report of a run on a cluster to a folder.")
def fetch(
    run_id: RunId,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the results.")],
    pipeline_root: Annotated[
        str, typer.Option(metavar="PLACE", help="Where the cluster keeps artifacts.  [default: where the run says]")
    ] = "",
    host: Host = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Bring the results of a run to OUT, as a run on this machine leaves them (docs/results.md).

    For s3:// set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL for a server that is not Amazon's.
    """
    cluster = _connect(host, namespace, token_file, ca_file)
    from pipelines.remote import results

    results.fetch(cluster, run_id, out, pipeline_root)
    console = _console()
    _say(console, f"report: {out.absolute() / 'report.html'}")
    if (hint := out / "mlflow.txt").is_file():
        _say(console, f"MLflow: {hint.read_text().strip()}")


@schedule_commands.command(name="create", short_help="Make a schedule.")
def create(
    cron: Annotated[
        str,
        typer.Argument(metavar="CRON", help="When: six fields, seconds first, e.g. '0 0 3 * * 1', Mondays at 3."),
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="What the schedule is called.")],
    store: Store = "",
    preset: Preset = "",
    data: Data = "",
    settings: Settings = None,
    inputs: Inputs = None,
    tracking_uri: TrackingUri = "",
    experiment: Experiment = "",
    version: Version = "",
    pipeline_root: PipelineRoot = "",
    service_account: ServiceAccount = "",
    time_zone: Zone = "UTC",
    host: Host = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Start a valuation at set times: one at a time, always by the same pipeline version.

    Times that were missed, because the cluster was down or the schedule paused, are not made up for.
    """
    from pipelines.remote.cron import Cron

    when, zone = Cron(cron), _zone(time_zone)
    given = _given(store, preset, data, settings, inputs, tracking_uri, experiment)
    console = _console()
    cluster, pinned, parameters = _prepared(version, given, console, (host, namespace, token_file, ca_file))
    from pipelines.remote import schedules

    schedules.create(
        cluster,
        name,
        when,
        pinned,
        parameters,
        experiment=experiment or _EXPERIMENT,
        pipeline_root=pipeline_root,
        service_account=service_account,
    )
    _say(console, f"{name}: {when.in_words()}, {time_zone}, with the pipeline version {pinned.name}")
    for moment in when.next_times(3, datetime.now(zone)):
        _say(console, f"  {moment:%a %Y-%m-%d %H:%M:%S %Z}")


@schedule_commands.command(name="list", short_help="List the schedules.")
def list_(
    time_zone: Zone = "UTC",
    host: Host = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """List the schedules with their next time and the pipeline version they are pinned to."""
    zone = _zone(time_zone)
    cluster = _connect(host, namespace, token_file, ca_file)
    from pipelines.remote import schedules
    from pipelines.remote.cron import Cron
    from pipelines.remote.pipeline_versions import release_of, version_names

    found = schedules.existing(cluster)
    names = {
        key: name
        for pipeline in {s.pipeline_id for s in found}
        for key, name in version_names(cluster, pipeline).items()
    }
    rows = []
    for schedule in found:
        try:
            cron = Cron(schedule.cron)
            words, (moment,) = cron.in_words(), cron.next_times(1, datetime.now(zone))
            next_time = f"{moment:%Y-%m-%d %H:%M %Z}"
        except UserError:  # made by somebody else; Kubeflow takes more than we do
            words, next_time = schedule.cron, "?"
        version = names.get(schedule.version_id, "deleted")
        is_other = release_of(version) not in (None, shapley_core.__version__)
        rows.append(
            (
                schedule.name,
                words,
                next_time if schedule.is_on else "paused",
                f"{version} (another release)" if is_other else version,
            )
        )
    _print(_console(), ("schedule", "when", "next", "pipeline version"), rows)


@schedule_commands.command(short_help="Start no more runs, until resumed.")
def pause(
    name: ScheduleName, host: Host = "", namespace: Namespace = "", token_file: TokenFile = None, ca_file: CaFile = None
) -> None:
    """Start no more runs, until resumed; a run that is going on goes on."""
    cluster = _connect(host, namespace, token_file, ca_file)
    from pipelines.remote import schedules

    schedules.pause(cluster, name)
    _say(_console(), f"{name}: paused")


@schedule_commands.command(short_help="Go on with a paused schedule.")
def resume(
    name: ScheduleName, host: Host = "", namespace: Namespace = "", token_file: TokenFile = None, ca_file: CaFile = None
) -> None:
    """Go on with a paused schedule, from its next time on."""
    cluster = _connect(host, namespace, token_file, ca_file)
    from pipelines.remote import schedules

    schedules.resume(cluster, name)
    _say(_console(), f"{name}: resumed")


@schedule_commands.command(short_help="Remove a schedule; its runs stay.")
def delete(
    name: ScheduleName, host: Host = "", namespace: Namespace = "", token_file: TokenFile = None, ca_file: CaFile = None
) -> None:
    """Remove a schedule; its runs and their results stay."""
    cluster = _connect(host, namespace, token_file, ca_file)
    from pipelines.remote import schedules

    schedules.delete(cluster, name)
    _say(_console(), f"{name}: deleted")


def _connect(host: str, namespace: str, token_file: Path | None, ca_file: Path | None) -> "Cluster":
    from pipelines.remote.connection import Cluster, Connection, Token

    # Not an option: what stands on a command line is seen by everybody on the machine.
    token = Token(os.environ.get("KF_PIPELINES_TOKEN", ""), token_file)
    return Cluster(Connection(host, namespace, token, ca_file))


def _given(
    store: str,
    preset: str,
    data: str,
    settings: list[str] | None,
    inputs: list[str] | None,
    tracking_uri: str,
    experiment: str,
) -> dict[str, Any]:
    """The pipeline's inputs that the options name.

    Raises:
        UserError: what cannot work on the cluster, as far as it can be seen from here.
    """
    overrides = parsed(settings or [])
    given: dict[str, Any] = {"store": store, "preset": preset, "data": data, "tracking_uri": tracking_uri}
    given |= {"experiment": experiment, "overrides": {k: "null" if v is None else v for k, v in overrides.items()}}
    given = {name: value for name, value in given.items() if value}
    for pair in inputs or []:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise UserError(f"--input {pair}: write NAME=VALUE, e.g. --input memory=16Gi")
        given[name] = value
    for name in ("store", "data"):
        if (place := given.get(name)) and "://" not in place and not Path(place).is_absolute():
            raise UserError(f"--{name} {place} is on this machine: give s3://bucket/prefix, or a path that pods see")
        if place and place.startswith("s3://"):
            open_store(place)  # addresses that cannot be, perhaps because of keys in them, are never sent
    if Path(preset).suffix in (".yaml", ".yml"):
        raise UserError(f"--preset {preset} is on this machine: name a preset, and give what differs with --set")
    if "@" in urlsplit(str(given.get("tracking_uri", ""))).netloc:
        raise UserError(
            "--tracking-uri holds a password, and everybody sees a run's inputs: leave it out of the address, and give "
            "it to the pods as the variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    check_can_be_told(given)
    return given


def _prepared(
    version: str, given: Mapping[str, Any], console: Console, where: tuple[str, str, Path | None, Path | None]
) -> "tuple[Cluster, PipelineVersion, dict[str, Any]]":
    """The cluster, the pipeline version to run there, and its inputs, checked before anything is uploaded.

    The version is the one that is asked for, or else this release's, uploaded where it is not there.
    """
    from pipelines.compiling import compile_valuation, specification
    from pipelines.remote import pipeline_versions

    if version:
        cluster = _connect(*where)
        pinned = pipeline_versions.find_version(cluster, _PIPELINE, version)
        pinned.check_release()
        return cluster, pinned, _checked(pipeline_versions.inputs(pinned.spec, given))
    spec = specification()
    parameters = _checked(pipeline_versions.inputs(spec, given))
    cluster = _connect(*where)
    with tempfile.TemporaryDirectory() as folder:
        package = compile_valuation(Path(folder) / f"{_PIPELINE}.yaml")
        pinned = pipeline_versions.upload_or_reuse(cluster, spec, package)
    _say(console, f"pipeline version {pinned.name}: {'uploaded' if pinned.is_new else 'already there'}")
    return cluster, pinned, parameters


#: Inputs that stand for single settings.
_SETTINGS = ("data", "coalitions", "shard_size", "property", "method", "seed", "experiment")


def _checked(parameters: dict[str, Any]) -> dict[str, Any]:
    """The same inputs, if the task prepare will find a valid configuration in them.

    Raises:
        UserError: what is wrong, told now instead of by a pod.
    """
    named = as_settings(**{name: parameters[name] for name in _SETTINGS if name in parameters})
    resolve(parameters.get("preset", _PRESET), named | parameters.get("overrides", {}))
    return parameters


def _follow(console: Console, cluster: "Cluster", run: Any) -> None:
    """Follow a run to its end, and say what came of it."""
    from pipelines.remote import runs

    how = f"the run goes on; follow it with: status {run.run_id} --wait"
    try:
        ended = runs.follow(cluster, run.run_id, lambda line: _say(console, line))
    except KeyboardInterrupt:
        _say(console, how)
        raise typer.Exit(130) from None
    except UserError as error:
        raise UserError(f"{error}; {how}") from error
    address = runs.mlflow_address(ended)
    if address is not None and address != runs.mlflow_address(run):
        _say(console, f"MLflow: {address}")
    _conclude(console, cluster, ended)


def _conclude(console: Console, cluster: "Cluster", run: Any) -> None:
    """Say what came of a run; raise :class:`PipelineFailedError` for one that did not succeed."""
    from pipelines.remote import runs
    from pipelines.remote.pipeline_versions import spec_of, task_names

    if run.state == "SUCCEEDED":
        _say(console, f"succeeded; bring its results with: fetch {run.run_id} --out FOLDER")
        return
    why = "; ".join(runs.failures(run, task_names(spec_of(cluster, run))))
    raise PipelineFailedError(
        f"the run {run.run_id} ended as {run.state.lower()}{f': {why}' if why else ''}. Logs of its tasks are at "
        f"{cluster.client.page_address(f'runs/details/{run.run_id}')}"
    )


def _addresses(console: Console, cluster: "Cluster", run: Any) -> None:
    from pipelines.remote import runs

    _say(console, f"Kubeflow: {cluster.client.page_address(f'runs/details/{run.run_id}')}")
    if (address := runs.mlflow_address(run)) is not None:
        _say(console, f"MLflow: {address}")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # KeyError: ZoneInfoNotFoundError
        raise UserError(f"there is no time zone '{name}'; give one like UTC or Europe/Berlin") from error


def _console() -> Console:
    return Console(file=sys.stdout, highlight=False)


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


def _print(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=i == 0)  # what is copied stays in one piece
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
