"""The LDS of finished valuations by models retrained for the purpose, on coalitions that nothing was chosen by.

Draws held-out coalitions of half the contributors of the digits, with a seed of their own, retrains a model for each
with the preset's own training, and judges the values of every valuation named.

    OMP_NUM_THREADS=1 python -m benchmarks.fresh_judges runs/digits runs/other --out runs/fresh
    # benchmarks/results/fresh_judges.csv
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.shards import PROCESSES, measured
from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.evaluation.judgement import HeldOut, lds_table, membership_of
from shapley_core.games.plan import make_plan
from shapley_core.stages.chain import Chain

RESULTS = Path(__file__).parent / "results" / "fresh_judges.csv"
SETTINGS: dict[str, Any] = {
    "seed": 20261128,
    "game.coalition_model": "retraining",
    "run.loop_threads": 1,
}


def retrained(out: Path, n_coalitions: int) -> HeldOut:
    """The judges; what was retrained is kept in ``out``, and taken from there."""
    chain = Chain(out, str(out / "store"))
    chain.prepare("digits", SETTINGS)
    chain.models()
    fingerprints = ContributorDataset.load(chain.path("dataset")).fingerprints
    shard_size = -(-(n_coalitions + 2) // PROCESSES)
    drawn = make_plan(fingerprints, "held_out(0.5)", n_coalitions, SETTINGS["seed"], shard_size)
    drawn.save(chain.path("plan"))
    table = measured(chain, drawn.shards)
    judged = drawn.table[drawn.table["kind"] == "sampled"].merge(table, on=["key", "seed"])
    judged = judged[judged["status"] == "ok"]
    membership = membership_of(judged["members"], len(drawn.contributors))
    return HeldOut(0.5, membership, judged["value"].to_numpy(dtype=float), np.zeros(len(judged), dtype=np.int64))


def judge(valuations: list[Path], judges: HeldOut) -> pd.DataFrame:
    """One row per valuation: its steps of fine-tuning, its coalitions, and its LDS with a bootstrap interval."""
    rows = []
    for valuation in valuations:
        settings = ValuationConfig.load(valuation / "config.yaml")
        values = pd.read_parquet(valuation / "values.parquet").set_index("contributor")["value"].sort_index()
        score = lds_table({"values": values.to_numpy()}, [judges], "values", seed=0).iloc[0]
        rows.append(
            {
                "finetuning_steps": settings.finetuning.steps,
                "coalitions": settings.game.n_coalitions,
                "judges": len(judges.utilities),
                **{name: score[name] for name in ("lds", "low", "high")},
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("valuations", type=Path, nargs="+", help="folders with the results of valuations of the digits")
    parser.add_argument("--coalitions", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("runs/fresh"))
    arguments = parser.parse_args()
    table = judge(arguments.valuations, retrained(arguments.out, arguments.coalitions))
    table.round(3).to_csv(RESULTS, index=False)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
