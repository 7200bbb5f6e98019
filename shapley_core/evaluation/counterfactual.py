"""Counterfactual evaluation: what becomes of the model without its top contributors, or with them alone (paper §4.4)?

    Delta F = ( F(theta_k) - F(theta) ) / F(theta)

theta_k is retrained after the k contributors that an attribution ranks first were removed, or on them alone. A good
attribution makes the first strongly negative and the second less so than others do. F has to be a ratio scale: where
F(theta) is zero, or the sign of F has no meaning, the relative change says nothing.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError

Action = Literal["remove", "keep"]


def counterfactual_coalition(
    attribution: npt.NDArray[np.float64], share: float, action: Action
) -> npt.NDArray[np.bool_]:
    """(n,) bool, the contributors that are left after removing, or keeping alone, the top ``share`` of them.

    round(share n) contributors, at least one and at most n - 1; equal attributions in the order of contributors.

    Raises:
        UserError: the share is not between 0 and 1.
    """
    n = len(attribution)
    if not 0 < share < 1:
        raise UserError(f"the share of top contributors must be between 0 and 1, and is {share}")
    k = min(max(round(share * n), 1), n - 1)
    top = np.zeros(n, dtype=bool)
    top[np.argsort(-attribution, kind="stable")[:k]] = True
    return top if action == "keep" else ~top


def relative_change(after: float, before: float) -> float:
    """Delta F.

    Raises:
        UserError: the property of the full model is zero.
    """
    if before == 0:
        raise UserError("the property of the full model is 0, and a change relative to it is not defined")
    return (after - before) / before
