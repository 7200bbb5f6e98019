"""What a coalition costs and what LDS the values have, against the pruning ratio and the steps of fine-tuning.

Values the contributors of a finished evaluation anew with one knob turned at a time, and judges the values by the
models that the evaluation retrained. The preset's defaults do not come from this curve, whose judges also judge the
preset, but from benchmarks/fidelity.py and benchmarks/small_coalitions.py, which have coalitions of their own.

    python -m benchmarks.lds_curve --valuation runs/reproduce/digits-small      # benchmarks/results/lds_curve.csv
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shapley_core.config import ValuationConfig
from shapley_core.evaluation.coalitions import middle_share
from shapley_core.evaluation.judgement import HeldOut, lds_table
from shapley_core.games.plan import Plan
from shapley_core.stages.chain import value

#: Knob to its values.
KNOBS: dict[str, tuple[float, ...]] = {
    "pruning.ratio": (0.0, 0.3, 0.5, 0.7),
    "finetuning.steps": (80, 160, 320, 640),
}
RESULTS = Path(__file__).parent / "results" / "lds_curve.csv"


def measure(valuation: Path, n_coalitions: int, out: Path) -> pd.DataFrame:
    """One row for each setting of a knob: seconds of a coalition, times cheaper than retraining, LDS.

    Args:
        valuation: results of a valuation, evaluated.
        n_coalitions: that the values are solved from, the same for all settings.
        out: folder for files on the way.
    """
    settings = ValuationConfig.load(valuation / "config.yaml")
    measured = pd.read_parquet(valuation / "evaluation" / "measurements.parquet")
    retrained = measured[measured["method"] == "retraining"]
    judge = HeldOut.of(retrained, middle_share(settings.evaluation), len(_contributors(valuation)))
    price = _seconds(retrained[(retrained["status"] == "ok") & (retrained["members"].map(len) > 0)])
    rows = []
    for knob, choices in KNOBS.items():
        for choice in choices:
            overrides: dict[str, Any] = {knob: choice, "game.n_coalitions": n_coalitions}
            folder = out / f"{knob}={choice:g}"
            preset = str(valuation / "config.yaml")
            results = value(folder, overrides, valuation / "store", preset=preset)
            tau = pd.read_parquet(results / "values.parquet").set_index("contributor")["value"]
            order = Plan.load(folder / "plan").contributors
            row = lds_table({"tau": tau.reindex([*order]).to_numpy()}, [judge], "tau", seed=0).iloc[0]
            utilities = pd.read_parquet(results / "utilities.parquet")
            seconds = _seconds(utilities[utilities["training_seconds"] > 0])
            rows.append(
                {
                    "knob": knob,
                    "value": choice,
                    "coalitions": n_coalitions,
                    "seconds": seconds,
                    "times_cheaper": price / seconds,
                    **{name: row[name] for name in ("lds", "low", "high")},
                }
            )
            pd.DataFrame(rows).to_csv(RESULTS, index=False)
            logging.info("%s %g: %.1f s, LDS %.1f %%", knob, choice, seconds, 100 * row["lds"])
    return pd.DataFrame(rows)


def _contributors(valuation: Path) -> list[str]:
    return pd.read_parquet(valuation / "values.parquet")["contributor"].tolist()


def _seconds(rows: pd.DataFrame) -> float:
    return float(np.median(rows["training_seconds"] + rows["sampling_seconds"]))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--valuation", type=Path, default=Path("runs/reproduce/digits-small"))
    parser.add_argument("--coalitions", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/lds_curve"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    print(measure(arguments.valuation, arguments.coalitions, arguments.out).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
