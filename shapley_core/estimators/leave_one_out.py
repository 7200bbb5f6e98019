"""Leave-one-out: what is lost when one contributor goes, v(N) - v(N without i) (paper eq. 11).

**When.** The cheapest attribution, n coalitions, and a baseline. It sees one marginal contribution of each contributor,
the one to everybody else, where with redundant data nobody is missed; it does not sum to v(N) - v(∅).

**Uncertainty.** Each value is one difference of two measurements that were made once, so nothing can be said about
it: there are no standard errors.
"""

import numpy as np

from shapley_core.errors import UserError
from shapley_core.estimators.accept import accept
from shapley_core.estimators.result import Attribution, attribute, not_efficient
from shapley_core.games.measured import MeasuredGame


def leave_one_out(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """v(N) - v(N without i); ``seed`` is of no account.

    Returns:
        Values without standard errors or intervals. ``diagnostics``: ``sum_of_values`` with a ``note``, and those of
        ``attribute``.

    Raises:
        UserError: the design does not fit, the game is not sound, or somebody's coalition was not measured.
    """
    accept(game, "leave_one_out")
    n = len(game.contributors)
    rows = np.flatnonzero(game.membership.sum(axis=1) == n - 1)
    values = np.full(n, np.nan)
    values[game.membership[rows].argmin(axis=1)] = game.full_value - game.values[rows]
    missing = [name for name, value in zip(game.contributors, values, strict=True) if np.isnan(value)]
    if missing:
        raise UserError(
            f"the coalition of everybody but {missing[0]} was not measured"
            + (f", and {len(missing) - 1} more like it" if len(missing) > 1 else "")
            + ": run the same command again to measure what is missing"
        )
    warning = (
        "Leave-one-out values rest on one measurement each: nothing can be said about how certain they are, nor "
        "about the ranking."
    )
    diagnostics = not_efficient("Leave-one-out", values)
    return attribute(game, "leave_one_out", values, None, 1, confidence, diagnostics, [warning])
