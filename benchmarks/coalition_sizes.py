"""What an LDS loses by asking coalitions of all sizes: sums fitted to those near the judges' size, judged alike.

A Shapley value weighs all sizes alike, and the judges are of one. Of each published evaluation's measurements, a number
for each contributor and a constant for each size,

    v(S) = b_|S| + Σ_{i in S} b_i + error,

are fitted by least squares to those coalitions of the valuation whose size differs from the judges' by so many at most.

    python -m benchmarks.coalition_sizes     # benchmarks/results/coalition_sizes.csv
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from shapley_core.evaluation.judgement import HeldOut, judged, membership_of, succeeded

PUBLISHED = Path(__file__).parents[1] / "docs"
RESULTS = Path(__file__).parent / "results" / "coalition_sizes.csv"
#: Largest differences to the judges' size, as shares of the contributors.
SHARES = (1.0, 0.35, 0.25, 0.15)

Floats = npt.NDArray[np.float64]


def by_size(folder: Path) -> pd.DataFrame:
    """One row per difference: the coalitions fitted to, and the LDS at α = 0.5 with its bootstrap interval.

    Args:
        folder: ``measurements.parquet`` and ``attributions.parquet`` of an evaluation.
    """
    measured = pd.read_parquet(folder / "measurements.parquet")
    n = len(pd.read_parquet(folder / "attributions.parquet"))
    judge = HeldOut.of(measured[measured["method"] == "retraining"], 0.5, n)
    size = int(judge.membership[0].sum())
    seen = succeeded(measured[(measured["method"] == "sparsified_finetuning") & (measured["purpose"] == "fit")])
    membership, v = membership_of(seen["members"], n), seen["value"].to_numpy(dtype=float)
    sizes = membership.sum(axis=1)
    rows = []
    for share in SHARES:
        near = np.abs(sizes - size) <= share * n
        tau = fitted_sum(membership[near], v[near], sizes[near])
        score = judged({"sum": judge.membership @ tau}, judge, "sum", seed=0).iloc[0]
        rows.append(
            {
                "run": folder.name.removeprefix("evidence-"),
                "sizes": f"{max(size - int(share * n), 0)} to {min(size + int(share * n), n)}",
                "coalitions": int(near.sum()),
                **{name: score[name] for name in ("lds", "low", "high")},
            }
        )
    return pd.DataFrame(rows)


def fitted_sum(membership: npt.NDArray[np.bool_], v: Floats, groups: npt.NDArray[np.int64]) -> Floats:
    """(n,) numbers of the contributors whose sums, with a constant for each group (B,) of coalitions, fit v (B,) best.

    By least squares, of the smallest length.
    """
    of_group = groups[:, None] == np.unique(groups)
    coefficients: Floats = np.linalg.lstsq(np.hstack([membership, of_group]).astype(float), v)[0]
    return coefficients[: membership.shape[1]]


def main() -> None:
    """See the module."""
    tables = [by_size(path.parent) for path in sorted(PUBLISHED.glob("evidence-*/measurements.parquet"))]
    table = pd.concat(tables, ignore_index=True).round(3)
    table.to_csv(RESULTS, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
