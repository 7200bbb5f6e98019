r"""Sampling designs: which coalitions are measured, and with what weight they enter the regression.

The Shapley value solves a weighted regression of v(S) on membership over all interior coalitions (neither
empty nor full) with the *Shapley kernel* as weight, (n - 1) / (C(n, s) s (n - s)) for a coalition of size s
(paper eq. 5; Covert & Lee 2021, arXiv 2012.01536). A design either takes all of them, or draws coalitions
with probability proportional to the kernel: a size s with probability proportional to 1 / (s (n - s)), then a
uniform subset.

A training run is dear and a second one of the same coalition says nothing new, so ``n_coalitions`` counts
**distinct** coalitions: drawing goes on until that many have come up, and the number of times a coalition was
drawn is its weight.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt
from scipy.linalg import helmert

from shapley_core.errors import UserError, did_you_mean
from shapley_core.seeds import derive_seed

#: Contributors up to which all coalitions may be measured (2^20 - 2 is about a million).
MAX_EXHAUSTIVE = 20

#: Coalitions drawn at once. Part of what a seed means: another block gives other coalitions.
_BLOCK = 1024

#: Draws per distinct coalition before giving up; about 80 are expected for *all* coalitions of 20
#: contributors.
_MAX_DRAWS_PER_COALITION = 100


@dataclass(frozen=True, eq=False)
class Design:
    """Interior coalitions of n contributors, in the order in which they are to be measured.

    Attributes:
        membership: (m, n) bool; row S, column i: is contributor i in S?
        weight: (m,) float64; how often the coalition was drawn, or its exact Shapley kernel weight.
        pair: (m,) int64; the two rows of a complementary pair share a number, -1 elsewhere.
    """

    membership: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]
    pair: npt.NDArray[np.int64]


def draw_design(name: str, n: int, n_coalitions: int, seed: int) -> Design:
    """The design called ``name`` for ``n`` contributors.

    The same seed with a larger ``n_coalitions`` keeps the rows that were there and adds new ones after them;
    weights may grow.

    Args:
        name: a key of :data:`DESIGNS`.
        n: number of contributors.
        n_coalitions: distinct coalitions wanted; ``paired`` rounds up to an even number, ``exhaustive`` takes
            all.
        seed: of the draw.

    Raises:
        UserError: unknown design, fewer than two contributors, more coalitions than there are, or so few that
            the values are not determined.
    """
    if name not in DESIGNS:
        raise UserError(f"there is no design '{name}'; {did_you_mean(name, DESIGNS)}")
    if n < 2:
        raise UserError(f"a valuation needs at least two contributors to share among, and there is {n}")
    return DESIGNS[name](n, n_coalitions, derive_seed(seed, "design", name))


def sampling_distribution(n: int) -> npt.NDArray[np.float64]:
    """(n - 1,) probabilities of the sizes 1 .. n - 1, proportional to 1 / (s (n - s)) (paper eq. 5)."""
    size = np.arange(1, n)
    p = 1 / (size * (n - size))
    normalised: npt.NDArray[np.float64] = p / p.sum()
    return normalised


def iid(n: int, n_coalitions: int, seed: int) -> Design:
    """Independent draws: the paper's design (eq. 5)."""
    _check_size(n, n_coalitions, needed=n, design="iid")
    rows, weight = _draw(n, n_coalitions, seed, with_complement=False)
    return _determined(Design(rows, weight, np.full(len(rows), -1)), n_coalitions)


def paired(n: int, n_coalitions: int, seed: int) -> Design:
    """Each drawn coalition together with its complement, next to each other (Covert & Lee 2021, section 4.2).

    Drawing the complement of a coalition counts as drawing the pair again.
    """
    n_coalitions += n_coalitions % 2
    # Both rows of a pair say the same about the values, so twice as many are needed.
    _check_size(n, n_coalitions, needed=2 * n, design="paired")
    rows, weight = _draw(n, n_coalitions // 2, seed, with_complement=True)
    membership = np.stack([rows, ~rows], axis=1).reshape(-1, n)
    pair = np.repeat(np.arange(len(rows)), 2)
    return _determined(Design(membership, np.repeat(weight, 2), pair), n_coalitions)


def exhaustive(n: int, n_coalitions: int = 0, seed: int = 0) -> Design:
    """All 2^n - 2 interior coalitions with their exact kernel weight; ``n_coalitions`` and ``seed`` are of no
    account.

    A coalition is followed by its complement, and those that weigh most (the smallest and largest) come
    first.
    """
    if n > MAX_EXHAUSTIVE:
        raise UserError(
            f"the design 'exhaustive' would measure 2^{n} - 2 coalitions of {n} contributors; it is meant "
            f"for at most {MAX_EXHAUSTIVE}: choose 'paired' or 'iid'"
        )
    rows = []
    for size in range(1, n // 2 + 1):
        for members in itertools.combinations(range(n), size):
            # Half of the coalitions of size n/2 are the complements of the other half.
            if 2 * size < n or members[0] == 0:
                row = np.zeros(n, dtype=bool)
                row[list(members)] = True
                rows.append(row)
    half = np.array(rows)
    membership = np.stack([half, ~half], axis=1).reshape(-1, n)
    kernel = np.array([(n - 1) / (comb(n, s) * s * (n - s)) for s in range(1, n)])
    return Design(membership, kernel[membership.sum(axis=1) - 1], np.repeat(np.arange(len(half)), 2))


#: Name to ``design(n, n_coalitions, seed)``.
DESIGNS: dict[str, Callable[[int, int, int], Design]] = {
    "iid": iid,
    "paired": paired,
    "exhaustive": exhaustive,
}


def _check_size(n: int, n_coalitions: int, needed: int, design: str) -> None:
    available = 2**n - 2
    if n_coalitions > available:
        raise UserError(
            f"{n} contributors have {available} coalitions besides the empty and the full one, fewer than "
            f"game.n_coalitions, {n_coalitions}: use the design 'exhaustive', which measures them all"
        )
    # Two contributors have but one pair; it determines their values.
    needed = min(needed, available)
    if n_coalitions < needed:
        raise UserError(
            f"game.n_coalitions is {n_coalitions}, too few to value {n} contributors: the design '{design}' "
            f"needs at least {needed}"
        )


def _draw(
    n: int, n_distinct: int, seed: int, with_complement: bool
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Draws until ``n_distinct`` coalitions (or complementary pairs) have come up, in order of their first
    draw.

    Returns:
        (n_distinct, n) membership and (n_distinct,) number of draws.
    """
    rng = np.random.default_rng(seed)
    p = sampling_distribution(n)
    rows: list[npt.NDArray[np.bool_]] = []
    draws: dict[bytes, int] = {}
    for _ in range(1 + _MAX_DRAWS_PER_COALITION * n_distinct // _BLOCK):
        sizes = rng.choice(np.arange(1, n), size=(_BLOCK, 1), p=p)
        block = rng.permuted(np.arange(n) < sizes, axis=1)
        named = np.where(block[:, :1], block, ~block) if with_complement else block
        for row, code in zip(block, np.packbits(named, axis=1), strict=True):
            name = code.tobytes()
            if name not in draws:
                rows.append(row)
            draws[name] = draws.get(name, 0) + 1
            if len(rows) == n_distinct:
                return np.array(rows), np.array(list(draws.values()), dtype=np.float64)
    raise UserError(
        f"game.n_coalitions is so close to all {2**n - 2} coalitions of {n} contributors that drawing them "
        "at random does not end: lower it, or use the design 'exhaustive', which measures them all"
    )


def _determined(design: Design, n_coalitions: int) -> Design:
    """``design``, if it determines the n - 1 free values that the regression has once their sum is fixed."""
    n = design.membership.shape[1]
    # The rows of the Helmert matrix are an orthonormal basis of the space orthogonal to (1, ..., 1).
    x = design.membership @ helmert(n).T
    rank = int(np.linalg.matrix_rank(x.T @ x, hermitian=True))
    if rank < n - 1:
        raise UserError(
            f"the {n_coalitions} coalitions drawn do not determine the values of {n} contributors (rank "
            f"{rank} of {n - 1}): raise game.n_coalitions or change the seed"
        )
    return design
