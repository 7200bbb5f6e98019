"""What the designs have in common: the type, the paper's distribution, drawing without repetition, checks."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError

#: Coalitions drawn at once. Part of what a seed means: another block gives other coalitions.
BLOCK = 1024

#: Draws per distinct coalition before giving up; about 80 are expected for *all* coalitions of 20
#: contributors.
MAX_DRAWS_PER_COALITION = 100

#: Designs that walk every order of joining backwards too, right after it: the two are one observation.
WITH_REVERSES = ("antithetic_permutation", "two_level")


def no_orders() -> npt.NDArray[np.int64]:
    """(0, 0): the orders of a design that walks none."""
    return np.empty((0, 0), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Design:
    """Interior coalitions of n contributors, in the order in which they are to be measured.

    Attributes:
        membership: (m, n) bool; row S, column i: is contributor i in S?
        weight: (m,) float64; how often the coalition was drawn, or its exact weight in the regression.
        pair: (m,) int64; the two rows of a complementary pair share a number, -1 elsewhere.
        orders: (k, n) int64; the orders in which the contributors join one by one, where the coalitions are those
            met on the way (the permutation designs and two_level); (0, 0) elsewhere.
    """

    membership: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]
    pair: npt.NDArray[np.int64]
    orders: npt.NDArray[np.int64] = field(default_factory=no_orders)


def sampling_distribution(n: int) -> npt.NDArray[np.float64]:
    """(n - 1,) probabilities of the sizes 1 .. n - 1, proportional to 1 / (s (n - s)) (paper eq. 5)."""
    size = np.arange(1, n)
    p = 1 / (size * (n - size))
    normalised: npt.NDArray[np.float64] = p / p.sum()
    return normalised


def kernel_block(n: int) -> Callable[[np.random.Generator], npt.NDArray[np.bool_]]:
    """Draws :data:`BLOCK` coalitions: a size by :func:`sampling_distribution`, then a uniform subset."""
    p = sampling_distribution(n)

    def block(rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        sizes = rng.choice(np.arange(1, n), size=(BLOCK, 1), p=p)
        drawn: npt.NDArray[np.bool_] = rng.permuted(np.arange(n) < sizes, axis=1)
        return drawn

    return block


def draw_distinct(
    block: Callable[[np.random.Generator], npt.NDArray[np.bool_]], n_distinct: int, seed: int, with_complement: bool
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Draws until ``n_distinct`` coalitions (or complementary pairs) have come up, in order of their first draw.

    Returns:
        (n_distinct, n) membership and (n_distinct,) number of draws.
    """
    rng = np.random.default_rng(seed)
    rows: list[npt.NDArray[np.bool_]] = []
    draws: dict[bytes, int] = {}
    for _ in range(1 + MAX_DRAWS_PER_COALITION * n_distinct // BLOCK):
        drawn = block(rng)
        named = np.where(drawn[:, :1], drawn, ~drawn) if with_complement else drawn
        for row, code in zip(drawn, np.packbits(named, axis=1), strict=True):
            name = code.tobytes()
            if name not in draws:
                rows.append(row)
            draws[name] = draws.get(name, 0) + 1
            if len(rows) == n_distinct:
                return np.array(rows), np.array(list(draws.values()), dtype=np.float64)
    raise UserError(does_not_end(len(drawn[0])))


def with_complements(rows: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """(2 k, n) membership, each of the (k, n) rows followed by its complement, and the numbers of the pairs."""
    membership = np.stack([rows, ~rows], axis=1).reshape(-1, rows.shape[1])
    return membership, np.repeat(np.arange(len(rows)), 2)


def no_pairs(rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(m,) -1: no row is paired."""
    return np.full(len(rows), -1)


def check_size(n: int, n_coalitions: int, needed: int, design: str) -> None:
    """Raises :class:`UserError` where there are not so many coalitions, or ``design`` needs more."""
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


def determined(design: Design, n_coalitions: int) -> Design:
    """``design``, if it determines the n - 1 free values that the regression has once their sum is fixed."""
    from scipy.linalg import helmert  # here, because tasks that draw nothing import this module, too

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


def does_not_end(n: int) -> str:
    """The sentence for a number of coalitions that random draws do not reach."""
    return (
        f"game.n_coalitions is so close to all {2**n - 2} coalitions of {n} contributors that drawing them "
        "at random does not end: lower it, or use the design 'exhaustive', which measures them all"
    )
