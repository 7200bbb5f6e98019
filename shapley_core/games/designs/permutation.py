"""permutation: contributors join one by one in random order; the coalitions are those met on the way.

Each order tells a marginal contribution of everybody (Castro et al. 2009; Data Shapley, arXiv 1904.02868). The
antithetic form (arXiv 2104.12199) walks each order backwards too, through the complements. A coalition that several
orders meet is measured once; its weight is the number of orders that meet it.

Only whole orders are of use, so there are as many as ``n_coalitions`` has room for: orders are drawn until the next
one does not fit.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.games.designs.base import MAX_DRAWS_PER_COALITION, Design, check_size, does_not_end, no_pairs


def permutation(n: int, n_coalitions: int, seed: int) -> Design:
    """Independent random orders; at least one, ``n - 1`` coalitions."""
    check_size(n, n_coalitions, needed=n - 1, design="permutation")
    return walk(lambda rng: rng.permutation(n), n, n_coalitions, seed, backwards=False)


def antithetic_permutation(n: int, n_coalitions: int, seed: int) -> Design:
    """Random orders, each followed by its reverse; at least one of both, ``2 (n - 1)`` coalitions."""
    check_size(n, n_coalitions, needed=2 * (n - 1), design="antithetic_permutation")
    return walk(lambda rng: rng.permutation(n), n, n_coalitions, seed, backwards=True)


def walk(
    draw: Callable[[np.random.Generator], npt.NDArray[np.int64]], n: int, n_coalitions: int, seed: int, backwards: bool
) -> Design:
    """The coalitions met on orders that ``draw`` gives, until the next order does not fit.

    A coalition's weight is the number of orders that meet it. Walked ``backwards`` too, complements are paired.
    """
    rng = np.random.default_rng(seed)
    orders: list[npt.NDArray[np.int64]] = []
    visits: dict[bytes, int] = {}
    for _ in range(1 + MAX_DRAWS_PER_COALITION * n_coalitions):
        order = draw(rng)
        joined = np.empty(n, dtype=np.int64)
        joined[order] = np.arange(n)
        path = joined < np.arange(1, n)[:, None]
        met = [row.tobytes() for s in path for row in ((s, ~s) if backwards else (s,))]
        if len(visits) + sum(row not in visits for row in met) > n_coalitions:
            break
        for row in met:
            visits[row] = visits.get(row, 0) + 1
        orders += [order, order[::-1]] if backwards else [order]
        if len(visits) == n_coalitions:
            break
    else:
        raise UserError(does_not_end(n))
    membership = np.array([np.frombuffer(row, dtype=bool) for row in visits])
    # The coalitions met both ways are closed under complement, and a complement is entered right after its coalition.
    pair = np.arange(len(membership)) // 2 if backwards else no_pairs(membership)
    return Design(membership, np.array(list(visits.values()), dtype=np.float64), pair, np.array(orders))
