"""Estimators: from a measured game to a value with its uncertainty for every contributor; one file each."""

from collections.abc import Callable

from shapley_core.errors import UserError, did_you_mean
from shapley_core.estimators.exact import exact
from shapley_core.estimators.kernel_shap import kernel_shap
from shapley_core.estimators.leverage_shap import leverage_shap
from shapley_core.estimators.result import Attribution

#: ``estimator(game, *, confidence=0.95, n_bootstrap=1000, seed=0) -> Attribution``.
Estimator = Callable[..., Attribution]

ESTIMATORS: dict[str, Estimator] = {"exact": exact, "kernel_shap": kernel_shap, "leverage_shap": leverage_shap}


def get_estimator(name: str) -> Estimator:
    """The estimator called ``name``.

    Raises:
        UserError: there is none of that name.
    """
    if name not in ESTIMATORS:
        raise UserError(f"there is no estimator '{name}'; {did_you_mean(name, ESTIMATORS)}")
    return ESTIMATORS[name]
