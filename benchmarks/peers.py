"""What other packages make of the same games: run by benchmarks/estimators.py in an environment that has the package.

python -m benchmarks.peers shap shapiq --repetitions 30 --out folder

Writes a file per cell (a method on a game, at a noise and a budget) when it is done; cells that have theirs are left
out, so that it goes on where it was killed.
"""

import argparse
import contextlib
import io
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.oracle import SMALL, Floats, Oracle, cells_to_do

Method = Callable[[Oracle, int, int], Floats]


def shap_kernel(oracle: Oracle, m: int, seed: int) -> Floats:
    """``shap.KernelExplainer``, the players as features that are there or not; without its choice of features."""
    import shap

    n = oracle.game.n
    np.random.seed(seed)  # noqa: NPY002 -- what shap draws from
    explainer = shap.KernelExplainer(oracle, np.zeros((1, n)))
    return np.asarray(explainer.shap_values(np.ones((1, n)), nsamples=m, l1_reg=0, silent=True))[0]


def shapiq_by_name(name: str) -> Method:
    """An approximator of ``shapiq``; its budget counts the empty and the full coalition."""

    def method(oracle: Oracle, m: int, seed: int) -> Floats:
        import shapiq.approximator

        n = oracle.game.n
        # The empty coalition is worth nothing to it: it is told the difference.
        null = oracle(np.zeros((1, n)))[0]
        approximator = getattr(shapiq.approximator, name)(n=n, random_state=seed)
        result = approximator.approximate(m + 2, lambda z: oracle(z) - null)
        return np.array([result[(i,)] for i in range(n)])

    return method


def pydvl_permutation(oracle: Oracle, m: int, seed: int) -> Floats:
    """pyDVL's permutation sampling: as many whole permutations as the budget has."""
    from pydvl.valuation import Dataset, PermutationSampler, ShapleyValuation
    from pydvl.valuation.stopping import MaxUpdates
    from pydvl.valuation.utility.base import UtilityBase

    n = oracle.game.n

    class Utility(UtilityBase):
        def __call__(self, sample):
            if sample is None:
                return float(oracle(np.zeros((1, n)))[0])
            row = np.zeros((1, n), dtype=bool)
            row[0, np.asarray(sample.subset, dtype=int)] = True
            return float(oracle(row)[0])

    data = Dataset(np.arange(n, dtype=float)[:, None], np.zeros(n))
    permutations = max(1, m // (n - 1))
    valuation = ShapleyValuation(
        utility=Utility(), sampler=PermutationSampler(seed=seed), is_done=MaxUpdates(permutations), progress=False
    )
    result = valuation.fit(data).result
    values = np.empty(n)
    values[np.asarray(result.indices)] = np.asarray(result.values)
    return values


def timed(method: Method, oracle: Oracle, m: int, seed: int) -> tuple[Floats, float]:
    """What a method says, which may print what it likes, and how many seconds it took besides asking."""
    begun = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        values = method(oracle, m, seed)
    return values, time.perf_counter() - begun - oracle.seconds


PEERS: dict[str, dict[str, Method]] = {
    "shap": {"shap KernelExplainer": shap_kernel},
    "shapiq": {f"shapiq {name}": shapiq_by_name(name) for name in ("KernelSHAP", "PermutationSamplingSV", "SVARM")},
    "pydvl": {"pyDVL permutation": pydvl_permutation},
}

#: Contributors of the largest game that a slow method is asked for: half a minute for a repetition of the large games.
_UP_TO = {"shapiq SVARM": SMALL}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="+", choices=list(PEERS))
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    methods = {name: method for peer in arguments.peers for name, method in PEERS[peer].items()}
    warnings.simplefilter("ignore")
    to_do = cells_to_do(methods, _UP_TO, arguments.out)
    for number, cell in enumerate(to_do, 1):
        rows: list[dict[str, object]] = []
        for repetition in range(arguments.repetitions):
            oracle = cell.oracle(repetition)
            try:
                values, seconds = timed(methods[cell.method], oracle, cell.m, repetition)
            except Exception as error:
                print(f"{cell}: {type(error).__name__}: {error}", flush=True)
                break
            of = {f"value_{i}": value for i, value in enumerate(values)}
            rows.append(cell.facts(repetition) | {"milliseconds": 1e3 * seconds, "asked": len(oracle.asked)} | of)
        cell.keep(rows, arguments.out)
        print(f"{number} of {len(to_do)}: {cell}", flush=True)


if __name__ == "__main__":
    main()
