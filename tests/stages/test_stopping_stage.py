"""A valuation that stops early: why, on what its values rest, and that a larger one takes up where it stopped."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import TINY

from shapley_core.config import StoppingConfig, resolve
from shapley_core.errors import UserError
from shapley_core.games.plan import Plan, make_plan
from shapley_core.stages.chain import Chain, value
from shapley_core.stages.stopping import check_stopping, first_measured, stopping_rule

#: Four shards, of which the third starts with 26 coalitions measured.
SHARDS = TINY | {"game.n_coalitions": 50, "run.shard_size": 13}
#: A precision that any result has.
EASY = {"stopping.std_error": 1e6}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return value(tmp_path_factory.mktemp("stopped"), SHARDS | EASY)


def test_shards_after_enough_was_measured_measure_nothing(stopped: Path) -> None:
    plan = Plan.load(stopped.parent / "plan")
    utilities = pd.read_parquet(stopped / "utilities.parquet")
    assert set(utilities["key"]) == {*plan.shard(0)["key"], *plan.shard(1)["key"]}
    result = json.loads((stopped / "values.json").read_text())
    assert result["diagnostics"]["stopped"].startswith("Stopped after 24 of 50 coalitions: the largest standard error")
    assert result["n_coalitions"] == 24
    assert "Stopped after 24 of 50 coalitions" in (stopped / "report.html").read_text()


def test_the_values_are_those_of_a_smaller_plan(stopped: Path, tmp_path: Path) -> None:
    smaller = value(tmp_path, TINY | {"game.n_coalitions": 24}, store=stopped.parent / "store")
    pd.testing.assert_frame_equal(
        pd.read_parquet(smaller / "values.parquet"), pd.read_parquet(stopped / "values.parquet"), check_exact=True
    )


def test_a_finer_goal_measures_only_what_is_missing(stopped: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path, str(stopped.parent / "store"))
    chain.prepare("digits", SHARDS | {"stopping.std_error": 1e-9})
    shards = chain.models()
    assert [chain.measure(shard) for shard in shards] == [0, 0, 13, 13]
    result = json.loads((chain.estimate(shards) / "values.json").read_text())
    assert result["n_coalitions"] == 50
    assert "stopped" not in result["diagnostics"]


def test_the_time_is_that_of_the_run(stopped: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path, str(tmp_path / "store"))
    chain.prepare("digits", SHARDS | {"stopping.seconds": 1e-3})
    shards = chain.models()
    # Until null, full and enough others are there, nothing can be judged; the time is up long before.
    assert [chain.measure(shard) for shard in shards] == [13, 13, 0, 0]
    result = json.loads((chain.estimate(shards) / "values.json").read_text())
    assert "of at most 0 seconds" in result["diagnostics"]["stopped"]


def test_goals_are_reached_together_and_time_alone() -> None:
    assert stopping_rule(StoppingConfig()) is None
    both = repr(stopping_rule(StoppingConfig(std_error=0.1, rank_stability=0.9)))
    assert both.startswith("Both(")
    all_three = repr(stopping_rule(StoppingConfig(std_error=0.1, rank_stability=0.9, seconds=60)))
    assert all_three.startswith("Either(one=Both(")


@pytest.mark.parametrize("design", ["paired", "leverage", "iid", "stratified", "uniform"])
def test_the_beginning_of_a_plan_is_the_plan_of_its_size(design: str) -> None:
    settings = resolve("digits", {"game.design": design, "game.n_coalitions": 60, "run.shard_size": 16})
    names = {f"digit {i}": f"data {i}" for i in range(10)}
    plan = make_plan(names, design, 60, settings.seed, 16)
    tried = plan.table.iloc[np.r_[0:38, 45:50]]  # null, full and 36; then a gap
    begun = first_measured(plan, tried, settings)
    smaller = make_plan(names, design, 36, settings.seed, 16)
    pd.testing.assert_frame_equal(begun.table, smaller.table)
    assert first_measured(plan, plan.table, settings) is plan


@pytest.mark.parametrize("design", ["exhaustive", "leave_one_out"])
def test_what_is_measured_as_a_whole_cannot_stop(design: str) -> None:
    with pytest.raises(UserError, match=f"the design '{design}' is measured as a whole and cannot stop early"):
        check_stopping(resolve("digits", {"game.design": design, **EASY}))
    check_stopping(resolve("digits", {"game.design": design}))
