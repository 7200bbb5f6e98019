"""Does bfloat16 change what a coalition is worth, beyond what another training seed changes, and what does it save?

Measures the same coalitions of a preset in float32, in float32 with other training seeds, and in bfloat16 (fine-tuning
and sampling), from the same pruned model. Utilities are kept in a store as they come.

    python -m benchmarks.precision --preset openmoji     # benchmarks/results/precision.csv
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.fidelity import measure_game
from pipelines.settings import parsed

#: Drawn evenly over the sizes; the first of them are measured.
COALITIONS: dict[str, Any] = {"game.design": "leverage"}
RESULTS = Path(__file__).parent / "results" / "precision.csv"
WAYS: dict[str, dict[str, Any]] = {
    "float32": {"finetuning.precision": "float32", "generation.precision": "float32"},
    "float32, another seed": {"finetuning.precision": "float32", "generation.precision": "float32"},
    "bfloat16": {"finetuning.precision": "bfloat16", "generation.precision": "bfloat16"},
}


def measure(preset: str, overrides: dict[str, Any], n_measured: int, out: Path) -> pd.DataFrame:
    """The utilities of every coalition, one row per way, coalition and property."""
    tables = []
    for way, settings in WAYS.items():
        repetition = int(way.endswith("another seed"))
        measure_game(out, way, overrides | COALITIONS | settings, repetition, preset, n_measured)
        tables.append(pd.read_parquet(out / "utilities" / f"{way}.parquet").assign(way=way))
    return pd.concat(tables)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """By property and way: how far values lie from those in float32, and seconds of a coalition (medians)."""
    table = table[(table["kind"] == "sampled") & (table["status"] == "ok")]
    rows = []
    for name, utilities in table.groupby("property", sort=False):
        by_way = utilities.pivot_table(index="key", columns="way", values="value")
        spread = float(by_way["float32"].std())
        for way in WAYS:
            change = by_way[way] - by_way["float32"]
            seconds = utilities[utilities["way"] == way][["training_seconds", "sampling_seconds"]].median()
            rows.append(
                {
                    "property": name,
                    "way": way,
                    "coalitions": int(change.notna().sum()),
                    "mean_change": float(change.mean()),
                    "sd_of_change": float(change.std()),
                    "largest_change": float(np.abs(change).max()),
                    "sd_of_values": spread,
                    **{column: float(value) for column, value in seconds.items()},
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="openmoji")
    parser.add_argument("--coalitions", type=int, default=24, help="to be measured each way, null and full among them")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of all ways")
    parser.add_argument("--out", type=Path, default=Path("runs/precision"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    table = measure(arguments.preset, parsed(arguments.set), arguments.coalitions, arguments.out.absolute())
    result = summary(table)
    print(result.round(3).to_string(index=False))
    result.to_csv(RESULTS, index=False)


if __name__ == "__main__":
    main()
