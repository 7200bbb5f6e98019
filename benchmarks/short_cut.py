"""What the short cut itself predicts: v(S) of held-out coalitions by sparsified fine-tuning, no sum of contributors.

An attribution can fail because a sum of contributors cannot say what a coalition makes, or because sparsified
fine-tuning does not measure what retraining shows. Here the judges of a finished evaluation are fine-tuned themselves:
the LDS of their own v(S) is what the second reason leaves, whatever is made of the values. It is taken as the valuation
fine-tunes, and with one knob turned at a time.

    OMP_NUM_THREADS=1 python -m benchmarks.short_cut --valuation runs/digits --out runs/short_cut
    # benchmarks/results/short_cut.csv
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.shards import PROCESSES, measured
from shapley_core.config import ValuationConfig
from shapley_core.evaluation.coalitions import evaluation_plan, measurements, middle_share
from shapley_core.evaluation.judgement import HeldOut, lds_table
from shapley_core.games.plan import Plan
from shapley_core.stages.chain import Chain

RESULTS = Path(__file__).parent / "results" / "short_cut.csv"


def measure(valuation: Path, out: Path) -> pd.DataFrame:
    """One row for each way of fine-tuning, and one for the valuation's values: LDS with its bootstrap interval.

    Args:
        valuation: results of a valuation of sparsified fine-tuning, evaluated into their folder ``evaluation``.
        out: folder for files on the way.
    """
    settings = ValuationConfig.load(valuation / "config.yaml")
    alpha = middle_share(settings.evaluation)
    table = pd.read_parquet(valuation / "evaluation" / "measurements.parquet")
    judges = table[
        (table["method"] == "retraining")
        & (table["purpose"] == "held_out")
        & np.isclose(table["share"], alpha)
        & (table["status"] == "ok")
    ]
    values = pd.read_parquet(valuation / "values.parquet").set_index("contributor")["value"].sort_index()
    retrained = HeldOut.of(judges, alpha, len(values))
    judges = judges.drop_duplicates("key")  # as the judges are in order; retrained more than once, fine-tuned once
    rows = [{"what": "sum of values", **_score(retrained, values.to_numpy())}]
    for what, overrides in _variants(settings).items():
        utilities = _fine_tuned(valuation, out / what.replace(" ", "-"), judges, overrides)
        v = utilities["value"].to_numpy()[:, None]
        seconds = float(np.median(utilities["training_seconds"] + utilities["sampling_seconds"]))
        score = _score(replace(retrained, membership=v), np.ones(1))
        rows.append({"what": f"v(S), {what}", "seconds": seconds, **score})
        pd.DataFrame(rows).round(3).to_csv(RESULTS, index=False)
        logging.info("%s: LDS %.1f %%", what, 100 * score["lds"])
    return pd.DataFrame(rows)


def _variants(settings: ValuationConfig) -> dict[str, dict[str, Any]]:
    return {
        "as valued": {},
        "twice the steps": {"finetuning.steps": 2 * settings.finetuning.steps},
        "not pruned": {"pruning.ratio": 0.0},
    }


def _fine_tuned(valuation: Path, folder: Path, judges: pd.DataFrame, overrides: dict[str, Any]) -> pd.DataFrame:
    """Utilities of the judges' coalitions by fine-tuning, in their order; from the valuation's store what it has."""
    chain = Chain(folder, str(valuation / "store"))
    chain.prepare(str(valuation / "config.yaml"), {"run.loop_threads": 1, **overrides})
    chain.models()
    planned = Plan.load(chain.path("plan"))
    rows = measurements(planned, judges)
    drawn = evaluation_plan(planned, rows, np.zeros(len(rows), dtype=bool), -(-len(rows) // PROCESSES))
    drawn.save(chain.path("plan"))
    utilities = judges[["key", "seed"]].merge(measured(chain, drawn.shards), on=["key", "seed"], how="left")
    if (utilities["status"] != "ok").any():
        raise SystemExit(f"not every held-out coalition could be fine-tuned: see {folder}")
    return utilities


def _score(judge: HeldOut, attribution: np.ndarray) -> dict[str, float]:
    row = lds_table({"it": attribution}, [judge], "it", seed=0).iloc[0]
    return {name: float(row[name]) for name in ("lds", "low", "high")}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--valuation", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/short_cut"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    print(measure(arguments.valuation, arguments.out).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
