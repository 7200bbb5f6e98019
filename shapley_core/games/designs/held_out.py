"""held_out(alpha): random coalitions of one size, the subsets on which an attribution is judged.

The linear datamodeling score (TRAK, arXiv 2303.14186, section 2.1) correlates, over random subsets of a share alpha
of the contributors, the measured utility with the one that the values predict. The subsets must not have taken part
in the valuation, hence their name; no estimator takes them.
"""

import itertools
from math import comb

import numpy as np

from shapley_core.errors import UserError
from shapley_core.games.designs.base import Design, no_pairs
from shapley_core.games.designs.by_size import subsets


def held_out(n: int, n_coalitions: int, seed: int, alpha: float = 0.5) -> Design:
    """Uniform subsets of round(``alpha`` n) contributors, without repetition, at least two."""
    if not 0 < alpha < 1:
        raise UserError(f"the share of the design held_out must be between 0 and 1, and is {alpha}")
    size = min(max(round(alpha * n), 1), n - 1)
    if not 2 <= n_coalitions <= comb(n, size):
        raise UserError(
            f"the design held_out needs 2 to {comb(n, size)} coalitions, as many as there are with {size} of "
            f"{n} contributors, and game.n_coalitions is {n_coalitions}"
        )
    membership = np.array(list(itertools.islice(subsets(n, size, seed), n_coalitions)))
    return Design(membership, np.ones(n_coalitions), no_pairs(membership))
