"""The command ``evaluate``: a finished valuation judged by retrained models, on this machine."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.local import run_here
from pipelines.settings import as_overrides, check_can_be_told
from shapley_core.errors import UserError
from shapley_core.evaluation.labels import attribution_label
from shapley_core.storage import open_store

#: How much is retrained; ``night``: about a night of two cores for the digits.
BUDGETS: dict[str, dict[str, Any]] = {
    "small": {
        "evaluation.alphas": [0.5],
        "evaluation.n_held_out": 20,
        "evaluation.n_repeated": 10,
        "evaluation.n_retrained": 30,
        "evaluation.n_finetuned": 40,
        "evaluation.n_compared": 3,
        "evaluation.gradient_timesteps": 10,
        # A task takes seconds to start.
        "run.shard_size": 50,
    },
    "night": {"evaluation.n_held_out": 50, "run.shard_size": 16},
}

evaluation_commands = typer.Typer()


@evaluation_commands.command(short_help="Judge a finished valuation by models that are retrained for it.")
def evaluate(
    valuation: Annotated[
        str, typer.Option(metavar="PLACE", help="Results of the valuation: the folder given to run --out, or s3://.")
    ] = "runs/digits",
    budget: Annotated[
        Literal["small", "night"], typer.Option(help="How many models are retrained; --set evaluation.… goes before.")
    ] = "small",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting under evaluation or run; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder for the results.  [default: evaluation in VALUATION]")
    ] = None,
    store: Annotated[
        str, typer.Option(metavar="PLACE", help="The valuation's store.  [default: VALUATION/store]")
    ] = "",
    tracking_uri: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", envvar="MLFLOW_TRACKING_URI", help="MLflow.  [default: mlflow.db beside VALUATION]"
        ),
    ] = "",
) -> None:
    """Judge a finished valuation: do its values predict what retraining shows, better than the paper's baselines?

    Models are retrained on held-out coalitions, and contributors are removed by every method of the paper. Results
    stand in OUT: evaluation.html, evaluation.md and more. Every retrained coalition goes to the store, so that a
    second evaluation, or the same command after an interruption, retrains nothing twice.
    """
    console = Console(file=sys.stdout, highlight=False)
    remote = "://" in valuation
    if remote and not (out and store):
        raise UserError(f"the valuation {valuation} is not on this machine: name a folder with --out, and its --store")
    here = Path(valuation).absolute()
    out = (out or here / "evaluation").absolute()
    if open_store(valuation if remote else str(here)).read("values.json") is None:
        raise UserError(
            f"there is no finished valuation in {valuation if remote else here}: value the contributors first (python "
            "-m pipelines run), or name another place with --valuation"
        )
    overrides = BUDGETS[budget] | as_overrides(settings or [], "", None, False)
    arguments: dict[str, Any] = {
        "valuation": valuation if remote else str(here),
        "store": store or str(here / "store"),
        "overrides": overrides,
        "tracking_uri": f"sqlite:///{(out if remote else here).parent / 'mlflow.db'}",
    }
    # Unlike an argument, which Kubeflow prints, it may hold a password.
    environment = {"MLFLOW_TRACKING_URI": tracking_uri} if tracking_uri else {}
    named = {"--valuation": arguments["valuation"], "--out": str(out), "--store": store, "--tracking-uri": tracking_uri}
    check_can_be_told(named | overrides)
    open_store(arguments["store"])
    seconds = run_here("evaluation", arguments, environment, out, console)
    _summary(console, out, seconds)


def _summary(console: Console, out: Path, seconds: float) -> None:
    found = json.loads((out / "evaluation.json").read_text())
    lds = pd.read_parquet(out / "lds.parquet")
    middle = lds[np.isclose(lds["alpha"], found["facts"]["alpha"])].sort_values("lds", ascending=False)
    table = Table(title=f"LDS over held-out coalitions, alpha {found['facts']['alpha']:g}", title_justify="left")
    for column in ("attribution", "LDS", "95% interval"):
        table.add_column(column, justify="left" if column == "attribution" else "right")
    for row in middle.to_dict("records"):
        label = attribution_label(row["attribution"])
        table.add_row(Text(label), f"{row['lds']:.1%}", f"{row['low']:.1%} … {row['high']:.1%}")
    console.print(table)
    if found["ceiling"] is not None:
        console.print(f"The noise of retraining allows {found['ceiling']:.1%}.")
    console.print(f"{found['facts']['models retrained']} models were retrained, or in the store; {seconds:.0f} s.")
    for note in found["notes"]:
        console.print(Text(f"note: {note}", style="yellow"))
    console.print(Text(f"report: {out / 'evaluation.html'}"), soft_wrap=True)
    hint = out / "mlflow.txt"
    if hint.is_file():
        console.print(Text(f"MLflow: {hint.read_text().strip()}"), soft_wrap=True)
