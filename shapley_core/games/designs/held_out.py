"""held_out(alpha): random coalitions of one size, the subsets on which an attribution is judged.

The linear datamodeling score (TRAK, arXiv 2303.14186, section 2.1) correlates, over random subsets of a share alpha
of the contributors, the measured utility with the one that the values predict. The subsets must not have taken part
in the valuation, hence their name; no estimator takes them.
"""

import itertools
from math import ceil, comb, floor

import numpy as np

from shapley_core.errors import UserError
from shapley_core.games.designs.base import Design, no_pairs
from shapley_core.games.designs.by_size import subsets


def n_members(n: int, alpha: float) -> int:
    """``alpha`` n, rounded, from 1 to n - 1. A half is rounded towards n/2, where there are more coalitions.

    Raises:
        UserError: the share is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise UserError(f"the share of contributors held_out must be between 0 and 1, and is {alpha}")
    exact = round(alpha * n, 9)  # 0.29 * 50 is 14.499999999999998
    size = floor(exact + 0.5) if alpha < 0.5 else ceil(exact - 0.5)
    return min(max(size, 1), n - 1)


def held_out(n: int, n_coalitions: int, seed: int, alpha: float = 0.5) -> Design:
    """Uniform subsets of :func:`n_members` contributors, without repetition, at least two."""
    size = n_members(n, alpha)
    if not 2 <= n_coalitions <= comb(n, size):
        raise UserError(
            f"the design held_out needs 2 to {comb(n, size)} coalitions, as many as there are with {size} of "
            f"{n} contributors, and game.n_coalitions is {n_coalitions}"
        )
    membership = np.array(list(itertools.islice(subsets(n, size, seed), n_coalitions)))
    return Design(membership, np.ones(n_coalitions), no_pairs(membership))
