"""What estimators do with a game that is not sound, or tells too little: an error, or a number with a warning."""

from dataclasses import replace

import numpy as np
import pytest
from closed_form import measure, random_game
from hypothesis import given, settings
from hypothesis import strategies as st

from shapley_core.errors import UserError
from shapley_core.estimators import ESTIMATORS, get_estimator
from shapley_core.estimators.accept import FITTING_DESIGNS

pytestmark = pytest.mark.usefixtures("few_trees")

N = 6
PAIRS = [(name, design) for name, designs in FITTING_DESIGNS.items() for design in designs] + [("exact", "exhaustive")]


def fitting_game(name):
    return measure(random_game(N, 0), N, FITTING_DESIGNS.get(name, ("exhaustive",))[0], 44)


def with_row(game, row, value):
    return replace(
        game,
        membership=np.vstack([game.membership, row]),
        values=np.append(game.values, value),
        weight=np.append(game.weight, 1.0),
        pair=np.append(game.pair, -1),
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_unsound_games_are_refused(name):
    game, estimate = fitting_game(name), get_estimator(name)
    for value in (game.values[3], game.values[3] + 9):
        with pytest.raises(UserError, match="a coalition is in the table twice"):
            estimate(with_row(game, game.membership[3], value))
    for row in (np.zeros(N, dtype=bool), np.ones(N, dtype=bool)):
        with pytest.raises(UserError, match="besides the empty one and that of everybody, and only those"):
            estimate(with_row(game, row, 1.0))
    with pytest.raises(UserError, match="besides the empty one"):
        estimate(game.first(0))
    for bad in (np.nan, np.inf, -np.inf):
        values = game.values.copy()
        values[2] = bad
        for unsound in (replace(game, values=values), replace(game, null_value=bad), replace(game, full_value=bad)):
            with pytest.raises(UserError, match="not a finite number"):
                estimate(unsound)
    with pytest.raises(UserError, match=f"the coalitions are of {N} contributors, and {N - 1} are named"):
        estimate(replace(game, contributors=game.contributors[1:]))


@pytest.mark.parametrize(("name", "design"), PAIRS)
@settings(max_examples=12)
@given(st.integers(0, 1000), st.integers(1, 3 * N))
def test_too_few_coalitions_are_refused_or_said(name, design, seed, m):
    try:
        result = get_estimator(name)(measure(random_game(N, seed), N, design, 44, seed).first(m))
    except UserError as error:
        assert len(str(error)) > 40
        return
    assert np.isfinite(result.values).all()
    warnings = result.diagnostics["warnings"]
    if not np.isfinite(result.std_errors).all():
        assert np.isnan(result.std_errors).all() and warnings
    if m < N - 1:
        assert warnings


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"exact", "owen", "permutation", "leave_one_out"}))
def test_contributors_that_are_never_apart_are_named(name):
    # A game in which 1 never comes without 2, measured many times over: of the others everything is known.
    whole = measure(random_game(N, 3), N)
    together = whole.membership[:, 1] == whole.membership[:, 2]
    game = replace(
        whole,
        membership=whole.membership[together],
        values=whole.values[together],
        weight=whole.weight[together],
        pair=np.unique(whole.pair[together], return_inverse=True)[1],
        design=FITTING_DESIGNS[name][0],
    )
    result = get_estimator(name)(game)
    if name != "tree_msr":  # a tree splits at one of them
        assert result.values[1] == pytest.approx(result.values[2], abs=1e-6)
    assert any("c001 and c002 were in the same coalitions" in warning for warning in result.diagnostics["warnings"])


def test_owen_and_permutation_say_nothing_of_what_no_order_tells():
    for name in ("owen", "permutation"):
        game = fitting_game(name)
        apart = game.membership[:, 1] == game.membership[:, 2]
        holed = replace(
            game,
            membership=game.membership[apart],
            values=game.values[apart],
            weight=game.weight[apart],
            pair=np.full(apart.sum(), -1),
        )
        with pytest.raises(UserError, match="no order of joining was measured whole"):
            get_estimator(name)(holed)
