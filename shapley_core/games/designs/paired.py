"""paired: the draws of ``iid``, each with its complement (Covert & Lee 2021, arXiv 2012.01536, section 4.2).

What a coalition and its complement have in common (all interactions of even order) cancels, which leaves less
to average out. Drawing the complement of a coalition counts as drawing the pair again.

When somebody joins, draws of the others are taken up (:mod:`~shapley_core.games.designs.joined`).
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
from shapley_core.games.designs.joined import joined_block
from shapley_core.seeds import derive_seed


def paired(n: int, n_coalitions: int, seed: int, n_joined: int = 0) -> Design:
    """Each drawn coalition next to its complement; rounds up to an even number, at least ``2 n``.

    Args:
        n: number of contributors.
        n_coalitions: distinct coalitions wanted.
        seed: of the draw.
        n_joined: how many of them, the last columns, joined one by one after the first ``n - n_joined`` were valued
            with this seed: one coalition of every pair is then of a pair drawn before the last one joined.
    """
    n_coalitions += n_coalitions % 2
    # Both rows of a pair say the same about the values, so twice as many are needed.
    check_size(n, n_coalitions, needed=2 * n, design="paired")
    block = kernel_block(n - n_joined)
    for before in range(n - n_joined, n):
        block = joined_block(block, before, np.random.default_rng(derive_seed(seed, "joined", before)))
    rows, weight = draw_distinct(block, n_coalitions // 2, seed, with_complement=True)
    membership, pair = with_complements(rows)
    return determined(Design(membership, np.repeat(weight, 2), pair), n_coalitions)
