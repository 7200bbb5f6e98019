r"""Tables merged from several runs and designs: all that was measured of one game, with the weights of the whole.

A run with another design or a larger budget leaves a second table of the same game. What a coalition S of the two
together stands for follows from the probability p(S) with which the union of the plans has it: an estimate weighs S by
the kernel over p(S) (the balance heuristic of multiple importance sampling, Veach & Guibas 1995), whichever plan it
came from.

In every design but those of orders, the subsets of a size are a simple random sample: any m_s of the C(n, s) are as
likely as any other m_s. The union of independent samples is such a sample again, of as many as it turns out to have. So
p(S) = m_s / C(n, s) with m_s counted in the union, and S weighs (n - 1) / (m_s s (n - s)), as in the design
``leverage``; that a coalition was drawn twice, or by both plans, is of no account. The estimators that go by size are
then as unbiased or consistent as with a single design. What an estimator refuses is in
:mod:`~shapley_core.estimators.accept`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.games.designs import merged_design
from shapley_core.games.designs.base import WITH_REVERSES, no_orders
from shapley_core.games.designs.by_size import kernel_weight_by_size
from shapley_core.games.measured import MeasuredGame


def merge_games(games: Sequence[MeasuredGame]) -> MeasuredGame:
    """One game of all coalitions measured, in the order of the games; a coalition that several have is one row.

    Complements are paired wherever both are there. Orders of joining are kept where all games have the same design.

    Raises:
        UserError: the games are not of the same contributors or property, v(∅), v(N) or a coalition has two
            different values (by more than rounding: 1e-9 of them), or there is no game.
    """
    if not games:
        raise UserError("there is nothing to merge: give at least one measured game")
    first = games[0]
    for game in games[1:]:
        _check_same_game(first, game)
    membership = np.concatenate([game.membership for game in games])
    values = np.concatenate([game.values for game in games])
    code = np.packbits(membership, axis=1)
    _, at, coalition = np.unique(code, axis=0, return_index=True, return_inverse=True)
    other = _differ(values, values[at][coalition])
    if other.any():
        row = int(np.flatnonzero(other)[0])
        members = [first.contributors[i] for i in np.flatnonzero(membership[row])]
        raise UserError(
            f"the coalition of {', '.join(members[:4])}{f' and {len(members) - 4} more' if len(members) > 4 else ''} "
            f"has two values of '{first.property}', {values[at][coalition][row]:.6g} and {values[row]:.6g}: tables of "
            "another seed or setting are another game and cannot be merged"
        )
    rows = np.sort(at)
    membership = membership[rows]
    designs = [game.design for game in games]
    return replace(
        first,
        membership=membership,
        values=values[rows],
        weight=kernel_weight_by_size(membership),
        pair=_complements(membership),
        design=merged_design(designs),
        n_planned=len(rows) + sum(game.n_planned - len(game.values) for game in games),
        orders=_distinct_orders(games) if len(set(designs)) == 1 else no_orders(),
    )


def _check_same_game(one: MeasuredGame, other: MeasuredGame) -> None:
    if one.property != other.property:
        raise UserError(f"values of '{one.property}' and of '{other.property}' cannot be merged into one game")
    if one.contributors != other.contributors:
        differing = sorted(set(one.contributors) ^ set(other.contributors))
        raise UserError(
            "only games of the same contributors, in the same order, can be merged"
            + (f"; not in both: {', '.join(differing[:4])}" if differing else "")
        )
    if one.unions != other.unions:
        raise UserError("only games whose contributors are grouped into the same unions can be merged")
    for name, a, b in [("∅", one.null_value, other.null_value), ("N", one.full_value, other.full_value)]:
        if _differ(a, b):
            raise UserError(
                f"v({name}) of '{one.property}' is {a:.6g} in one table and {b:.6g} in another: they are not of the "
                "same game and cannot be merged"
            )


def _differ(one: npt.ArrayLike, other: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    # The same sum taken by another processor differs in its last digits; another seed or setting differs in its first.
    return ~np.isclose(one, other, rtol=1e-9, atol=1e-12)


def _complements(membership: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(m,) a number that a coalition and its complement share, where both are there; -1 elsewhere."""
    # Named by the half that has the first contributor, a coalition and its complement are called alike.
    named = np.packbits(np.where(membership[:, :1], membership, ~membership), axis=1)
    _, group, count = np.unique(named, axis=0, return_inverse=True, return_counts=True)
    return np.where(count[group] == 2, group, -1)


def _distinct_orders(games: Sequence[MeasuredGame]) -> npt.NDArray[np.int64]:
    """The orders of all games of one design of orders, each once, reverses still next to each other."""
    if not all(game.orders.size for game in games):
        return no_orders()
    orders = np.concatenate([game.orders for game in games])
    per_observation = 2 if games[0].design in WITH_REVERSES else 1
    walks = orders.reshape(-1, per_observation, orders.shape[1])
    distinct: dict[frozenset[bytes], npt.NDArray[np.int64]] = {}
    for walk in walks:
        distinct.setdefault(frozenset(order.tobytes() for order in walk), walk)
    return np.concatenate(list(distinct.values()))
