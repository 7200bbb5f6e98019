"""What the short cut itself predicts: v(S) of held-out coalitions by sparsified fine-tuning, before the same judges.

No sum of contributors stands between. It lies below the ceiling by what sparsified fine-tuning does not see of
retraining. A second prediction tells how much of what values lack to it any sum must lose: the sum of contributors that
comes nearest to these v(S), by least squares with a constant, without having seen the judges. It is made for this one
size, where Shapley values weigh all sizes alike, and for these very coalitions, where values are solved from others:
more than it has, no values of this game can be expected to have.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from shapley_core.errors import UserError
from shapley_core.evaluation.judgement import HeldOut, judged, succeeded

Floats = npt.NDArray[np.float64]

COLUMNS = ["prediction", "alpha", "n_coalitions", "lds", "low", "high"]


def short_cut_table(measured: pd.DataFrame, judges: Sequence[HeldOut], seed: int) -> pd.DataFrame:
    """``short_cut`` of :class:`~shapley_core.evaluation.result.EvaluationResult`.

    Args:
        measured: measurements of sparsified fine-tuning.
        judges: held-out coalitions of each share; those that fine-tuning did not measure are left out.
        seed: of the bootstrap.
    """
    there = succeeded(measured[measured["purpose"] == "held_out"])
    known = dict(zip(map(tuple, there["members"]), there["value"], strict=True))
    rows = []
    for judge in judges:
        v = np.array([known.get(tuple(np.flatnonzero(row)), np.nan) for row in judge.membership])
        both = np.isfinite(v)
        if not both.any():
            continue
        judge, v = judge.only(both), v[both]
        try:
            rows += judged({"v": v, "sum": nearest_sum(judge.membership, v)}, judge, "v", seed).to_dict("records")
        except UserError:  # too few of a set
            continue
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(["alpha", "lds", "low", "high"], float))


def nearest_sum(membership: npt.NDArray[np.bool_], v: Floats) -> Floats:
    """(B,) the sum over members that comes nearest to v (B,) by least squares, where membership is (B, n)."""
    with_constant = np.column_stack([np.ones(len(v)), membership])
    nearest: Floats = with_constant @ np.linalg.lstsq(with_constant, v)[0]
    return nearest
