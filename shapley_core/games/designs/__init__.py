r"""Sampling designs: which coalitions are measured, and with what weight they enter a regression; one file each.

A training run is dear and a second one of the same coalition says nothing new, so ``n_coalitions`` counts
**distinct** coalitions in every design. The same seed with a larger ``n_coalitions`` keeps the rows that were
there, in their order, and adds new ones after them, so that a plan can be extended and nothing is measured twice.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from shapley_core.errors import UserError, did_you_mean
from shapley_core.games.designs.base import Design, sampling_distribution
from shapley_core.games.designs.exhaustive import exhaustive
from shapley_core.games.designs.held_out import held_out
from shapley_core.games.designs.iid import iid
from shapley_core.games.designs.leave_one_out import leave_one_out
from shapley_core.games.designs.leverage import leverage
from shapley_core.games.designs.paired import paired
from shapley_core.games.designs.permutation import antithetic_permutation, permutation
from shapley_core.games.designs.stratified import stratified
from shapley_core.games.designs.two_level import two_level
from shapley_core.games.designs.uniform import uniform
from shapley_core.seeds import derive_seed

__all__ = [
    "DESIGNS",
    "Design",
    "design_name",
    "draw_design",
    "merged_design",
    "parts_of_design",
    "sampling_distribution",
]

#: Name to ``design(n, n_coalitions, seed)``; ``held_out`` also takes a share, written ``held_out(0.5)``,
#: ``two_level`` the unions, and ``paired`` how many joined later.
DESIGNS: dict[str, Callable[..., Design]] = {
    "antithetic_permutation": antithetic_permutation,
    "exhaustive": exhaustive,
    "held_out": held_out,
    "iid": iid,
    "leave_one_out": leave_one_out,
    "leverage": leverage,
    "paired": paired,
    "permutation": permutation,
    "stratified": stratified,
    "two_level": two_level,
    "uniform": uniform,
}

_MERGED = "merged("


def draw_design(
    name: str, n: int, n_coalitions: int, seed: int, unions: Sequence[int] = (), n_joined: int = 0
) -> Design:
    """The design called ``name`` for ``n`` contributors.

    The same seed with a larger ``n_coalitions`` keeps the rows that were there and adds new ones after them;
    their weights may change: numbers of draws grow, and ``leverage`` and ``stratified`` divide the kernel's mass
    of a size among all coalitions of that size.

    Args:
        name: a key of :data:`DESIGNS`; ``held_out`` may be followed by its share in brackets.
        n: number of contributors.
        n_coalitions: distinct coalitions wanted; ``paired``, ``leverage`` and ``uniform`` round up to an even
            number, the permutation designs round down to whole permutations, ``exhaustive`` and
            ``leave_one_out`` take all they consist of.
        seed: of the draw.
        unions: (n,) number of the union that each contributor belongs to; ``two_level`` alone needs it.
        n_joined: how many, the last ones, joined after the others were valued; ``paired`` takes up the others' draws.

    Raises:
        UserError: unknown design, fewer than two contributors, more coalitions than there are, or so few that
            the values are not determined.
    """
    base = design_name(name)
    if base not in DESIGNS:
        raise UserError(f"there is no design '{name}'; {did_you_mean(base, DESIGNS)}")
    if n < 2:
        raise UserError(f"a valuation needs at least two contributors to share among, and there is {n}")
    own: dict[str, list[Any]] = {"two_level": [unions], "paired": [n_joined]}
    return DESIGNS[base](n, n_coalitions, derive_seed(seed, "design", name), *own.get(name, _arguments(name)))


def design_name(name: str) -> str:
    """The key of :data:`DESIGNS` in the name of a design: ``held_out`` for ``held_out(0.5)``."""
    return name.split("(")[0]


def merged_design(names: Iterable[str]) -> str:
    """What the union of coalitions of several designs is called: ``merged(iid, leverage)``; of one, its own name."""
    parts = sorted({part for name in names for part in parts_of_design(name)})
    return parts[0] if len(parts) == 1 else f"{_MERGED}{', '.join(parts)})"


def parts_of_design(name: str) -> tuple[str, ...]:
    """The designs that a table of the design ``name`` was merged from, or that design alone."""
    return tuple(name[len(_MERGED) : -1].split(", ")) if name.startswith(_MERGED) else (name,)


def _arguments(name: str) -> list[float]:
    if "(" not in name:
        return []
    share = re.fullmatch(r"held_out\((\d*\.?\d+)\)", name)
    if share is None:
        raise UserError(f"'{name}' is no design: only held_out takes a share, as in held_out(0.5)")
    return [float(share[1])]
