"""The command line: ``python -m pipelines run``, ``cost``, ``compile``, and those of :mod:`pipelines.cluster_cli`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.cluster_cli import cluster_commands
from pipelines.evaluation_cli import evaluation_commands
from pipelines.local import PipelineFailedError, make_folder, run_here
from pipelines.services_cli import service_commands
from pipelines.settings import as_overrides, check_can_be_told
from shapley_core.config import resolve
from shapley_core.errors import UserError, unwritable
from shapley_core.forecast import Cost, in_words, size_in_words
from shapley_core.stages.needs import check_hardware
from shapley_core.storage import open_store

#: Coalitions per contributor that ``cost`` tells of: from the least that can be solved to narrow intervals.
_BUDGETS = (2, 4, 10, 25)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Credits the contributors of a diffusion model's training data with Shapley values of a model property.",
)


@app.command(short_help="Value the contributors on this machine.")
def run(
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="What to value and how: a preset, or config.yaml of an earlier run.")
    ] = "digits",
    data: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help="Your own images: a folder with one sub-folder per contributor, or a .csv/.parquet file with "
            "columns path, contributor and, if you like, label and caption; local or s3://.",
        ),
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. finetuning.steps=50; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the results.")] = Path("runs/valuation"),
    seed: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Seed of every random draw.  [default: the preset's]")
    ] = None,
    skip_bad_images: Annotated[
        bool, typer.Option("--skip-bad-images", help="Count and skip images that cannot be read.")
    ] = False,
    store: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="Where models and utilities are kept from run to run: a folder or s3://bucket/prefix.  "
            "[default: OUT/store]",
        ),
    ] = "",
    tracking_uri: Annotated[
        str,
        typer.Option(metavar="ADDRESS", envvar="MLFLOW_TRACKING_URI", help="MLflow.  [default: mlflow.db beside OUT]"),
    ] = "",
) -> None:
    """Value the contributors on this machine: the compiled Kubeflow pipeline, run with Kubeflow's local runner.

    Results stand in OUT: values.json, report.html and more. Run the same command again after an interruption:
    nothing that was measured is measured twice.
    """
    # Bound now: a local run redirects sys.stdout to its log.
    console = Console(file=sys.stdout, highlight=False)
    out = out.absolute()
    overrides = as_overrides(settings or [], data, seed, skip_bad_images)
    config = resolve(preset, overrides)
    check_hardware(config)
    arguments: dict[str, Any] = {
        "preset": str(Path(preset).absolute()) if Path(preset).is_file() else preset,
        "overrides": {key: "null" if value is None else value for key, value in overrides.items()},
        "store": store or str(out / "store"),
        "tracking_uri": f"sqlite:///{out.parent / 'mlflow.db'}",
    }
    # Goes before the argument above, and unlike an argument, which Kubeflow prints, may hold a password.
    environment = {"MLFLOW_TRACKING_URI": tracking_uri} if tracking_uri else {}
    named = {"--preset": arguments["preset"], "--out": str(out), "--store": store, "--tracking-uri": tracking_uri}
    check_can_be_told(named | overrides)
    # Addresses that cannot be, perhaps because of keys in them, are told before they stand in a log.
    open_store(arguments["store"])
    if config.data.path.startswith("s3://"):
        open_store(config.data.path)
    _summary(console, out, run_here("valuation", arguments, environment, out, console))


@app.command(name="compile", short_help="Write the pipeline as YAML for the Kubeflow Pipelines UI.")
def compile_(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the compiled pipeline.")] = Path("build"),
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Write it as resources too, for Kubeflow's Kubernetes-native mode.")
    ] = False,
    namespace: Annotated[str, typer.Option(metavar="NAME", help="Namespace of the resources.")] = "",
) -> None:
    """Compile the pipelines to OUT/valuation.yaml and OUT/evaluation.yaml, ready for the Kubeflow Pipelines UI."""
    from pipelines.compiling import compile_evaluation, compile_resources, compile_valuation

    make_folder(out)
    package = compile_valuation(out / "valuation.yaml")
    for compiled in (package, compile_evaluation(out / "evaluation.yaml")):
        typer.echo(f"{compiled}: upload it in the Kubeflow Pipelines UI (Pipelines, Upload pipeline)")
    if kubernetes:
        resources = compile_resources(out / "valuation-kubernetes.yaml", package, namespace)
        typer.echo(f"{resources}: kubectl apply --server-side -f {resources}")


@app.command(short_help="Say what a valuation of another size would cost.")
def cost(
    run: Annotated[Path, typer.Option(metavar="FOLDER", help="Results of a run: its times are the measure.")] = Path(
        "runs/digits"
    ),
    contributors: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=2, help="Contributors.  [default: the run's]")
    ] = None,
    coalitions: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", min=1, help="Coalitions to measure.  [default: several per contributor]"),
    ] = None,
    parallel: Annotated[int, typer.Option(metavar="NUMBER", min=1, help="Processes (pods) at once.")] = 2,
    shard_size: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", min=1, help="Coalitions that a process measures.  [default: the run's]"),
    ] = None,
) -> None:
    """Say what a valuation would cost, from the times of an earlier run with the same model and settings.

    The cost of a coalition does not hang on who is in it; how many are needed grows with the contributors.
    """
    measured = Cost.of_run(run)
    measured = replace(measured, shard_size=shard_size or measured.shard_size)
    n = contributors or len(json.loads((run / "values.json").read_text())["contributors"])
    budgets = [coalitions] if coalitions else [factor * n for factor in _BUDGETS]
    table = Table(title=f"Cost of valuing {n} contributors, by the times of {run}", title_justify="left")
    for column in (
        "coalitions",
        f"wall time, {parallel} at once",
        "time of all processes",
        "pods in a cluster",
        "artifacts",
    ):
        table.add_column(column, justify="right")
    for m in budgets:
        times = measured.wall_seconds(m, parallel), measured.process_seconds(m)
        stored = size_in_words(m * measured.artifact_bytes)
        table.add_row(str(m), *map(in_words, times), str(measured.pods(m)), stored)
    console = Console(file=sys.stdout, highlight=False)
    console.print(table)
    console.print(
        f"A coalition takes {measured.per_coalition:.1f} s of a process; what is done once, "
        f"{in_words(measured.once)}; starting a shard, {in_words(measured.per_shard)}. Artifacts, the coalitions' "
        "weights and images, are of no use once a shard is scored; the utilities are kept, less than 1 KB each."
    )


app.add_typer(evaluation_commands)
app.add_typer(cluster_commands)
app.add_typer(service_commands, name="services", short_help="Start S3 and MLflow here, to try things with.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit.

    What the user can mend ends with one sentence and exit code 2, a task that failed by a bug with the place of its
    log and exit code 1.
    """
    try:
        app(arguments, prog_name="python -m pipelines")
    except UserError as error:
        _fail(str(error), 2)
    except PipelineFailedError as error:
        _fail(str(error), 1)
    except OSError as error:
        explained = unwritable(error)
        if explained is None:
            raise
        _fail(str(explained), 2)


def _fail(sentence: str, code: int) -> NoReturn:
    Console(stderr=True, highlight=False).print(Text.assemble(("error: ", "bold red"), sentence), soft_wrap=True)
    sys.exit(code)


def _summary(console: Console, out: Path, seconds: float) -> None:
    values = json.loads((out / "values.json").read_text())
    table = Table(title=f"Shapley values of {values['property']}", title_justify="left")
    for column in ("rank", "contributor", "value", f"{values['confidence']:.0%} interval", "share"):
        table.add_column(column, justify="left" if column == "contributor" else "right", overflow="ellipsis")
    for row in values["contributors"]:
        table.add_row(
            str(row["rank"]),
            Text(row["contributor"]),
            _number(row["value"]),
            f"{_number(row['ci_low'])} … {_number(row['ci_high'])}",
            "–" if row["share"] is None else f"{row['share']:.1%}",
        )
    console.print(table)
    goes = "rises" if values["full_value"] >= values["null_value"] else "falls"  # noise may be more colourful
    console.print(
        f"{values['property']} {goes} from {_number(values['null_value'])} (untrained) to "
        f"{_number(values['full_value'])} (everybody), measured on {values['n_coalitions']} coalitions "
        f"in {seconds:.0f} s."
    )
    notes = [values["diagnostics"].get("stopped"), *values["diagnostics"].get("warnings", [])]
    for note in filter(None, notes):
        console.print(Text(f"note: {note}", style="yellow"))
    console.print(Text(f"report: {out / 'report.html'}"), soft_wrap=True)
    hint = out / "mlflow.txt"
    if hint.is_file():
        console.print(Text(f"MLflow: {hint.read_text().strip()}"), soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
