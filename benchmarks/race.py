"""How long estimates take beside the peers': the same utilities, one after another in one process, by turns.

    OMP_NUM_THREADS=1 runs/peers/bin/python -m benchmarks.race     # benchmarks/results/race.csv

Runs in the environment of ``make bench-estimators`` that has shap and shapiq.
"""

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks.oracle import Cell, closed_form, games
from benchmarks.peers import PEERS, timed
from shapley_core.estimators import get_estimator

_RESULTS = Path(__file__).parent / "results" / "race.csv"
_GAMES = ("digits-finetuning inception_score, smoothed", "weighted_voting n=20", "weighted_voting n=258")
_OURS = (("odd_ridge", "paired"), ("odd_ridge", "leverage"), ("leverage_shap", "leverage"))
_THEIRS = {**PEERS["shap"], "shapiq KernelSHAP": PEERS["shapiq"]["shapiq KernelSHAP"]}
#: Coalitions per contributor, and how often each estimates, after one time that does not count.
_BUDGET, _REPETITIONS = 4, 30


def race() -> pd.DataFrame:
    """One row per game and estimator: median milliseconds, utilities not counted, and how many times shap's that is."""
    rows = []
    for name in _GAMES:
        game = games()[name]
        (noise,) = (noise for noise in game.noises if noise != "none")
        cell = Cell("race", name, noise, _BUDGET * game.n)
        runners = {f"{estimator}, {design}": _ours(cell, estimator, design) for estimator, design in _OURS}
        runners |= {peer: _theirs(cell, peer) for peer in _THEIRS}
        rounds = [{runner: run(seed) for runner, run in runners.items()} for seed in range(_REPETITIONS + 1)]
        milliseconds = 1e3 * pd.DataFrame(rounds[1:]).median()
        facts = {"game": name, "m": cell.m, "milliseconds": milliseconds}
        rows.append(pd.DataFrame(facts | {"times_shap": milliseconds / milliseconds["shap KernelExplainer"]}))
    columns = ["game", "m", "estimator", "milliseconds", "times_shap"]
    return pd.concat(rows).rename_axis("estimator").reset_index()[columns]


def _ours(cell: Cell, estimator: str, design: str) -> Callable[[int], float]:
    def seconds(seed: int) -> float:
        measured = closed_form.measure(cell.oracle(seed), games()[cell.game].n, design, cell.m, seed)
        begun = time.perf_counter()
        get_estimator(estimator)(measured, seed=seed)
        return time.perf_counter() - begun

    return seconds


def _theirs(cell: Cell, peer: str) -> Callable[[int], float]:
    return lambda seed: timed(_THEIRS[peer], cell.oracle(seed), cell.m, seed)[1]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    table = race().round(2)
    table.to_csv(_RESULTS, index=False)
    print(table.to_string(index=False))
