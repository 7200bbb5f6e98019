"""The default estimator fits every design it is asked for, and beats the paper's method on the measured games."""

import closed_form
import numpy as np
import pytest

from shapley_core.errors import UserError
from shapley_core.estimators import get_estimator
from shapley_core.estimators.accept import check_design
from shapley_core.estimators.default import default_estimator
from shapley_core.games.designs import DESIGNS

NO_VALUES = {"held_out"}


@pytest.mark.parametrize("design", sorted(DESIGNS.keys() - NO_VALUES))
def test_it_can_use_the_design(design):
    game = closed_form.measure(closed_form.random_game(6, 0), 6, design, 24, unions=(0, 0, 0, 1, 1, 2))
    name = default_estimator(design, 6, len(game.values))
    check_design(name, design)
    assert np.isfinite(get_estimator(name)(game).values).all()


def test_the_whole_game_is_solved_exactly():
    assert default_estimator("exhaustive", 4, 14) == "exact"
    assert default_estimator("exhaustive", 4, 13) == "odd_ridge"  # a coalition failed
    assert default_estimator("paired", 10, 110) == "odd_ridge"


def test_a_design_without_an_estimator_is_told():
    with pytest.raises(UserError, match="no estimator gives values from coalitions of the design 'held_out"):
        default_estimator("held_out(0.5)", 10, 100)


def test_an_error_a_third_of_the_papers_where_utilities_curve_with_the_size():
    game, ours, papers = closed_form.sqrt_sum(20), [], []
    for seed in range(10):
        for errors, design, name in (
            (papers, "iid", "kernel_shap"),
            (ours, "paired", default_estimator("paired", 20, 200)),
        ):
            values = get_estimator(name)(closed_form.play(game, design, 200, seed, noise=0.5)).values
            errors.append(((values - game.values) ** 2).sum())
    assert np.mean(ours) < np.mean(papers) / 3
