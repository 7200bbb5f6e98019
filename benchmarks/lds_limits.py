"""What keeps the LDS of Shapley values down: too few coalitions, the short cut, or being Shapley values?

All coalitions of the digits were measured by sparsified fine-tuning of 80 steps (benchmarks/games), so that its Shapley
values are known exactly, and what else can be made of the same game, too. A finished evaluation of the preset's
valuation judges them by its retrained models.

    python -m benchmarks.lds_limits --valuation runs/reproduce/digits-night     # benchmarks/results/lds_limits.csv
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.coalition_sizes import fitted_sum
from benchmarks.oracle import Game, games
from shapley_core.config import ValuationConfig
from shapley_core.estimators.exact import shapley_values
from shapley_core.evaluation.coalitions import middle_share
from shapley_core.evaluation.judgement import HeldOut, judged

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

RESULTS = Path(__file__).parent / "results" / "lds_limits.csv"
GAME = "digits-finetuning inception_score"


def limits(valuation: Path) -> pd.DataFrame:
    """One row per prediction: LDS with its interval, over the models that the valuation's evaluation retrained.

    Args:
        valuation: results of a valuation of all ten digits, evaluated.
    """
    game = games()[GAME]
    settings = ValuationConfig.load(valuation / "config.yaml")
    measured = pd.read_parquet(valuation / "evaluation" / "measurements.parquet")
    retrained = measured[measured["method"] == "retraining"]
    judge = HeldOut.of(retrained, middle_share(settings.evaluation), game.n)
    told = pd.read_parquet(valuation / "evaluation" / "attributions.parquet").set_index("contributor").sort_index()
    attributions = {
        "Shapley values of the valuation": told["shapley_sparsified_finetuning"].to_numpy(),
        "exact Shapley values": game.values,
        "the same, were all single contributors alike": _levelled(game, 1),
        "the same, were all pairs alike, too": _levelled(game, 2),
        "exact Banzhaf values": _difference(game.v, _all(game.n)),
        "exact differences at the judges' size": _difference(game.v, _all(game.n, judge.membership[0].sum())),
        "retraining: Shapley values": told["shapley_retraining"].to_numpy(),
        "retraining: leave-one-out": told["leave_one_out"].to_numpy(),
        "the best sum of contributors, fitted to the judges": fitted_sum(judge.membership, judge.utilities, judge.sets),
    }
    predictions = {name: judge.membership @ tau for name, tau in attributions.items()}
    predictions["v(S) by sparsified fine-tuning itself"] = game.v(judge.membership)
    return judged(predictions, judge, "exact Shapley values", seed=0)[["prediction", "lds", "low", "high"]]


def _all(n: int, size: int | None = None) -> Rows:
    """(rows, n), all coalitions, or those of a size."""
    rows = np.arange(2**n)[:, None] >> np.arange(n) & 1 == 1
    return rows if size is None else rows[rows.sum(axis=1) == size]


def _difference(v: Callable[[Rows], Floats], rows: Rows) -> Floats:
    """(n,) mean utility of the coalitions with a contributor, less that of those without: of all 2ⁿ, Banzhaf values."""
    utilities = v(rows)
    return np.array([utilities[one].mean() - utilities[~one].mean() for one in rows.T])


def _levelled(game: Game, size: int) -> Floats:
    """(n,) Shapley values of the game in which coalitions of one to ``size`` contributors have their size's mean."""
    rows = _all(game.n)
    utilities, sizes = game.v(rows), rows.sum(axis=1)
    for k in range(1, size + 1):
        utilities[sizes == k] = utilities[sizes == k].mean()
    return shapley_values(utilities)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--valuation", type=Path, default=Path("runs/reproduce/digits-night"))
    table = limits(parser.parse_args().valuation)
    table.round(3).to_csv(RESULTS, index=False)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
