r"""Pairs of coalitions for n + 1 contributors from those drawn for n: half of what they need was measured before.

Of a complementary pair of the n + 1, exactly one coalition U is without the one who joined. Under the paper's
distribution (eq. 5) a size t comes with probability proportional to 1 / (t (n + 1 - t)), and a subset of that size is
without a given contributor with probability (n + 1 - t) / (n + 1): so the size u of U is distributed as 1 / u over
u = 1 .. n, and U is a uniform subset of its size. This is how U is drawn here. With probability
(1 / n) / (1 + 1/2 + ... + 1 / n) it is all n; otherwise it is one of a pair {S, N \\ S} drawn for the n, a coalition of
size s with probability (n - s) / n. Sizes of S are distributed as 1 / (s (n - s)), and two coalitions can be U of size
u, so that the sizes of U are distributed as 2 / (u (n - u)) (n - u) / n, which is again as 1 / u. The pairs are thus
independent draws of the very distribution that they would be drawn from for n + 1 contributors: every estimator that
takes those takes these.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Block = Callable[[np.random.Generator], npt.NDArray[np.bool_]]


def joined_block(block: Block, n: int, rng: np.random.Generator) -> Block:
    """Draws of ``n + 1`` contributors that take up those of ``block``, of ``n``, in their order; the last one joined.

    Args:
        block: draws rows (m, n), whose complementary pairs are distributed by eq. 5.
        n: contributors before.
        rng: decides what becomes of each draw; the generator that is handed to the block stays that of ``block``.
    """
    everybody = 1 / n / (1 / np.arange(1, n + 1)).sum()

    def joined(drawn_by: np.random.Generator) -> npt.NDArray[np.bool_]:
        rows = block(drawn_by)
        size = rows.sum(axis=1, keepdims=True)
        without = np.where(rng.random((len(rows), 1)) < (n - size) / n, rows, ~rows)
        # How many times all n come up before the next draw is taken up.
        times = rng.geometric(1 - everybody, size=len(rows)) - 1
        without = np.insert(without, np.repeat(np.arange(len(rows)), times), True, axis=0)
        return np.column_stack([without, np.zeros(len(without), dtype=bool)])

    return joined
