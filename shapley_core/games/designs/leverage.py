"""leverage: all sizes alike, without repetition, complements together (Leverage SHAP, arXiv 2410.01917).

The statistical leverage of a coalition of size s in the regression that defines the Shapley value is 1 / C(n, s):
sampling by leverage takes all sizes equally often, where the kernel's own distribution prefers the smallest and
largest. Here the sizes are not drawn but filled in rounds (see :mod:`~shapley_core.games.designs.by_size`), each
with min(c, C(n, s)) distinct coalitions. A coalition of size s weighs (n - 1) / (m_s s (n - s)), the kernel's mass
of its size shared among the m_s that were taken: exact, no matter how many they are. When a plan is extended, m_s
grows, and the weights of the first rows are computed anew; estimators that know better (``leverage_shap``) take m_s
from what was measured.
"""

import itertools

import numpy as np

from shapley_core.games.designs.base import Design, check_size, determined, with_complements
from shapley_core.games.designs.by_size import in_rounds, kernel_weight_by_size, subsets


def leverage(n: int, n_coalitions: int, seed: int) -> Design:
    """Evenly over the sizes, complements next to each other; rounds up to an even number, at least ``2 n``."""
    n_coalitions += n_coalitions % 2
    check_size(n, n_coalitions, needed=2 * n, design="leverage")
    sizes = range(1, n // 2 + 1)
    streams = [subsets(n, size, seed, halves=True) for size in sizes]
    # A pair of size n/2 gives that size two coalitions, so it comes every other round.
    rounds = in_rounds(streams, [2 if 2 * size == n else 1 for size in sizes], seed)
    membership, pair = with_complements(np.array(list(itertools.islice(rounds, n_coalitions // 2))))
    return determined(Design(membership, kernel_weight_by_size(membership), pair), n_coalitions)
