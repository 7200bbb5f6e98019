"""Estimators: from a measured game to a value with its uncertainty for every contributor; one file each.

Each file's docstring says what it computes, when to use it, and where it comes from. All are called alike,
``estimator(game, *, confidence=0.95, seed=0) -> Attribution``, and each refuses a game whose design
it cannot use (:mod:`~shapley_core.estimators.accept`).
"""

from collections.abc import Callable

from shapley_core.errors import UserError, did_you_mean
from shapley_core.estimators.accept import check_design, estimators_for
from shapley_core.estimators.banzhaf_msr import banzhaf_msr
from shapley_core.estimators.banzhaf_regression import banzhaf_regression
from shapley_core.estimators.beta_shapley import beta_shapley
from shapley_core.estimators.exact import exact
from shapley_core.estimators.kernel_shap import kernel_shap
from shapley_core.estimators.leave_one_out import leave_one_out
from shapley_core.estimators.leverage_shap import leverage_shap
from shapley_core.estimators.odd_ridge import odd_ridge
from shapley_core.estimators.owen import owen
from shapley_core.estimators.permutation import permutation
from shapley_core.estimators.polyshap import polyshap
from shapley_core.estimators.regression_msr import regression_msr
from shapley_core.estimators.result import Attribution
from shapley_core.estimators.stratified import stratified
from shapley_core.estimators.tree_msr import tree_msr

__all__ = ["ESTIMATORS", "Attribution", "Estimator", "check_design", "estimators_for", "get_estimator"]

#: ``estimator(game, *, confidence=0.95, seed=0) -> Attribution``.
Estimator = Callable[..., Attribution]

ESTIMATORS: dict[str, Estimator] = {
    "banzhaf_msr": banzhaf_msr,
    "banzhaf_regression": banzhaf_regression,
    "beta_shapley": beta_shapley,
    "exact": exact,
    "kernel_shap": kernel_shap,
    "leave_one_out": leave_one_out,
    "leverage_shap": leverage_shap,
    "odd_ridge": odd_ridge,
    "owen": owen,
    "permutation": permutation,
    "polyshap": polyshap,
    "regression_msr": regression_msr,
    "stratified": stratified,
    "tree_msr": tree_msr,
}


def get_estimator(name: str) -> Estimator:
    """The estimator called ``name``.

    Raises:
        UserError: there is none of that name.
    """
    if name not in ESTIMATORS:
        raise UserError(f"there is no estimator '{name}'; {did_you_mean(name, ESTIMATORS)}")
    return ESTIMATORS[name]
