"""What fewer sampling steps, or another solver, change: the properties of coalitions' images, and the values.

Values the digits by images of the paper's 100 DDIM steps and by cheaper ones. Coalitions, training seeds and initial
noise are the same, so whatever differs comes from the sampler. Utilities are kept in a store as they come.

    python -m benchmarks.sampling     # benchmarks/results/sampling.csv
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from shapley_core.stages.chain import value

RESULTS = Path(__file__).parent / "results" / "sampling.csv"
#: Solver and steps; the first is what the others are held against.
SAMPLERS = (
    ("ddim", 100),
    ("ddim", 50),
    ("ddim", 20),
    ("ddim", 10),
    ("ddim", 5),
    ("dpmsolver++", 10),
    ("dpmsolver++", 5),
)
PROPERTIES = ("inception_score", "diversity")


def measure(solver: str, n_steps: int, n_coalitions: int, out: Path) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Property to its values and utilities; both properties are of the same images."""
    results = {}
    for name in PROPERTIES:
        overrides: dict[str, Any] = {
            "finetuning.steps": 80,  # as the preset had them when docs/speed.md was written
            "generation.solver": solver,
            "generation.n_steps": n_steps,
            "game.n_coalitions": n_coalitions,
            "property.name": name,
            "property.also": [other for other in PROPERTIES if other != name],
        }
        folder = value(out / f"{solver}-{n_steps}-{name}", overrides, out / "store")
        utilities = pd.read_parquet(folder / "utilities.parquet")
        values = pd.read_parquet(folder / "values.parquet").set_index("contributor")
        results[name] = values, utilities[utilities["property"] == name].set_index("key")
    return results


def compared(n_coalitions: int, out: Path) -> pd.DataFrame:
    """One row for each sampler and property: seconds, v(S) and values beside those of the first sampler."""
    truth = measure(*SAMPLERS[0], n_coalitions, out)
    rows = []
    for solver, n_steps in SAMPLERS:
        for name, (values, utilities) in measure(solver, n_steps, n_coalitions, out).items():
            true_values, true_utilities = truth[name]
            change = (values["value"] - true_values["value"]).abs()
            rows.append(
                {
                    "solver": solver,
                    "n_steps": n_steps,
                    "property": name,
                    "seconds_per_coalition": utilities["sampling_seconds"].median(),
                    "mean_v": utilities["value"].mean(),
                    "spearman_of_v": utilities["value"].corr(true_utilities["value"], method="spearman"),
                    "spearman_of_values": values["value"].corr(true_values["value"], method="spearman"),
                    "largest_change_in_std_errors": (change / true_values["std_error"]).max(),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coalitions", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("runs/sampling"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    table = compared(arguments.coalitions, arguments.out.absolute())
    print(table.round(3).to_string(index=False))
    table.to_csv(RESULTS, index=False)


if __name__ == "__main__":
    main()
