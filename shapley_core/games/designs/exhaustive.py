"""exhaustive: every coalition once, with its exact Shapley kernel weight."""

import itertools
from math import comb

import numpy as np

from shapley_core.errors import UserError
from shapley_core.games.designs.base import Design, with_complements

#: Contributors up to which all coalitions may be measured (2^20 - 2 is about a million).
MAX_EXHAUSTIVE = 20


def exhaustive(n: int, n_coalitions: int = 0, seed: int = 0) -> Design:
    """All 2^n - 2 interior coalitions with weight (n - 1) / (C(n, s) s (n - s)) at size s.

    ``n_coalitions`` and ``seed`` are of no account. A coalition is followed by its complement, and those that weigh
    most (the smallest and largest) come first.
    """
    if n > MAX_EXHAUSTIVE:
        raise UserError(
            f"the design 'exhaustive' would measure 2^{n} - 2 coalitions of {n} contributors; it is meant "
            f"for at most {MAX_EXHAUSTIVE}: choose 'leverage', 'paired' or 'iid'"
        )
    rows = []
    for size in range(1, n // 2 + 1):
        for members in itertools.combinations(range(n), size):
            # Half of the coalitions of size n/2 are the complements of the other half.
            if 2 * size < n or members[0] == 0:
                row = np.zeros(n, dtype=bool)
                row[list(members)] = True
                rows.append(row)
    membership, pair = with_complements(np.array(rows))
    kernel = np.array([(n - 1) / (comb(n, s) * s * (n - s)) for s in range(1, n)])
    return Design(membership, kernel[membership.sum(axis=1) - 1], pair)
