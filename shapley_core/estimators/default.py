"""The estimator that a valuation takes where nobody names one.

For coalitions drawn by size (``paired``, ``leverage``, ``iid``, ``stratified``) it is ``odd_ridge``: on the measured
games of docs/estimators.md its error is a small part of the paper's at every budget, because it takes off what
utilities owe to a coalition's size alone, and shrinks what the coalitions do not tell. The whole game needs no
estimate (``exact``). Coalitions of another kind have the estimator that is made for them.
"""

from shapley_core.errors import UserError
from shapley_core.estimators.accept import estimators_for
from shapley_core.games.designs import design_name
from shapley_core.games.measured import MeasuredGame

#: The setting that asks for the default.
AUTO = "auto"

_MADE_FOR = {
    "antithetic_permutation": "permutation",
    "permutation": "permutation",
    "two_level": "owen",
    "uniform": "banzhaf_msr",
    "leave_one_out": "leave_one_out",
}


def chosen_estimator(setting: str, game: MeasuredGame) -> str:
    """The estimator that the setting names for this game: itself, or the default where it is :data:`AUTO`."""
    return default_estimator(game.design, len(game.contributors), len(game.values)) if setting == AUTO else setting


def default_estimator(design: str, n: int, m: int) -> str:
    """Name of the estimator for ``m`` measured coalitions of ``n`` contributors drawn by ``design``.

    Raises:
        UserError: no estimator can use the design.
    """
    if m >= 2**n - 2:
        return "exact"
    able = estimators_for(design)
    if not able:
        raise UserError(f"no estimator gives values from coalitions of the design '{design}': choose another design")
    return "odd_ridge" if "odd_ridge" in able else _MADE_FOR[design_name(design)]
