"""Where contributors can stand in for each other: what the LDS loses by sparsified fine-tuning, and what by adding up.

An attribution says what each contributor is worth, and the LDS asks whether the sum over a coalition orders coalitions
as retraining does. Where every digit class is shared by two contributors, a coalition that has both gains little by the
second, and no sum can say so. What was measured of sparsified fine-tuning can: a regression on pairs beside single
contributors, fitted to the coalitions of the valuation, is judged by the same retrained models.

    python -m benchmarks.substitutes docs/evidence-digits20      # benchmarks/results/substitutes.csv

The folder is that of an evaluation (docs/evaluation-results.md) of digits with ``data.digits.contributors_per_digit``
of 2.
"""

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import RidgeCV

from shapley_core.evaluation.judgement import HeldOut, lds_table, membership_of
from shapley_core.evaluation.result import LEAVE_ONE_OUT, OURS

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

RESULTS = Path(__file__).parent / "results" / "substitutes.csv"

#: Penalties of the ridge, of which each regression takes the one with the smallest leave-one-out error.
PENALTIES = np.geomspace(1e-2, 1e4, 25)


def predictions(evaluation: Path, alpha: float = 0.5) -> pd.DataFrame:
    """One row per prediction: LDS in percent with its interval.

    Args:
        evaluation: results of an evaluation.
        alpha: share of contributors in the held-out coalitions.
    """
    measured = pd.read_parquet(evaluation / "measurements.parquet")
    told = pd.read_parquet(evaluation / "attributions.parquet").set_index("contributor")
    judge = HeldOut.of(measured[measured["method"] == "retraining"], alpha, len(told))
    fitted = measured[(measured["method"] == "sparsified_finetuning") & (measured["purpose"] == "fit")]
    fitted = fitted[fitted["status"] == "ok"].drop_duplicates("key")
    rows, utilities = membership_of(fitted["members"], len(told)), fitted["value"].to_numpy()
    digits = [name.split(",")[0] for name in told.index]
    predicted = {
        "Shapley values by sparsified fine-tuning": judge.membership @ told[OURS].to_numpy(),
        "leave-one-out by retraining": judge.membership @ told[LEAVE_ONE_OUT].to_numpy(),
        "the best sum of contributors, fitted to the judges": _of_judges(judge),
        "contributors, fitted to sparsified fine-tuning": _regression(rows, utilities, judge.membership, 1),
        "contributors and pairs, fitted to sparsified fine-tuning": _regression(rows, utilities, judge.membership, 2),
        "how many different digits there are": _different(judge.membership, digits),
    }
    # A prediction stands where a contributor's membership does, and the attribution picks it.
    columns = np.column_stack([*predicted.values()])
    each = dict(zip(predicted, np.eye(len(predicted)), strict=True))
    table = lds_table(each, [replace(judge, membership=columns)], next(iter(predicted)), seed=0)
    table[["lds", "low", "high"]] *= 100
    return table[["attribution", "lds", "low", "high"]].rename(columns={"attribution": "prediction"})


def _of_judges(judge: HeldOut) -> Floats:
    """(B,) the sum of contributors that fits the judges themselves best, which no attribution can know."""
    of_set = judge.sets[:, None] == np.unique(judge.sets)
    coefficients = np.linalg.lstsq(np.hstack([judge.membership, of_set]).astype(float), judge.utilities)[0]
    n = judge.membership.shape[1]
    fitted: Floats = judge.membership @ coefficients[:n]
    return fitted


def _regression(rows: Rows, utilities: Floats, held_out: Rows, order: int) -> Floats:
    """(B,) a ridge regression on interactions of at most ``order`` contributors, fitted to ``rows``."""
    fitted = RidgeCV(PENALTIES).fit(_signs(rows, order), utilities)
    predicted: Floats = fitted.predict(_signs(held_out, order))
    return predicted


def _signs(rows: Rows, order: int) -> Floats:
    """Products of at most ``order`` of the signs, 1 for a member and -1 for nobody."""
    signs = np.where(rows, 1.0, -1.0)
    n = rows.shape[1]
    sets = [chosen for k in range(1, order + 1) for chosen in itertools.combinations(range(n), k)]
    return np.column_stack([signs[:, chosen].prod(axis=1) for chosen in sets])


def _different(rows: Rows, digits: list[str]) -> Floats:
    """(B,) number of digits that any member has."""
    have = [rows[:, [of == digit for of in digits]].any(axis=1) for digit in dict.fromkeys(digits)]
    return np.sum(have, axis=0).astype(float)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    table = predictions(parser.parse_args().evaluation).round(1)
    table.to_csv(RESULTS, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
