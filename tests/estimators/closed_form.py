"""Games whose Shapley values are known at any size, to judge estimators by, and how to measure them at a design."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from shapley_core.games.designs import draw_design
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]
Utility = Callable[[npt.NDArray[np.bool_]], Floats]


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """A game of n contributors with its Shapley values.

    Attributes:
        v: utilities (rows,) of coalitions (rows, n) bool.
        values: (n,) Shapley values.
        spread: standard deviation of v over coalitions whose size is uniform, the unit in which noise is given.
    """

    v: Utility
    values: Floats
    spread: float

    @classmethod
    def of(cls, v: Utility, values: Floats) -> "ClosedForm":
        n = len(values)
        rng = np.random.default_rng(0)
        rows = rng.permuted(np.arange(n) < rng.integers(1, n, size=(4000, 1)), axis=1)
        return cls(v, values, float(np.std(v(rows))))


def play(game: ClosedForm, design: str, n_coalitions: int, seed: int, noise: float = 0.0) -> MeasuredGame:
    """Measures a game at a design, with independent normal noise of ``noise`` spreads on the interior coalitions."""
    return measure(game.v, len(game.values), design, n_coalitions, seed, noise * game.spread)


def random_game(n: int, seed: int) -> Utility:
    """A game without any structure: every coalition has a utility of its own."""
    utilities = np.random.default_rng(seed).normal(size=2**n)
    return lambda z: utilities[z @ (1 << np.arange(n))]


def measure(
    v: Utility,
    n: int,
    design: str = "exhaustive",
    n_coalitions: int = 0,
    seed: int = 0,
    noise: float = 0.0,
    unions: tuple[int, ...] | None = None,
) -> MeasuredGame:
    """Measures the utility ``v`` at a design, with independent normal noise of standard deviation ``noise``.

    Without ``unions`` contributors belong together by twos.
    """
    unions = tuple(i // 2 for i in range(n)) if unions is None else unions
    drawn = draw_design(design, n, n_coalitions, seed, unions)
    utilities = np.asarray(v(drawn.membership), dtype=np.float64)
    return MeasuredGame(
        contributors=tuple(f"c{i:03d}" for i in range(n)),
        membership=drawn.membership,
        values=utilities + noise * np.random.default_rng(seed).normal(size=len(utilities)),
        weight=drawn.weight,
        pair=drawn.pair,
        null_value=float(v(np.zeros((1, n), dtype=bool))[0]),
        full_value=float(v(np.ones((1, n), dtype=bool))[0]),
        property="score",
        design=design,
        n_planned=len(utilities),
        orders=drawn.orders,
        unions=unions,
    )


def game_of_a_sum(weights: npt.NDArray[np.int64], f: Callable[[Floats], Floats]) -> ClosedForm:
    """v(S) = f(total weight of S), for positive whole weights.

    Values by counting the subsets of the others by size and total weight: mean over the sizes of the mean gain.
    """
    n, total = len(weights), int(weights.sum())
    at = f(np.arange(total + 1, dtype=np.float64))
    value_of = {}
    for weight in np.unique(weights):
        others = np.delete(weights, np.flatnonzero(weights == weight)[0])
        counts = np.zeros((n, total + 1))  # by size and total weight; at most C(258, 129), about 1e76
        counts[0, 0] = 1
        for other in others:
            counts[1:, other:] += counts[:-1, : total + 1 - other]
        gain = counts[:, : total + 1 - weight] @ (at[weight:] - at[: total + 1 - weight])
        value_of[weight] = np.mean(gain / counts.sum(axis=1))
    return ClosedForm.of(lambda z: at[z @ weights], np.array([value_of[weight] for weight in weights]))


@cache
def weighted_voting(n: int, seed: int = 0) -> ClosedForm:
    """1 if more than half of the votes are for it, else 0: the values are Shapley and Shubik's power index."""
    weights = _weights(n, seed)
    return game_of_a_sum(weights, lambda x: (2 * x > weights.sum()).astype(np.float64))


@cache
def sqrt_sum(n: int, seed: int = 0) -> ClosedForm:
    """The square root of the total weight: returns diminish."""
    return game_of_a_sum(_weights(n, seed), np.sqrt)


@cache
def saturating(n: int, seed: int = 0) -> ClosedForm:
    """1 - exp(-total weight / a tenth of all): a few contributors suffice."""
    weights = _weights(n, seed)
    return game_of_a_sum(weights, lambda x: 1 - np.exp(-10 * x / weights.sum()))


@cache
def airport(n: int, seed: int = 0) -> ClosedForm:
    """The longest runway that a member needs; each stretch is shared by those who need it (Littlechild & Owen)."""
    costs = np.random.default_rng(seed).uniform(0, 1, n)
    order = np.argsort(costs)
    stretches = np.diff(costs[order], prepend=0)
    values = np.empty(n)
    values[order] = np.cumsum(stretches / (n - np.arange(n)))
    return ClosedForm.of(lambda z: (z * costs).max(axis=1), values)


@cache
def moebius(n: int, seed: int = 0, per_contributor: int = 3) -> ClosedForm:
    """Sums of dividends of random groups of one to three; a group shares its dividend equally (Harsanyi)."""
    rng = np.random.default_rng(seed)
    groups = [np.array([i]) for i in range(n)]
    groups += [rng.choice(n, size=size, replace=False) for size in (2, 3) for _ in range(per_contributor * n // 2)]
    dividends = rng.normal(size=len(groups)) + np.array([len(group) == 1 for group in groups])
    values = np.zeros(n)
    for group, dividend in zip(groups, dividends, strict=True):
        values[group] += dividend / len(group)
    # A group of fewer than three names a member again.
    three = np.array([np.resize(group, 3) for group in groups])
    return ClosedForm.of(lambda z: z[:, three].all(axis=2) @ dividends, values)


def _weights(n: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(1, 11, size=n)


#: Name to ``game(n, seed)``.
GAMES = {
    "airport": airport,
    "moebius": moebius,
    "saturating": saturating,
    "sqrt_sum": sqrt_sum,
    "weighted_voting": weighted_voting,
}
