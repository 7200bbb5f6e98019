"""Which coalitions an evaluation measures: what for, how often, with which seeds."""

from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapley_core.config import EvaluationConfig
from shapley_core.errors import UserError
from shapley_core.evaluation.coalitions import (
    counterfactual_coalitions,
    evaluation_plan,
    measurements,
    removal_coalitions,
    retraining_coalitions,
)
from shapley_core.games.designs.held_out import n_members
from shapley_core.games.plan import MAX_SHARDS, Plan, make_plan
from shapley_core.seeds import derive_seed

SEED = 3


def valuation(n: int = 10, m: int = 40) -> Plan:
    return make_plan({f"c{i:03}": f"data {i}" for i in range(n)}, "paired", m, SEED, 16)


def config(**changes: object) -> EvaluationConfig:
    small: dict[str, object] = {"n_held_out": 5, "n_repeated": 4, "n_retrained": 6, "n_finetuned": 6, "n_compared": 2}
    return EvaluationConfig.model_validate(small | changes)


def planned(plan: Plan, wanted: pd.DataFrame, shard_size: int) -> Plan:
    """Of a store that knows nothing."""
    rows = measurements(plan, wanted)
    return evaluation_plan(plan, rows, np.zeros(len(rows), dtype=bool), shard_size)


@pytest.mark.parametrize(
    ("n", "alpha", "size"),
    [
        (10, 0.25, 3),
        (10, 0.75, 7),
        (10, 0.5, 5),
        (5, 0.5, 2),
        (20, 0.25, 5),
        (50, 0.29, 15),
        (3, 0.01, 1),
        (3, 0.99, 2),
    ],
)
def test_a_half_is_rounded_towards_the_middle(n: int, alpha: float, size: int) -> None:
    assert n_members(n, alpha) == size


@given(st.integers(2, 60), st.floats(0.01, 0.99))
def test_sizes_of_a_share_and_of_what_is_left_are_complementary(n: int, alpha: float) -> None:
    assert abs(n_members(n, alpha) + n_members(n, 1 - alpha) - n) <= (1 if round(alpha * n, 9) % 1 == 0.5 else 0)


def test_held_out_sets_are_disjoint_unseen_and_of_one_size() -> None:
    plan = valuation()
    table = retraining_coalitions(plan, config(), SEED)
    held_out = table[table["purpose"] == "held_out"]
    assert not set(held_out["key"]) & set(plan.table["key"])
    for alpha, size in ((0.25, 3), (0.5, 5), (0.75, 7)):
        rows = held_out[held_out["share"] == alpha]
        assert set(rows["members"].map(len)) == {size}
        assert rows["key"].is_unique and (rows.groupby("set").size() == 5).all() and rows["set"].nunique() == 3
    assert held_out["seed"].is_unique


def test_a_larger_budget_keeps_what_was_there() -> None:
    few, more = (retraining_coalitions(valuation(), config(n_held_out=k), SEED) for k in (3, 7))
    chosen = [t[t["purpose"] == "held_out"] for t in (few, more)]
    held_out = [{*zip(t["set"], t["key"], t["seed"], strict=True)} for t in chosen]
    assert len(held_out[0]) == 27 and held_out[0] <= held_out[1]


def test_where_few_are_left_every_set_gets_as_many() -> None:
    plan = valuation(m=400)
    unseen = comb(10, 3) - (plan.table["size"] == 3).sum()
    table = retraining_coalitions(plan, config(n_held_out=1000, alphas=[0.25]), SEED)
    assert (table[table["purpose"] == "held_out"].groupby("set").size() == unseen // 3).all()


def test_too_few_unseen_coalitions_are_told() -> None:
    with pytest.raises(UserError, match=r"only 0 coalitions of 5 contributors \(evaluation.alphas 0.5\)"):
        retraining_coalitions(valuation(m=1022), config(alphas=[0.5]), SEED)


def test_contributors_with_the_same_data_do_not_make_two_coalitions_of_one() -> None:
    plan = make_plan({f"c{i}": f"data {i // 2}" for i in range(8)}, "paired", 16, SEED, 16)
    table = retraining_coalitions(plan, config(n_held_out=100, alphas=[0.5]), SEED)
    assert table.loc[table["purpose"] == "held_out", "key"].is_unique


def test_leave_one_out_and_fit_have_the_seeds_of_the_valuation() -> None:
    table = retraining_coalitions(valuation(), config(), SEED)
    for purpose, n in (("leave_one_out", 12), ("fit", 8), ("compared", 2)):
        rows = table[table["purpose"] == purpose]
        assert len(rows) == n
        assert [*rows["seed"]] == [derive_seed(SEED, "coalition", key) for key in rows["key"]]
    assert sorted(table.loc[table["purpose"] == "leave_one_out", "members"].map(len)) == [0, *[9] * 10, 10]


def test_repeated_coalitions_are_those_of_the_middle_share_with_other_seeds() -> None:
    table = retraining_coalitions(valuation(), config(), SEED)
    first = table[(table["purpose"] == "held_out") & (table["share"] == 0.5)].head(4)
    again = table[table["purpose"] == "repeated"]
    assert [*again["key"]] == [*first["key"]] and not set(again["seed"]) & set(table.loc[first.index, "seed"])


def test_several_seeds_of_each_held_out_coalition_and_as_many_again() -> None:
    """The first seeds are those of an evaluation with one, so that its retrainings are not done twice."""
    one, three = (retraining_coalitions(valuation(), config(n_seeds=k), SEED) for k in (1, 3))
    where = ["share", "set", "key"]
    for purpose, n in (("held_out", 45), ("repeated", 4)):
        rows = three[three["purpose"] == purpose]
        assert len(rows) == 3 * n and (rows.groupby(where)["seed"].nunique() == 3).all()
        assert [*rows.head(15)["key"]][:n] == [*one.loc[one["purpose"] == purpose, "key"]][:15]
    seeds = {k: {*zip(t["purpose"], t["key"], t["seed"], strict=True)} for k, t in ((1, one), (3, three))}
    assert {row for row in seeds[1] if row[0] == "held_out"} <= seeds[3]
    assert {row[1:] for row in seeds[1] if row[0] == "repeated"} <= {
        row[1:] for row in seeds[3] if row[0] == "held_out"
    }
    noise = three[three["purpose"].isin(("held_out", "repeated"))]
    assert noise["seed"].is_unique


def test_everybody_is_retrained_where_counterfactuals_are_told_against_it() -> None:
    for wanted, n in (({}, 3), ({"remove": [], "keep": []}, 0), ({"remove": []}, 3)):
        assert (retraining_coalitions(valuation(), config(**wanted), SEED)["purpose"] == "everybody").sum() == n


def test_nothing_is_asked_of_a_method_that_is_not_wanted() -> None:
    assert removal_coalitions(valuation(), 0, 0).empty
    nothing = planned(valuation(), removal_coalitions(valuation(), 0, 0), 4)
    assert nothing.shards == [0] and nothing.shard(0).empty
    only_compared = removal_coalitions(valuation(), 0, 3)
    assert [*only_compared["purpose"]] == ["compared"] * 3


def test_counterfactuals_by_hand() -> None:
    plan = valuation(n=5, m=10)
    tau = {"first": np.array([5.0, 4, 3, 2, 1]), "last": np.array([1.0, 2, 3, 4, 5])}
    table = counterfactual_coalitions(tau, plan, config(n_sets=2, remove=[0.4], keep=[0.6]))
    assert len(table) == 2 * 2 * 2
    members = table.set_index(["set", "attribution", "action"])["members"]
    assert members[0, "first", "remove"] == [2, 3, 4] and members[1, "first", "keep"] == [0, 1, 2]
    assert members[0, "last", "remove"] == [0, 1, 2] and members[0, "last", "keep"] == [2, 3, 4]
    # without the first two, or the last three alone, is one coalition of a set: one training
    assert len(planned(plan, table, 8).table) == 2 * 2


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 120), st.sampled_from((1, 2, 10)), st.sampled_from((0.0, 0.3, 1.0)))
def test_the_plan_measures_each_once_and_no_shard_has_a_coalition_twice(
    shard_size: int, n_held_out: int, n_seeds: int, share_known: float
) -> None:
    plan = valuation()
    wanted = config(n_held_out=n_held_out + 1, n_repeated=n_held_out, n_seeds=n_seeds)
    table = retraining_coalitions(plan, wanted, SEED)
    rows = measurements(plan, table)
    known = np.random.default_rng(0).random(len(rows)) < share_known
    drawn = evaluation_plan(plan, rows, known, shard_size)
    assert drawn.shards == list(range(len(drawn.shards))) and len(drawn.shards) <= MAX_SHARDS
    assert {*zip(drawn.table["key"], drawn.table["seed"], strict=True)} == {
        *zip(table["key"], table["seed"], strict=True)
    }
    assert not drawn.table.duplicated(["shard", "key"]).any()
    assert sum(len(drawn.shard(k)) for k in drawn.shards) == len(drawn.table)
    assert (drawn.table["kind"] == "compared").sum() == 2
    assert (drawn.table["kind"] == "full").sum() == 4  # everybody in three sets, and of the valuation
    assert not {*drawn.table["shard"][known]} & {*drawn.table["shard"][~known]}
    once = ~rows.duplicated("key") & known
    assert drawn.table["shard"][once].nunique() == min(1, once.sum())


def test_most_sets_and_seeds_still_fit_into_the_shards() -> None:
    plan = valuation()
    table = retraining_coalitions(plan, config(n_sets=20, n_seeds=10, alphas=[0.5]), SEED)
    rows = measurements(plan, table)
    drawn = evaluation_plan(plan, rows, np.arange(len(rows)) % 2 == 0, 1)
    assert len(drawn.shards) <= MAX_SHARDS
    with pytest.raises(ValueError, match="n_sets"):
        config(n_sets=21)


def test_a_plan_survives_being_written(tmp_path) -> None:
    drawn = planned(valuation(), retraining_coalitions(valuation(), config(), SEED), 4)
    drawn.save(tmp_path / "plan")
    assert Plan.load(tmp_path / "plan").table.equals(drawn.table)
