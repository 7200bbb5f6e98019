"""paired: the draws of ``iid``, each with its complement (Covert & Lee 2021, arXiv 2012.01536, section 4.2).

What a coalition and its complement have in common (all interactions of even order) cancels, which leaves less
to average out. Drawing the complement of a coalition counts as drawing the pair again.
"""

import numpy as np

from shapley_core.games.designs.base import (
    Design,
    check_size,
    determined,
    draw_distinct,
    kernel_block,
    with_complements,
)


def paired(n: int, n_coalitions: int, seed: int) -> Design:
    """Each drawn coalition next to its complement; rounds up to an even number, at least ``2 n``."""
    n_coalitions += n_coalitions % 2
    # Both rows of a pair say the same about the values, so twice as many are needed.
    check_size(n, n_coalitions, needed=2 * n, design="paired")
    rows, weight = draw_distinct(kernel_block(n), n_coalitions // 2, seed, with_complement=True)
    membership, pair = with_complements(rows)
    return determined(Design(membership, np.repeat(weight, 2), pair), n_coalitions)
