"""Designs that spread their coalitions evenly over the sizes: subsets of a size without repetition, in turn.

Each size has an endless-looking stream of distinct subsets, seeded by the size alone, and the coalitions are taken
from the streams in rounds, one of each size per round, in a new random order of the sizes every round. A size whose
subsets are all taken drops out of the rounds. So after any number of coalitions every size has min(c, C(n, s)) of
them, give or take the round under way, and a longer plan begins with the shorter one.
"""

import itertools
from collections.abc import Iterator
from math import comb

import numpy as np
import numpy.typing as npt

from shapley_core.seeds import derive_seed

#: Sizes with at most so many subsets are listed and shuffled; from larger ones subsets are drawn until new.
_LISTED = 5_000

#: Subsets drawn at once. Part of what a seed means.
_BLOCK = 16


def subsets(n: int, size: int, seed: int, halves: bool = False) -> Iterator[npt.NDArray[np.bool_]]:
    """All subsets of ``size`` of ``n`` contributors in random order, as (n,) bool rows; uniform at any length.

    Args:
        n: number of contributors.
        size: of the subsets.
        seed: of the order.
        halves: of a subset and its complement, which have one size when ``size`` is n/2, give only one.
    """
    rng = np.random.default_rng(derive_seed(seed, "size", size))
    halves = halves and 2 * size == n
    if comb(n, size) <= _LISTED:
        # Sets with contributor 0 are one half; which of the two comes up is of no account.
        first = [0] if halves else []
        rest = itertools.combinations(range(len(first), n), size - len(first))
        listed = np.array([first + list(members) for members in rest], dtype=np.int64)
        for members in listed[rng.permutation(len(listed))]:
            row = np.zeros(n, dtype=bool)
            row[members] = True
            yield row
        return
    seen: set[bytes] = set()
    while True:
        block = rng.permuted(np.broadcast_to(np.arange(n) < size, (_BLOCK, n)), axis=1)
        named = np.where(block[:, :1], block, ~block) if halves else block
        for row, code in zip(block, np.packbits(named, axis=1), strict=True):
            name = code.tobytes()
            if name not in seen:
                seen.add(name)
                yield row


def in_rounds(streams: list[Iterator[npt.NDArray[np.bool_]]], every: list[int], seed: int) -> Iterator[np.ndarray]:
    """Rows of the streams in turn, stream k in every ``every[k]``-th round, until all are used up."""
    rng = np.random.default_rng(derive_seed(seed, "rounds"))
    left = list(range(len(streams)))
    for number in itertools.count():
        if not left:
            return
        for k in rng.permutation(left):
            if number % every[k]:
                continue
            row = next(streams[k], None)
            if row is None:
                left.remove(k)
            else:
                yield row


def kernel_weight_by_size(membership: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(m,) (n - 1) / (m_s s (n - s)), with m_s the rows of size s: the kernel's mass of a size, shared equally.

    Where all C(n, s) subsets of a size are there, this is the Shapley kernel itself.
    """
    n = membership.shape[1]
    size = membership.sum(axis=1)
    count = np.bincount(size, minlength=n)
    weight: npt.NDArray[np.float64] = (n - 1) / (count[size] * size * (n - size))
    return weight
