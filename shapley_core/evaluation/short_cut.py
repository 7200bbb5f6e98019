"""What the short cut itself predicts: v(S) of held-out coalitions by sparsified fine-tuning, before the same judges.

No sum of contributors stands between. It lies below the ceiling by what sparsified fine-tuning does not see of
retraining; values lie below it by what adding up, and too few coalitions, lose.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from shapley_core.errors import UserError
from shapley_core.evaluation.judgement import HeldOut, lds_table, succeeded

COLUMNS = ["alpha", "n_coalitions", "lds", "low", "high"]


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
        # A prediction takes the place of a membership, and the attribution picks it.
        judged = replace(judge, membership=v[both, None], utilities=judge.utilities[both], sets=judge.sets[both])
        try:
            rows += lds_table({"v": np.ones(1)}, [judged], "v", seed)[COLUMNS].to_dict("records")
        except UserError:  # too few of a set
            continue
    return pd.DataFrame(rows, columns=COLUMNS, dtype=float).astype({"n_coalitions": int})
