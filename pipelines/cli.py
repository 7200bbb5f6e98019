"""The command line: ``python -m pipelines run`` and ``compile``."""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shapley_core.config import resolve
from shapley_core.errors import UserError, unwritable

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Shapley values for the contributors of a diffusion model's training data.",
)
# Bound now: a local run redirects sys.stdout to its log.
console = Console(file=sys.stdout, highlight=False)


@app.command()
def run(
    preset: Annotated[str, typer.Option(help="Name of a preset, or a config.yaml of an earlier run.")] = "digits",
    data: Annotated[
        str,
        typer.Option(
            help="Your own images: a folder with one sub-folder per contributor, or a .csv/.parquet file with "
            "columns path, contributor and, if you like, label and caption; local or s3://."
        ),
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. finetuning.steps=50; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/valuation"),
    seed: Annotated[int | None, typer.Option(help="Seed of every random draw.")] = None,
    skip_bad_images: Annotated[bool, typer.Option(help="Count and skip images that cannot be read.")] = False,
    store: Annotated[
        str, typer.Option(help="Where models and utilities are kept from run to run; default: OUT/store.")
    ] = "",
    tracking_uri: Annotated[
        str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow; default: mlflow.db beside OUT.")
    ] = "",
) -> None:
    """Value the contributors on this machine: the compiled Kubeflow pipeline, run with its local runner.

    Run the same command again after an interruption: nothing that was measured is measured twice.
    """
    overrides = _overrides(settings or [], data, seed, skip_bad_images)
    resolve(preset, overrides)
    # Kubeflow takes half a second to import; a wrong setting is told before.
    from pipelines.compiling import compile_valuation
    from pipelines.local import exclusive, publish, run_pipeline

    out = out.absolute()
    started = time.monotonic()
    with exclusive(out), tempfile.TemporaryDirectory() as folder:
        work = out / "work"
        shutil.rmtree(work, ignore_errors=True)
        package = compile_valuation(Path(folder) / "valuation.yaml")
        arguments = {
            "preset": str(Path(preset).absolute()) if Path(preset).is_file() else preset,
            "overrides": overrides,
            "store": store or str(out / "store"),
            "tracking_uri": tracking_uri or f"sqlite:///{out.parent / 'mlflow.db'}",
        }
        with console.status("starting") as status:

            def show(line: str) -> None:
                if console.is_terminal:
                    status.update(Text(line))
                else:
                    console.print(Text(line))

            results = run_pipeline(package, arguments, work, out / "run.log", show)
        publish(results, out)
        shutil.rmtree(work, ignore_errors=True)
    _summary(out, time.monotonic() - started)


@app.command(name="compile")
def compile_(
    out: Annotated[Path, typer.Option(help="Folder for the compiled pipelines.")] = Path("build"),
) -> None:
    """Compile the pipeline to OUT/valuation.yaml, ready to be uploaded in the Kubeflow Pipelines UI."""
    from pipelines.compiling import compile_valuation

    out.mkdir(parents=True, exist_ok=True)
    package = compile_valuation(out / "valuation.yaml")
    console.print(f"{package}: upload it in the Kubeflow Pipelines UI (Pipelines, Upload pipeline)", soft_wrap=True)


def main() -> None:
    """Run the command line; what the user can mend ends with one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        explained = unwritable(error)
        if explained is None:
            raise
        _fail(str(explained))


def _fail(sentence: str) -> None:
    Console(stderr=True, highlight=False).print(Text.assemble(("error: ", "bold red"), sentence), soft_wrap=True)
    sys.exit(2)


def _overrides(settings: list[str], data: str, seed: int | None, skip_bad_images: bool) -> dict[str, Any]:
    """The command line's options as dotted settings."""
    overrides: dict[str, Any] = {}
    if data:
        is_manifest = data.lower().endswith((".csv", ".parquet"))
        overrides["data.source"] = "manifest" if is_manifest else "image_folder"
        overrides["data.path"] = data if "://" in data else str(Path(data).absolute())
    if skip_bad_images:
        overrides["data.skip_bad_images"] = True
    if seed is not None:
        overrides["seed"] = seed
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise UserError(f"--set {setting}: write KEY=VALUE, e.g. --set finetuning.steps=50")
        overrides[key] = value
    return overrides


def _summary(out: Path, seconds: float) -> None:
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
    console.print(
        f"{values['property']} rises from {_number(values['null_value'])} (untrained) to "
        f"{_number(values['full_value'])} (everybody), measured on {values['n_coalitions']} coalitions "
        f"in {seconds:.0f} s."
    )
    for warning in values["diagnostics"].get("warnings", []):
        console.print(Text(f"note: {warning}", style="yellow"))
    console.print(Text(f"report: {out / 'report.html'}"), soft_wrap=True)
    hint = out / "mlflow.txt"
    if hint.is_file():
        console.print(Text(f"MLflow: {hint.read_text().strip()}"), soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
