r"""RegressionMSR with trees (arXiv 2506.11849): boosted trees as the surrogate, corrected by sampling what they miss.

φ(v) = φ(f) + φ(v - f), see :mod:`~shapley_core.estimators.cross_fit`. f is the additive game of ``regression_msr`` plus
gradient-boosted regression trees (Friedman 2001) fitted to what that leaves over, four fifths of the coalitions at a
time, weighted as in ``leverage_shap``. Trees find whichever interactions there are, of any order; the additive game
spares them what they are worst at.

A tree on memberships is a sum over its leaves, and the Shapley values of a leaf are known (those of TreeSHAP, arXiv
1802.03888, for the game f(S) itself, with no background data). A leaf of value c that needs the contributors A to be in
and B to be out, a and b many, is met only by orders of joining in which all of A come before all of B: the last of A
switches it on and the first of B off, each of them with the same probability:

    φ_i = c (a - 1)! b! / (a + b)!   for i ∈ A,        φ_j = -c a! (b - 1)! / (a + b)!   for j ∈ B.

**When.** m = 10n and more, little noise, and utilities that curve or step: about half the squared error of
``regression_msr`` there, and about the same elsewhere. Growing the trees takes seconds at n = 258, m = 1,000, and
scikit-learn, which the light half does not need otherwise.

**Uncertainty.** That of the correction.
"""

from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.estimators.accept import accept
from shapley_core.estimators.cross_fit import additive_surrogates, corrected, folds
from shapley_core.estimators.regression import units
from shapley_core.estimators.result import Attribution
from shapley_core.games.designs.by_size import kernel_weight_by_size
from shapley_core.games.measured import MeasuredGame

Floats = npt.NDArray[np.float64]

_FOLDS = 5

#: 100 trees of up to eight leaves, so of interactions of up to three contributors each.
_BOOSTING = {"n_estimators": 100, "learning_rate": 0.1, "max_depth": 3}


def tree_msr(game: MeasuredGame, *, confidence: float = 0.95, seed: int = 0) -> Attribution:
    """Shapley values by boosted trees and their correction.

    Args:
        game: what was measured.
        confidence: nominal coverage of the intervals.
        seed: of the folds, and between splits that are equally good.

    Returns:
        Values that sum to v(N) - v(∅). ``diagnostics``: ``unknown_sizes``, ``n_units`` and those of ``additive_fit``
        and ``attribute``.

    Raises:
        UserError: scikit-learn is not installed, the design does not fit, the game is not sound, or there are too few
            coalitions for five folds.
    """
    accept(game, "tree_msr")
    boosting = _boosting()
    # Sums of floats hang on their order, and so do splits: rows are put in an order of their membership.
    sorted_game = game.sorted()
    fold = folds(sorted_game, "tree_msr", _FOLDS, seed)
    fold_of_row = fold[units(sorted_game.pair)]
    n = len(game.contributors)
    z = np.vstack([sorted_game.membership, np.zeros(n), np.ones(n)]).astype(np.float64)
    gain = np.append(sorted_game.values, [game.null_value, game.full_value]) - game.null_value
    weight = kernel_weight_by_size(sorted_game.membership)

    surrogates, left_over = [], []
    for number, additive in enumerate(additive_surrogates(sorted_game, fold)):
        rest = gain - z @ additive
        others = np.flatnonzero(fold_of_row != number)
        trees = boosting(**_BOOSTING, random_state=seed % 2**32)
        trees.fit(z[others], rest[others], sample_weight=weight[others])
        of_trees = np.sum([tree_shapley(one.tree_, n) for one in trees.estimators_[:, 0]], axis=0)
        surrogates.append(additive + _BOOSTING["learning_rate"] * of_trees)
        left_over.append(rest - trees.predict(z))
    return corrected(sorted_game, "tree_msr", fold, surrogates, np.array(left_over), confidence)


def tree_shapley(tree: Any, n: int) -> Floats:
    """(n,) Shapley values of the game that a tree (scikit-learn's ``tree_``) makes of 0/1 memberships."""
    values = np.zeros(n)
    pending: list[tuple[int, list[int], list[int]]] = [(0, [], [])]
    while pending:
        node, inside, outside = pending.pop()
        child = tree.children_left[node]
        if child >= 0:
            # A membership is 0 or 1 and the threshold between: left is out, right is in.
            split = int(tree.feature[node])
            pending.append((child, inside, [*outside, split]))
            pending.append((tree.children_right[node], [*inside, split], outside))
            continue
        a, b = len(inside), len(outside)
        of_leaf = tree.value[node].item() / factorial(a + b)
        if a:
            values[inside] += of_leaf * factorial(a - 1) * factorial(b)
        if b:
            values[outside] -= of_leaf * factorial(a) * factorial(b - 1)
    return values


def _boosting() -> Any:
    try:
        from sklearn.ensemble import GradientBoostingRegressor
    except ModuleNotFoundError as error:
        raise UserError(
            "the estimator 'tree_msr' grows trees with scikit-learn, which is not installed here: install it (pip "
            "install scikit-learn), or use 'regression_msr'"
        ) from error
    return GradientBoostingRegressor
