"""How well does sparsified fine-tuning stand in for retraining, and what does it cost?

Measures the same coalitions of the digits data by retraining (twice, with other training seeds: the noise of the truth
itself) and by sparsified fine-tuning with one knob changed at a time: pruning ratio, steps, learning rate, images,
sampling steps. Utilities are kept in a store as they come: killed and started again, it goes on.

    python -m benchmarks.fidelity measure --out runs/fidelity     # hours on two cores
    python -m benchmarks.fidelity report --out runs/fidelity      # benchmarks/results/fidelity.csv, docs/fidelity.png
"""

import argparse
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from shapley_core.games.plan import Plan
from shapley_core.games.utilities import merge_utilities, read_utilities
from shapley_core.seeds import derive_seed
from shapley_core.stages.chain import Chain
from shapley_core.stages.game_files import utility_file

#: The coalitions: balanced over sizes, each beside its complement.
COALITIONS: dict[str, Any] = {
    "game.design": "leverage",
    "game.n_coalitions": 40,
    "run.shard_size": 8,
    "generation.n_steps": 20,
}
#: What the knobs are turned around: the paper's pruning ratio, and the preset's steps when docs/speed.md was written.
CENTRE: dict[str, Any] = {"pruning.ratio": 0.3, "finetuning.steps": 80}
RETRAINING: dict[str, Any] = {"game.coalition_model": "retraining"}

#: Name of a variant to what it changes; the centre itself is "sparsified".
VARIANTS: dict[str, dict[str, Any]] = {
    "sparsified": {},
    **{f"ratio {r}": {"pruning.ratio": r} for r in (0.0, 0.3, 0.5, 0.7)},
    **{f"steps {n}": {"finetuning.steps": n} for n in (20, 40, 80, 160, 320)},
    **{f"learning rate {lr}": {"finetuning.learning_rate": lr} for lr in (3e-4, 1e-3, 2e-3, 4e-3)},
    **{f"images {n}": {"generation.n_images": n} for n in (128, 256, 512, 1024)},
    **{f"sampling steps {n}": {"generation.n_steps": n} for n in (5, 10, 20, 50, 100)},
    "bfloat16 sampling": {"generation.precision": "bfloat16"},
    **{f"DPM-Solver++ steps {n}": {"generation.n_steps": n, "generation.solver": "dpmsolver++"} for n in (5, 10, 20)},
}


#: Knobs that are drawn.
_KNOBS = ("ratio", "steps", "learning rate", "images", "sampling steps", "DPM-Solver++ steps")
_ROOT = Path(__file__).parents[1]


def measure(out: Path, names: list[str]) -> None:
    """Measure some of :data:`VARIANTS`, or "retraining" with a repetition's number behind it."""
    for name in names:
        if name.startswith("retraining "):
            measure_game(out, name, COALITIONS | RETRAINING, repetition=int(name.split()[1]))
        else:
            measure_game(out, name, COALITIONS | CENTRE | VARIANTS[name], repetition=0)


def measure_game(
    out: Path,
    name: str,
    overrides: Mapping[str, Any],
    repetition: int,
    preset: str = "digits",
    n_measured: int | None = None,
) -> None:
    """Measure the plan's coalitions, all or the first, and write a utility table.

    Every repetition has other training seeds.
    """
    chain = Chain(out / "work" / name, str(out / "store"))
    chain.prepare(preset, overrides)
    chain.models()
    drawn = Plan.load(chain.path("plan"))
    drawn = replace(drawn, table=drawn.table.iloc[:n_measured])
    if repetition:
        drawn.table["seed"] = [derive_seed(int(seed), "repetition", repetition) for seed in drawn.table["seed"]]
    drawn.save(chain.path("plan"))
    shards = drawn.shards
    for shard in shards:
        chain.measure(shard)
    table = merge_utilities(read_utilities(utility_file(chain.path(f"utilities-{shard}"))) for shard in shards)
    table = drawn.table[["key", "seed", "size", "kind"]].drop_duplicates("key").merge(table, on=["key", "seed"])
    (out / "utilities").mkdir(parents=True, exist_ok=True)
    table.to_parquet(out / "utilities" / f"{name}.parquet", index=False)


def _compared(out: Path) -> Iterator[dict[str, Any]]:
    """Each variant beside the first retraining: over all coalitions, and within those of one size.

    Most of v(S) follows from the size of S; what makes contributors differ is what is left within a size.
    """
    truth = _sampled(out / "utilities" / "retraining 0.parquet")
    for path in sorted((out / "utilities").glob("*.parquet")):
        other = _sampled(path)
        both = pd.DataFrame({"size": truth["size"], "truth": truth["value"], "other": other["value"]}).dropna()
        deviation = both[["truth", "other"]] - both.groupby("size")[["truth", "other"]].transform("mean")
        yield {
            "variant": path.stem,
            "coalitions": len(both),
            "pearson": both["truth"].corr(both["other"]),
            "spearman": both["truth"].corr(both["other"], method="spearman"),
            "within_size": deviation["truth"].corr(deviation["other"]),
            "mean": both["other"].mean(),
            "training_seconds": other["training_seconds"].quantile(0.25),
            "sampling_seconds": other["sampling_seconds"].quantile(0.25),
        }


def _sampled(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path).set_index("key")
    return table[table["kind"] == "sampled"]


def draw(table: pd.DataFrame, path: Path) -> None:
    """Fidelity against each knob, with what retraining has with itself as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True).ravel()
    noise = table.loc["retraining 1"]
    for axes, knob in zip(panels, _KNOBS, strict=True):
        points = sorted(
            (float(name.removeprefix(f"{knob} ")), name) for name in table.index if name.startswith(f"{knob} ")
        )
        axes.set_title("" if points else "not measured yet", fontsize=9)
        x, rows = [value for value, _ in points], table.loc[[name for _, name in points]]
        for column, label, colour in (
            ("spearman", "all coalitions (Spearman)", "#1f5fa8"),
            ("within_size", "within a size (Pearson)", "#c2571a"),
        ):
            axes.plot(x, rows[column], "o-", color=colour, label=label)
            axes.axhline(noise[column], color=colour, linestyle=":", linewidth=1)
        axes.set_xlabel(knob)
        axes.set_ylim(0, 1.03)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("correlation with retraining")
    panels[3].set_ylabel("correlation with retraining")
    panels[0].legend(loc="lower right", frameon=False)
    figure.suptitle("How true fine-tuning is to retraining; dotted: retraining with another seed", fontsize=11)
    figure.savefig(path, dpi=110)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("measure", "report"))
    parser.add_argument("names", nargs="*", help="variants to measure; all without names")
    parser.add_argument("--out", type=Path, default=Path("runs/fidelity"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.command == "measure":
        measure(arguments.out, arguments.names or ["retraining 0", "retraining 1", *VARIANTS])
    else:
        table = pd.DataFrame(_compared(arguments.out))
        print(table.round(3).to_string(index=False))
        table.to_csv(_ROOT / "benchmarks" / "results" / "fidelity.csv", index=False)
        draw(table.set_index("variant"), _ROOT / "docs" / "fidelity.png")


if __name__ == "__main__":
    main()
