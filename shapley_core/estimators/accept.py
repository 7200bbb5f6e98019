"""Which designs an estimator can use, and what it refuses before it computes anything."""

import numpy as np

from shapley_core.errors import UserError
from shapley_core.games.designs import DESIGNS, design_name, parts_of_design
from shapley_core.games.measured import MeasuredGame

#: Given its size, a coalition of these is a uniform subset, drawn independently of those of other pairs.
_BY_SIZE = ("leverage", "paired", "stratified", "iid", "exhaustive")
_UNIFORM = ("uniform", "exhaustive")

#: Estimator to the designs it can use, the best first. (``exact`` looks at the coalitions instead.)
FITTING_DESIGNS: dict[str, tuple[str, ...]] = {
    "banzhaf_msr": _UNIFORM,
    "banzhaf_regression": _UNIFORM,
    "beta_shapley": ("stratified", *(name for name in _BY_SIZE if name != "stratified")),
    "kernel_shap": _BY_SIZE,
    "leave_one_out": ("leave_one_out", "exhaustive"),
    "leverage_shap": _BY_SIZE,
    "odd_ridge": _BY_SIZE,
    "owen": ("two_level", "exhaustive"),
    "permutation": ("antithetic_permutation", "permutation"),
    "polyshap": _BY_SIZE,
    "regression_msr": _BY_SIZE,
    "stratified": ("stratified", *(name for name in _BY_SIZE if name != "stratified")),
    "tree_msr": _BY_SIZE,
}


#: Estimator to the designs whose coalitions may come along when a table that fits is merged with others
#: (:mod:`~shapley_core.games.merge`). Coalitions met on an order of joining hang together as no pair tells, so that
#: standard errors of a regression would be wrong; whole orders of different kinds are not one sample either.
MERGING_DESIGNS: dict[str, tuple[str, ...]] = {
    **{
        name: (*_BY_SIZE, "uniform", "leave_one_out", "held_out")
        for name, fitting in FITTING_DESIGNS.items()
        if set(fitting) == set(_BY_SIZE)
    },
    "banzhaf_msr": _UNIFORM,
    "banzhaf_regression": _UNIFORM,
    "leave_one_out": tuple(DESIGNS),
}


def check_design(estimator: str, design: str) -> None:
    """Raises :class:`UserError`, which says what fits, where an estimator cannot use a design.

    Needs no game, so that it can be asked before anything is measured.
    """
    if not _fits(estimator, design):
        raise UserError(
            f"the estimator '{estimator}' cannot use coalitions of the design '{design}': it needs one of "
            f"{', '.join(FITTING_DESIGNS[estimator])}; or choose an estimator that fits the design"
            + (f" ({', '.join(able)})" if (able := estimators_for(design)) else "")
        )


def estimators_for(design: str) -> list[str]:
    """The estimators that can use a design, by name."""
    return sorted(name for name in FITTING_DESIGNS if _fits(name, design))


def _fits(estimator: str, design: str) -> bool:
    fitting = FITTING_DESIGNS.get(estimator)
    if fitting is None:
        return True
    parts = {design_name(part) for part in parts_of_design(design)}
    return not parts.isdisjoint(fitting) and (len(parts) == 1 or parts.issubset(MERGING_DESIGNS.get(estimator, ())))


def accept(game: MeasuredGame, estimator: str) -> None:
    """Raises :class:`UserError` where the design does not fit or the game is not sound.

    Sound: utilities are finite, coalitions are of the contributors named, not empty, not everybody's, and there once.
    """
    check_design(estimator, game.design)
    known, n = len(game.contributors), game.membership.shape[1]
    if known != n:
        raise UserError(f"the coalitions are of {n} contributors, and {known} are named: they are not of the same game")
    if not np.isfinite([*game.values, game.null_value, game.full_value]).all():
        raise UserError(f"a utility of '{game.property}' is not a finite number: leave out coalitions without a value")
    size = game.membership.sum(axis=1)
    if len(size) == 0 or size.min() == 0 or size.max() == game.membership.shape[1]:
        raise UserError("an estimator needs coalitions besides the empty one and that of everybody, and only those")
    if len({row.tobytes() for row in np.packbits(game.membership, axis=1)}) < len(size):
        raise UserError(
            "a coalition is in the table twice, and its two utilities may contradict each other: keep one row of each"
        )
