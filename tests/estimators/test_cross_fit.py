"""Cross-fitting: surrogates that have not seen what corrects them."""

from dataclasses import replace

import numpy as np
import pytest
from closed_form import measure, random_game
from hypothesis import given
from hypothesis import strategies as st

from shapley_core.errors import UserError
from shapley_core.estimators.cross_fit import additive_surrogates, folds
from shapley_core.estimators.regression import Contrasts, units
from shapley_core.games.designs.by_size import kernel_weight_by_size

N = 7
seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.sampled_from(["iid", "leverage", "stratified"]), st.integers(2, 10))
def test_a_fold_holds_whole_units_and_its_share_of_each_size(seed, design, n_folds):
    game = measure(random_game(N, seed), N, design, 60, seed % 1000)
    unit = units(game.pair)
    fold = folds(game, "any", n_folds, 0)
    assert fold.shape == (unit.max() + 1,) and set(fold) == set(range(n_folds))
    inside = np.minimum(game.membership.sum(axis=1), (~game.membership).sum(axis=1))
    for size in np.unique(inside):
        counts = np.bincount(fold[np.unique(unit[inside == size])], minlength=n_folds)
        assert np.ptp(counts) <= 1


@pytest.mark.parametrize("design", ["iid", "leverage"])
def test_surrogates_are_the_regressions_without_the_fold(design):
    game = measure(random_game(N, 5), N, design, 80, 5)
    fold = folds(game, "any", 10, 0)
    rows = Contrasts.of(game, kernel_weight_by_size(game.membership))
    expected = []
    for number in range(10):
        x, y, w = (part[fold != number] for part in (rows.x, rows.target, rows.weight))
        expected.append(rows.values(np.linalg.solve(x.T * w @ x, x.T @ (w * y))))
    np.testing.assert_allclose(additive_surrogates(game, fold), expected, atol=1e-7)


def test_a_surrogate_does_not_see_its_fold():
    # Four units outside each fold for four unknowns, so that not every fit is determined.
    game = measure(random_game(5, 1), 5, "leverage", 10, 1)
    fold = np.arange(5)
    changed = replace(game, values=game.values + np.where(units(game.pair) == 2, [3.0, -7.0] * 5, 0.0))
    moved = np.abs(additive_surrogates(changed, fold) - additive_surrogates(game, fold)).max(axis=1)
    assert moved[2] < 1e-4 and (np.delete(moved, 2) > 0.1).any()


def test_too_few_for_the_folds():
    game = measure(random_game(N, 0), N, "leverage", 16).first(14)
    with pytest.raises(
        UserError, match=r"the estimator 'regression_msr' leaves .* measure more, or use 'leverage_shap'"
    ):
        folds(game, "regression_msr", 10, 0)
