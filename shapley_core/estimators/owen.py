r"""Owen values: Shapley values for contributors who come in unions (Owen 1977; the paper's section 5).

An artist's images, or an agency's artists, belong together: they join as one. The Owen value is the mean contribution
on joining over all *admissible* orders, those in which the members of a union come one right after another. So the
unions share v(N) - v(∅) by the Shapley value of the game that they play as wholes, and the members of a union share
what it gets, each by what it would do to the union's bargaining. With one union, or with each contributor a union of
its own, it is the Shapley value.

For the members B of a union it is also the Shapley value of the game

    w(S) = Σ_T |T|! (k - |T| - 1)! / k! · v(S ∪ all members of the unions in T),     S ⊆ B,

T running over the sets of the k - 1 other unions. So it is computed where all coalitions of whole unions and a part of
one were measured. Elsewhere it is the mean over the orders walked, an order and its reverse one observation (see
:mod:`~shapley_core.estimators.permutation`).

**When.** Two levels are to be valued at once: credit per union that does not hang on how many members it was cut into,
and how the members share it.

**Uncertainty.** As of ``permutation``; none where all coalitions were measured. Orders that meet the same coalitions
share the noise of their measurement, which their differences do not tell: where most of all admissible coalitions
were measured, intervals are rather too narrow.
"""

import math

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.estimators.accept import accept
from shapley_core.estimators.exact import NO_SAMPLING_ERROR, shapley_values
from shapley_core.estimators.permutation import mean_over_orders
from shapley_core.estimators.result import Attribution, additive_fit, attribute
from shapley_core.games.designs.two_level import members_of_unions, n_admissible
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]


def owen(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Owen values of the game's unions; ``seed`` is of no account.

    Returns:
        Values that sum to v(N) - v(∅), and within a union to the union's Shapley value. ``diagnostics``: ``n_orders``
        and ``degrees_of_freedom``, or a ``note`` where all coalitions were measured, and those of ``additive_fit`` and
        ``attribute``.

    Raises:
        UserError: there are no unions, the design does not fit, the game is not sound, or no order was measured whole.
    """
    accept(game, "owen")
    if len(game.unions) != len(game.contributors):
        raise UserError(
            "the estimator 'owen' needs to know which contributors belong together: name the union of each, or use "
            "'permutation', which takes them one by one"
        )
    values = _exact(game)
    if values is None:
        return mean_over_orders(game, "owen", confidence)
    n = len(values)
    diagnostics = {**additive_fit(game, values), "note": NO_SAMPLING_ERROR}
    return attribute(game, "owen", values, np.zeros((n, n)), math.inf, confidence, diagnostics, [])


def _exact(game: MeasuredGame) -> Floats | None:
    """(n,) Owen values; None where a coalition of whole unions and a part of one was not measured."""
    members = members_of_unions(game.unions)
    if n_admissible(members) > len(game.values):
        return None
    n, k = len(game.contributors), len(members)
    # A coalition is the number whose bits are its members; a Python number, which any n fits into.
    value_of = {
        sum(1 << int(i) for i in np.flatnonzero(row)): v for row, v in zip(game.membership, game.values, strict=True)
    }
    value_of |= {0: game.null_value, (1 << n) - 1: game.full_value}
    whole = [sum(1 << int(i) for i in union) for union in members]
    values = np.empty(n)
    try:
        for at, union in enumerate(members):
            others = [bits for other, bits in enumerate(whole) if other != at]
            parts = _sums([1 << int(i) for i in union])
            w = np.zeros(len(parts))
            for number, along in enumerate(_sums(others)):
                t = number.bit_count()
                weight = math.factorial(t) * math.factorial(k - t - 1) / math.factorial(k)
                w += weight * np.array([value_of[along + part] for part in parts])
            values[union] = shapley_values(w)
    except KeyError:
        return None
    return values


def _sums(bits: list[int]) -> list[int]:
    """The sum over each subset of ``bits``, that of a subset at the number whose bits are its members."""
    sums = [0]
    for bit in bits:
        sums += [bit + one for one in sums]
    return sums
