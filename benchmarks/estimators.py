"""Estimators judged on games whose values are known, against the paper's method and other packages.

Every method gets the same games, the same noise and the same number of coalitions besides null and full. The peers run
in environments of their own (``make bench-estimators`` makes them), because their requirements do not agree with ours.

    python -m benchmarks.estimators measure --out runs/estimators --peers shap,shapiq=…/python pydvl=…/python
    OMP_NUM_THREADS=1 python -m benchmarks.estimators scale         # benchmarks/results/estimator_scale.csv
    python -m benchmarks.estimators report --out runs/estimators    # benchmarks/results/estimators.csv, docs/
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from benchmarks.oracle import FACTS, SMALL, Cell, Game, cells_to_do, closed_form, games
from shapley_core.errors import UserError
from shapley_core.estimators import get_estimator

matplotlib.use("Agg")
import matplotlib.pyplot as plt

#: Title of a method to the design that draws its coalitions and its estimator.
METHODS = {
    "the paper's": ("iid", "kernel_shap"),
    "kernel_shap, paired": ("paired", "kernel_shap"),
    "leverage_shap": ("leverage", "leverage_shap"),
    "odd_ridge": ("leverage", "odd_ridge"),
    "odd_ridge, paired": ("paired", "odd_ridge"),
    "odd_ridge, iid": ("iid", "odd_ridge"),
    "polyshap": ("paired", "polyshap"),
    "regression_msr": ("leverage", "regression_msr"),
    "tree_msr": ("leverage", "tree_msr"),
    "stratified": ("stratified", "stratified"),
    "permutation": ("antithetic_permutation", "permutation"),
}
#: Those of the estimator that a valuation takes, to their design.
_DEFAULTS = {"odd_ridge": "leverage", "odd_ridge, paired": "paired"}
#: How many times the repetitions they get on small games: the coverage of ten values is told by 300 to 1.5 points only.
_MORE = 4
#: Contributors of the largest game that a slow method is asked for: seconds for a repetition with twenty.
_UP_TO = {"tree_msr": 10}
#: Above that it fits no interactions, and is leverage_shap.
_POLYSHAP_UP_TO = 1000
#: It draws the same orders, and gives the same values.
_SAME_AS_PYDVL = "shapiq PermutationSamplingSV"
#: Coalitions up to which an estimate is repeated.
_SHORT = 5000
_RESULTS = Path(__file__).parent / "results" / "estimators.csv"
_DOCS = Path(__file__).parents[1] / "docs"


def measure(out: Path, peers: list[str], repetitions: int) -> None:
    """Every method on every game, budget and repetition; what has its file is left out (:class:`.Cell`)."""
    to_do = cells_to_do(METHODS, _UP_TO, out / "ours")
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        running = {pool.submit(_measure_cell, cell, repetitions, out / "ours"): cell for cell in to_do}
        for number, future in enumerate(as_completed(running), 1):
            future.result()
            print(f"{number} of {len(to_do)}: {running[future]}", flush=True)
    root = Path(__file__).parents[1]
    processes = []
    for peer in peers:
        packages, _, python = peer.partition("=")
        command = [python, "-m", "benchmarks.peers", *packages.split(","), "--repetitions", str(repetitions)]
        environment = os.environ | {"PYTHONPATH": str(root)}
        processes.append(subprocess.Popen([*command, "--out", str(out / "peers")], env=environment, cwd=root))
    failed = [process.wait() for process in processes]
    if any(failed):
        sys.exit("a peer's environment failed; its own message is above")


def _measure_cell(cell: Cell, repetitions: int, out: Path) -> None:
    if cell.method in _DEFAULTS and games()[cell.game].n <= SMALL:
        repetitions *= _MORE
    rows = []
    for repetition in range(repetitions):
        try:
            rows.append(cell.facts(repetition) | _one(cell, repetition))
        except UserError:
            continue  # too few coalitions for this estimator; the report counts the repetitions
    cell.keep(rows, out)


def _one(cell: Cell, repetition: int) -> dict[str, object]:
    game, oracle = games()[cell.game], cell.oracle(repetition)
    design, estimator = METHODS[cell.method]
    measured = closed_form.measure(oracle, game.n, design, cell.m, repetition)
    begun = time.perf_counter()
    attribution = get_estimator(estimator)(measured, seed=repetition)
    milliseconds = 1e3 * (time.perf_counter() - begun)
    inside = (attribution.ci_low <= game.values) & (game.values <= attribution.ci_high)
    told = np.isfinite(attribution.std_errors)
    farthest = np.argmax(np.abs(game.values - game.values.mean()))
    return {
        "milliseconds": milliseconds,
        "asked": len(oracle.asked),
        "coverage": float(inside[told].mean()) if told.any() else np.nan,
        "covers_farthest": float(inside[farthest]) if told[farthest] else np.nan,
        **judged(game, attribution.values),
    }


def judged(game: Game, values: np.ndarray) -> dict[str, float]:
    """Squared error over the spread of the true values (1: no better than equal shares), and rank correlation."""
    spread = ((game.values - game.values.mean()) ** 2).sum()
    with np.errstate(invalid="ignore"):
        rank = spearmanr(values, game.values).statistic if np.ptp(values) else 0.0
    return {"error": float(((values - game.values) ** 2).sum() / spread), "spearman": float(rank)}


def collected(out: Path) -> pd.DataFrame:
    """Our rows and the peers', judged alike."""
    place = {name: number for number, name in enumerate(games())}
    parts = [pd.read_csv(path) for path in sorted(out.glob("ours/*/*.csv"))]
    for path in sorted(out.glob("peers/*/*.csv")):
        table = pd.read_csv(path)
        values = table.filter(like="value_").to_numpy(dtype=float)
        scores = [judged(games()[name], row) for name, row in zip(table["game"], values, strict=True)]
        parts.append(pd.concat([table[[*FACTS]], pd.DataFrame(scores)], axis=1))
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    # In the order of games and noises, whatever was measured first.
    order = rows.assign(game=rows["game"].map(place), quiet=rows["noise"] != "none")
    return rows.loc[order.sort_values(["game", "quiet", "m"], kind="stable").index]


def report(out: Path) -> None:
    """The table of medians and quartiles, figures, and the part of docs/estimators.md that is made of numbers."""
    rows = collected(out)
    keys = ["game", "n", "noise", "m", "method"]
    grouped = rows.groupby(keys, sort=False)
    table = grouped.agg(
        error_mean=("error", "mean"),
        error_median=("error", "median"),
        error_lower=("error", lambda e: e.quantile(0.25)),
        error_upper=("error", lambda e: e.quantile(0.75)),
        spearman=("spearman", "median"),
        coverage=("coverage", "mean"),
        covers_farthest=("covers_farthest", "mean"),
        milliseconds=("milliseconds", "median"),
        repetitions=("error", "size"),
    ).reset_index()
    _RESULTS.parent.mkdir(exist_ok=True)
    table.round(5).to_csv(_RESULTS, index=False)
    (_DOCS / "estimators-tables.md").write_text(_tables(table))
    for kind, name in (("digits", "estimators-real"), ("n=", "estimators-closed-form")):
        _figure(table[table["game"].str.contains(kind, regex=False)], _DOCS / f"{name}.png")


def _tables(table: pd.DataFrame) -> str:
    """Median error at 4n and 10n, coverage of all methods at 10n and more and of the default, milliseconds."""
    lines = ["<!-- written by python -m benchmarks.estimators report -->", ""]
    for times in (4, 10):
        chosen = table[table["m"] == times * table["n"]]
        lines += [f"## Median normalised squared error at m = {times}n", "", *_markdown(chosen, "error_median", 3), ""]
        lines += [f"## Rank correlation at m = {times}n", "", *_markdown(chosen, "spearman", 2), ""]
    covered = table[(table["m"] >= 10 * table["n"]) & (table["noise"] != "none") & table["coverage"].notna()]
    covered = covered.groupby(["game", "n", "noise", "method"], sort=False, as_index=False)["coverage"].mean()
    lines += ["## Coverage of the 95 % interval, games with noise, m of 10n and more", ""]
    lines += [*_markdown(covered, "coverage", 3), ""]
    defaults = table[table["method"].isin(_DEFAULTS) & (table["m"] > 2 * table["n"]) & (table["noise"] != "none")]
    defaults = defaults.assign(design=defaults["method"].map(_DEFAULTS)).sort_values(
        ["n", "design", "m"], kind="stable"
    )
    defaults["method"] = defaults["design"] + ", " + (defaults["m"] // defaults["n"]).astype(str) + "n"
    lines += ["## Coverage of odd_ridge's intervals, by design and budget", "", *_markdown(defaults, "coverage", 3), ""]
    lines += ["## The same of the one contributor that is farthest from the others", ""]
    lines += [*_markdown(defaults, "covers_farthest", 2), ""]
    chosen = table[(table["m"] == 4 * table["n"]) & (table["noise"] == "none")]
    lines += ["## Milliseconds at m = 4n, games without noise", "", *_markdown(chosen, "milliseconds", 1), ""]
    return "\n".join(lines)


def _markdown(table: pd.DataFrame, value: str, digits: int) -> list[str]:
    wide = table.assign(game=table["game"] + ", noise: " + table["noise"]).pivot_table(
        value, "game", "method", sort=False
    )
    head = ["game", *wide.columns]
    rows = [[game, *("" if np.isnan(x) else f"{x:.{digits}f}" for x in row)] for game, row in wide.iterrows()]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _figure(table: pd.DataFrame, path: Path) -> None:
    """Error against budget: one panel per game and noise, medians with their quartiles."""
    shown = ["the paper's", "leverage_shap", "odd_ridge", "regression_msr", "permutation"]
    shown += [method for method in table["method"].unique() if method not in METHODS and method != _SAME_AS_PYDVL]
    panels = list(table.groupby(["game", "noise"], sort=False))
    columns = 4
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(15, 0.6 + 3.2 * lines), squeeze=False, layout="constrained")
    for axis, ((game, noise), part) in zip(axes.flat, panels, strict=False):
        for colour, method in zip(plt.colormaps["tab10"].colors, shown, strict=False):
            line = part[part["method"] == method].sort_values("m")
            if len(line):
                x = line["m"] / line["n"]
                axis.plot(x, line["error_median"], "o-", color=colour, label=method, markersize=3)
                axis.fill_between(x, line["error_lower"], line["error_upper"], color=colour, alpha=0.12, linewidth=0)
        axis.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
        axis.set(xscale="log", yscale="log", title=f"{game}, noise: {noise}")
        axis.title.set_fontsize(7)
        ticks = sorted((part["m"] / part["n"]).unique())
        axis.set_xticks(ticks, [f"{tick:.0f}n" for tick in ticks])
        axis.minorticks_off()
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    figure.supxlabel("coalitions", fontsize=9)
    figure.supylabel("squared error (1: equal shares)", fontsize=9)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def scale() -> None:
    """Seconds and memory of each estimator at sizes that people have, each in a process of its own.

    Seconds of computing, so that they mean the same on a machine that does other work, too; one core does it all.
    """
    rows = []
    for n, m in ((100, 1000), (100, 5000), (100, 20000), (258, 1000), (500, 5000), (1000, 5000), (1000, 20000)):
        for design, estimator in (
            ("iid", "kernel_shap"),
            ("leverage", "leverage_shap"),
            ("leverage", "odd_ridge"),
            ("leverage", "regression_msr"),
            ("paired", "polyshap"),
            ("iid", "polyshap"),
        ):
            if estimator == "polyshap" and m > _POLYSHAP_UP_TO:
                continue
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                seconds, memory = pool.submit(_at_scale, n, m, design, estimator).result()
            rows.append({"n": n, "m": m, "design": design, "estimator": estimator, "seconds": seconds, "mib": memory})
            print(rows[-1], flush=True)
            pd.DataFrame(rows).round(4).to_csv(_RESULTS.with_name("estimator_scale.csv"), index=False)


def _at_scale(n: int, m: int, design: str, estimator: str) -> tuple[float, float]:
    """Median seconds of a game's estimates, three where they are short, and the peak memory in MiB."""
    weights = np.random.default_rng(0).uniform(0, 1, n)
    game = closed_form.measure(lambda z: np.sqrt(z @ weights), n, design, m, noise=0.5)
    seconds = []
    for seed in range(3 if m <= _SHORT else 1):
        begun = time.process_time()
        get_estimator(estimator)(game, seed=seed)
        seconds.append(time.process_time() - begun)
    return float(np.median(seconds)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "scale", "report"])
    parser.add_argument("--out", type=Path, default=Path("runs/estimators"))
    parser.add_argument("--peers", nargs="*", default=[], help="names=python of the environment that has them")
    parser.add_argument("--repetitions", type=int, default=30)
    arguments = parser.parse_args()
    if arguments.what == "measure":
        measure(arguments.out, arguments.peers, arguments.repetitions)
    elif arguments.what == "scale":
        scale()
    else:
        report(arguments.out)


if __name__ == "__main__":
    main()
