"""The measured game: a plan joined with utilities."""

import numpy as np
import pandas as pd
import pytest

from shapley_core.errors import UserError
from shapley_core.games.measured import measured_game
from shapley_core.games.plan import make_plan

PLAN = make_plan({name: f"hash {name}" for name in "abcde"}, "paired", 20, seed=0, shard_size=8)


def utilities(plan=PLAN):
    """Every coalition measured, its row in the plan as its value; in another order than the plan's."""
    table = pd.DataFrame(
        {
            "key": plan.table["key"],
            "property": "score",
            "value": np.arange(len(plan.table), dtype=float),
            "seed": plan.table["seed"],
            "status": "ok",
            "training_seconds": 1.0,
            "sampling_seconds": 1.0,
            "scoring_seconds": 1.0,
            "device": "cpu",
        }
    )
    return table.drop_duplicates("key").sort_values("key", ignore_index=True)


def failing(row, **changes):
    table = utilities()
    for column, value in changes.items():
        table.loc[table["key"] == PLAN.table["key"][row], column] = value
    return table


def test_everything_measured():
    game = measured_game(PLAN, utilities(), "score", 1.0)
    assert game.contributors == tuple("abcde")
    assert (game.null_value, game.full_value) == (0.0, 1.0)
    np.testing.assert_array_equal(game.values, np.arange(2, 22))
    np.testing.assert_array_equal(game.membership, PLAN.membership[2:])
    np.testing.assert_array_equal(game.weight, PLAN.table["weight"][2:])
    np.testing.assert_array_equal(game.pair, np.arange(20) // 2)
    assert (game.property, game.design, game.n_planned) == ("score", "paired", 20)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "out of memory", "value": np.nan},
        {"status": "out of memory"},
        {"value": np.nan},
        {"value": np.inf},
        {"seed": 12345},
        {"key": "of another coalition"},
        {"property": "another"},
    ],
)
def test_a_failed_coalition_is_dropped_and_its_pair_broken(changes):
    game = measured_game(PLAN, failing(7, **changes), "score", 0.9)
    kept = [row for row in range(2, 22) if row != 7]
    np.testing.assert_array_equal(game.values, kept)
    np.testing.assert_array_equal(game.membership, PLAN.membership[kept])
    np.testing.assert_array_equal(game.weight, PLAN.table["weight"][kept])
    assert game.pair[kept.index(6)] == -1
    assert (np.delete(game.pair, kept.index(6)) >= 0).all()
    assert game.n_planned == 20


def test_a_failed_row_does_not_hide_a_measured_one():
    retried = pd.concat([failing(7, status="killed", value=np.nan), utilities()])
    assert len(measured_game(PLAN, retried, "score", 1.0).values) == 20


@pytest.mark.parametrize(
    ("row", "changes", "message"),
    [
        (0, {"status": "out of memory", "value": np.nan}, "empty coalition.*out of memory"),
        (1, {"value": np.nan}, "everybody.*its value is nan"),
        (1, {"seed": 5}, "everybody.*it was not measured"),
    ],
)
def test_null_and_full_are_needed(row, changes, message):
    with pytest.raises(UserError, match=message):
        measured_game(PLAN, failing(row, **changes), "score", 0.5)


def test_too_few_measured():
    table = utilities()
    table.loc[table["key"].isin(PLAN.table["key"][5:8]), "status"] = "disk full"
    assert len(measured_game(PLAN, table, "score", 0.85).values) == 17
    with pytest.raises(UserError, match=r"only 17 of 20 .* most often: disk full"):
        measured_game(PLAN, table, "score", 0.9)


def test_an_unknown_property_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'score'"):
        measured_game(PLAN, utilities(), "scores", 0.9)
    with pytest.raises(UserError, match="no rows at all"):
        measured_game(PLAN, utilities().iloc[:0], "score", 0.9)


def test_coalitions_with_one_key_share_their_value():
    plan = make_plan({"a": "x", "b": "x", "c": "z"}, "exhaustive", 0, seed=0, shard_size=8)
    game = measured_game(plan, utilities(plan), "score", 1.0)
    value = {tuple(row): v for row, v in zip(game.membership.astype(int).tolist(), game.values, strict=True)}
    assert len(value) == 6
    assert value[1, 0, 0] == value[0, 1, 0] != value[0, 0, 1]
    assert value[1, 0, 1] == value[0, 1, 1]


def test_first_coalitions():
    game = measured_game(PLAN, utilities(), "score", 1.0)
    part = game.first(5)
    np.testing.assert_array_equal(part.values, np.arange(2, 7))
    np.testing.assert_array_equal(part.membership, game.membership[:5])
    np.testing.assert_array_equal(part.pair, [0, 0, 1, 1, -1])
    assert part.full_value == game.full_value
