"""uniform: every coalition with equal probability, complements together: the design of Banzhaf values.

Each contributor is in or out by a fair coin (Data Banzhaf, arXiv 2205.15466), and the complement, which is as
likely, is measured too (Kernel Banzhaf, arXiv 2410.08336): every contributor is then in exactly half of the
coalitions, and whatever a coalition and its complement have in common cancels. Coalitions are distinct, so the
design is a simple random sample of pairs and all weigh the same.
"""

import numpy as np
import numpy.typing as npt

from shapley_core.games.designs.base import BLOCK, Design, check_size, draw_distinct, with_complements


def uniform(n: int, n_coalitions: int, seed: int) -> Design:
    """Fair coins, complements next to each other; rounds up to an even number, at least ``2 n``."""
    n_coalitions += n_coalitions % 2
    check_size(n, n_coalitions, needed=2 * n, design="uniform")

    def block(rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        coins = rng.random((BLOCK, n)) < 0.5
        interior: npt.NDArray[np.bool_] = coins[coins.any(axis=1) & ~coins.all(axis=1)]
        return interior

    rows, _ = draw_distinct(block, n_coalitions // 2, seed, with_complement=True)
    membership, pair = with_complements(rows)
    return Design(membership, np.ones(len(membership)), pair)
