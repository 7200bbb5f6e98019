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


NAMES = {f"digit {i}": f"data {i}" for i in range(10)}
UNIONS = {name: "ab"[i % 2] for i, name in enumerate(NAMES)}


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
    report = (stopped / "report.html").read_text()
    assert "Stopped after 24 of 50 coalitions" in report
    assert "24<small> of 50</small>" in report


def test_the_values_are_those_of_a_smaller_plan(stopped: Path, tmp_path: Path) -> None:
    smaller = value(tmp_path, TINY | {"game.n_coalitions": 24}, store=stopped.parent / "store")
    pd.testing.assert_frame_equal(
        pd.read_parquet(smaller / "values.parquet"), pd.read_parquet(stopped / "values.parquet"), check_exact=True
    )


def test_a_finer_goal_measures_only_what_is_missing(stopped: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path, str(stopped.parent / "store"))
    chain.prepare("digits", SHARDS | {"stopping.std_error": 1e-9})
    shards = chain.models()
    assert [chain.measure(shard) for shard in shards] == [7, 6, 7, 6]
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


@pytest.mark.parametrize(
    "design",
    ["paired", "leverage", "iid", "stratified", "uniform", "permutation", "antithetic_permutation", "two_level"],
)
def test_the_beginning_of_a_plan_is_the_plan_of_its_size(design: str) -> None:
    settings = resolve(
        "digits", {"game.design": design, "game.unions": UNIONS if design == "two_level" else None, "seed": 0}
    )
    plan = plan_of(design, 60)
    tried = plan.table.drop_duplicates("key").iloc[np.r_[0:38, 45:50]]  # null, full and 36; then a gap
    begun = first_measured(plan, tried, settings)
    m = int((begun.table["kind"] == "sampled").sum())
    assert set(begun.table["key"]) <= set(tried["key"])
    assert begun.table["key"].nunique() == (38 if design != "two_level" else 34)  # whole orders only
    assert (begun.table["key"] == plan.table["key"][: m + 2]).all()
    assert (begun.table["weight"] == plan_of(design, 36).table["weight"]).all()
    assert first_measured(plan, plan.table, settings) is plan


def plan_of(design: str, n_coalitions: int, shard_size: int = 16) -> Plan:
    return make_plan(NAMES, design, n_coalitions, 0, shard_size, UNIONS if design == "two_level" else None)


@pytest.mark.parametrize("design", ["exhaustive", "leave_one_out"])
def test_what_is_measured_as_a_whole_cannot_stop(design: str) -> None:
    plan = plan_of(design, 10, shard_size=2)
    with pytest.raises(UserError, match=f"the design '{design}' is measured as a whole and cannot stop early"):
        check_stopping(resolve("digits", EASY), plan)
    check_stopping(resolve("digits"), plan)


def test_shards_too_few_to_stop_are_told_and_the_size_that_is_named_will_do() -> None:
    settings = resolve("digits", EASY)
    with pytest.raises(UserError, match=r"there are only 2: set run\.shard_size to 20 or so"):
        check_stopping(settings, plan_of("paired", 160, shard_size=81))
    check_stopping(settings, plan_of("paired", 160, shard_size=20))
