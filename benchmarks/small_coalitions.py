"""Do coalitions of one or two contributors forget the others? What fine-tuning that takes, and its price.

Fine-tuning starts from everybody's model. A coalition's model should show nothing of those who are not in it, and where
it does, the smallest coalitions tell first: the same of them are measured by retraining, and by sparsified fine-tuning
with several settings. Presets choose their fine-tuning by this, and not by held-out coalitions, which judge them.

    OMP_NUM_THREADS=1 python -m benchmarks.small_coalitions digits finetuning.steps=320 \
        finetuning.steps=320,finetuning.learning_rate=0.002      # benchmarks/results/small_coalitions_digits.csv
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.shards import PROCESSES, measured
from pipelines.settings import parsed
from shapley_core.games.plan import Plan
from shapley_core.stages.chain import Chain

RESULTS = Path(__file__).parent / "results"
#: Contributors of a small coalition at most.
LARGEST = 2
#: The design whose weight is largest at the smallest coalitions (the paper's).
COMMON: dict[str, Any] = {"game.design": "iid", "run.loop_threads": 1}


def measure(out: Path, preset: str, overrides: dict[str, Any], n_coalitions: int) -> pd.DataFrame:
    """Utilities of the first small coalitions, one row each by key; kept in ``out``, and taken from there."""
    chain = Chain(out, str(out.parent / "store"))
    chain.prepare(preset, COMMON | overrides)
    chain.models()
    plan = Plan.load(chain.path("plan"))
    small = plan.table[(plan.table["kind"] == "sampled") & (plan.table["size"] <= LARGEST)]
    small = small.drop_duplicates("key").head(n_coalitions).reset_index(drop=True)
    small["shard"] = small.index % PROCESSES
    Plan(plan.contributors, plan.fingerprints, plan.design, small).save(chain.path("plan"))
    table = measured(chain, range(PROCESSES))
    return table[table["status"] == "ok"].merge(small[["key", "size"]], on="key").set_index("key").sort_index()


def compare(retrained: pd.DataFrame, finetuned: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per setting, and one for retraining: means of v by size, distance, seconds of a coalition."""
    price = _seconds(retrained)
    rows = []
    for name, table in {"retraining": retrained, **finetuned}.items():
        distance = (table["value"] - retrained["value"]).abs()
        by_size = table.groupby("size")["value"].mean()
        rows.append(
            {
                "settings": name,
                "coalitions": len(table),
                **{f"mean_of_{size}": by_size.get(size, np.nan) for size in range(1, LARGEST + 1)},
                "mean_distance": distance.mean(),
                "seconds": _seconds(table),
                "times_cheaper": price / _seconds(table),
            }
        )
    return pd.DataFrame(rows)


def _seconds(table: pd.DataFrame) -> float:
    return float((table["training_seconds"] + table["sampling_seconds"]).median())


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("settings", nargs="+", help="key=value,key=value: settings of a sparsified fine-tuning")
    parser.add_argument("--coalitions", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/small_coalitions"))
    arguments = parser.parse_args()
    preset, out = arguments.preset, arguments.out / arguments.preset
    finetuned = {}
    for settings in arguments.settings:
        overrides = parsed(settings.split(","))
        finetuned[settings] = measure(out / settings, preset, overrides, arguments.coalitions)
    retraining = {"game.coalition_model": "retraining"}
    retrained = measure(out / "retraining", preset, retraining, arguments.coalitions)
    table = compare(retrained, finetuned)
    table.round(3).to_csv(RESULTS / f"small_coalitions_{preset}.csv", index=False)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
