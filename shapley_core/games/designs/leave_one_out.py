"""leave_one_out: everybody but one, for each contributor (paper eq. 11)."""

import numpy as np

from shapley_core.games.designs.base import Design, no_pairs


def leave_one_out(n: int, n_coalitions: int = 0, seed: int = 0) -> Design:
    """The n coalitions of n - 1 contributors; ``n_coalitions`` and ``seed`` are of no account."""
    membership = ~np.eye(n, dtype=bool)
    return Design(membership, np.ones(n), no_pairs(membership))
