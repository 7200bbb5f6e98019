"""iid: the paper's design (eq. 5). A size s with probability proportional to 1 / (s (n - s)), a uniform subset.

The draws are independent; drawing goes on until ``n_coalitions`` distinct ones have come up, and the number of
times a coalition was drawn is its weight. The Shapley value is the regression of v(S) on membership over this
distribution (Covert & Lee 2021, arXiv 2012.01536), so no other weight is needed.
"""

from shapley_core.games.designs.base import Design, check_size, determined, draw_distinct, kernel_block, no_pairs


def iid(n: int, n_coalitions: int, seed: int) -> Design:
    """Independent draws; needs at least ``n`` coalitions."""
    check_size(n, n_coalitions, needed=n, design="iid")
    rows, weight = draw_distinct(kernel_block(n), n_coalitions, seed, with_complement=False)
    return determined(Design(rows, weight, no_pairs(rows)), n_coalitions)
