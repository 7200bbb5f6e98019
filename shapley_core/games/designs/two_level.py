"""two_level: unions join one by one, each with its members one by one: the coalitions of Owen values.

Where contributors are grouped (an artist's images, an agency's artists), only orders in which the members of a union
join one right after another are admissible (Owen 1977): a random order of the unions, and in each a random order of its
members. A coalition met on the way consists of whole unions and a part of at most one. Every order is walked backwards
too, which is as likely, through the complements.

There are far fewer such coalitions than 2ⁿ, so that small games are soon measured whole. A larger ``n_coalitions`` than
there are takes them all.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.games.designs.base import Design, check_size
from shapley_core.games.designs.permutation import walk


def two_level(n: int, n_coalitions: int, seed: int, unions: Sequence[int] = ()) -> Design:
    """Random admissible orders, each followed by its reverse; at least one of both, ``2 (n - 1)`` coalitions.

    Args:
        n: number of contributors.
        n_coalitions: distinct coalitions wanted.
        seed: of the orders.
        unions: (n,) number of the union that each contributor belongs to, 0, 1, 2, …
    """
    if len(unions) != n:
        raise UserError(
            "the design 'two_level' needs to know which contributors belong together: name the union of each "
            "(game.unions), or "
            "choose 'antithetic_permutation', which takes them one by one"
        )
    members = members_of_unions(unions)
    n_coalitions = min(n_coalitions, n_admissible(members))
    check_size(n, n_coalitions, needed=min(2 * (n - 1), n_admissible(members)), design="two_level")

    def draw(rng: np.random.Generator) -> npt.NDArray[np.int64]:
        return np.concatenate([rng.permutation(members[union]) for union in rng.permutation(len(members))])

    return walk(draw, n, n_coalitions, seed, backwards=True)


def members_of_unions(unions: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """The contributors of each union, ascending."""
    return [np.flatnonzero(np.asarray(unions) == union) for union in np.unique(unions)]


def n_admissible(members: Sequence[npt.NDArray[np.int64]]) -> int:
    """How many interior coalitions consist of whole unions and a part of at most one."""
    k = len(members)
    return (1 << k) - 2 + sum((1 << k - 1) * ((1 << len(union)) - 2) for union in members)
