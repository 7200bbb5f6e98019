"""The plan: what every coalition is called, and how the work is shared out."""

import itertools
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapley_core.errors import UserError
from shapley_core.games.coalition import coalition_key
from shapley_core.games.plan import MAX_SHARDS, Plan, make_plan
from shapley_core.seeds import derive_seed

FINGERPRINTS = {name: f"hash of {name}" for name in ["dora", "ada", "cleo", "bo", "eve"]}


def test_rows_are_null_full_then_the_design():
    plan = make_plan(FINGERPRINTS, "paired", 12, seed=3, shard_size=4)
    assert plan.contributors == ("ada", "bo", "cleo", "dora", "eve")
    assert plan.fingerprints == tuple(f"hash of {name}" for name in plan.contributors)
    assert plan.design == "paired"
    table = plan.table
    assert list(table["kind"]) == ["null", "full"] + ["sampled"] * 12
    assert table["members"][0] == [] and table["members"][1] == [0, 1, 2, 3, 4]
    assert list(table["pair"]) == [-1, -1] + [i // 2 for i in range(12)]
    assert (table["weight"][2:] >= 1).all() and (table["weight"][:2] == 0).all()
    for row in table.itertuples():
        assert row.members == sorted(row.members) and len(row.members) == row.size
        assert row.key == coalition_key(plan.fingerprints[i] for i in row.members)
        assert row.seed == derive_seed(3, "coalition", row.key)
    expected = [[i in members for i in range(5)] for members in table["members"]]
    np.testing.assert_array_equal(plan.membership, expected)


@pytest.mark.parametrize("n_coalitions", [1000, 20_000])
def test_at_most_64_balanced_shards(n_coalitions):
    plan = make_plan({f"c{i}": f"{i}" for i in range(100)}, "iid", n_coalitions, seed=0, shard_size=3)
    assert plan.shards == list(range(MAX_SHARDS))
    sizes = [len(plan.shard(i)) for i in plan.shards]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == n_coalitions + 2


def test_shards_have_the_size_asked_for_when_there_is_room():
    plan = make_plan(FINGERPRINTS, "paired", 18, seed=0, shard_size=5)
    assert [len(plan.shard(i)) for i in plan.shards] == [5, 5, 5, 5]
    assert len(make_plan(FINGERPRINTS, "paired", 18, seed=0, shard_size=100).shards) == 1


@settings(max_examples=50)
@given(st.integers(1, 30), st.floats(0, 1), st.integers(0, 10_000))
def test_what_is_not_known_is_shared_out_evenly_and_nothing_is_lost(shard_size, share, seed):
    twins = FINGERPRINTS | {"twin": FINGERPRINTS["ada"]}
    plan = make_plan(twins, "paired", 40, seed=0, shard_size=shard_size)
    keys = plan.table["key"].unique()
    known = {key for key, draw in zip(keys, np.random.default_rng(seed).random(len(keys)), strict=True) if draw < share}
    again = plan.shared_out(plan.table["key"].isin(known).to_numpy())
    pd.testing.assert_frame_equal(again.table.drop(columns="shard"), plan.table.drop(columns="shard"))
    shards = [again.shard(k)["key"].tolist() for k in again.shards]
    assert sorted(itertools.chain(*shards)) == sorted(keys) and known.isdisjoint(itertools.chain(*shards[1:]))
    left = [sum(key not in known for key in shard) for shard in shards]
    assert max(left) - min(left) <= 1
    assert len(shards) == max(1, min(len(plan.shards), len(keys) - len(known)))
    assert [key for shard in shards for key in shard if key not in known] == [key for key in keys if key not in known]


def test_a_plan_of_which_nothing_is_known_is_shared_out_as_it_was():
    plan = make_plan(FINGERPRINTS, "paired", 20, seed=1, shard_size=4)
    assert plan.shared_out(np.zeros(22, dtype=bool)).table.equals(plan.table)


def test_shard_size_changes_nothing_but_the_shard():
    plans = [make_plan(FINGERPRINTS, "paired", 20, seed=1, shard_size=size) for size in (1, 4, 100)]
    for plan in plans[1:]:
        pd.testing.assert_frame_equal(plan.table.drop(columns="shard"), plans[0].table.drop(columns="shard"))
    assert len({len(plan.shards) for plan in plans}) == 3


def test_keys_and_seeds_depend_on_data_not_on_names_or_order():
    plan = make_plan(FINGERPRINTS, "exhaustive", 0, seed=1, shard_size=4)
    renamed = {f"{9 - i} renamed": data for i, data in enumerate(FINGERPRINTS.values())}
    other = make_plan(renamed, "exhaustive", 0, seed=1, shard_size=4)
    assert other.fingerprints != plan.fingerprints
    seeds, other_seeds = (dict(zip(p.table["key"], p.table["seed"], strict=True)) for p in (plan, other))
    assert seeds == other_seeds
    reordered = make_plan(dict(reversed(FINGERPRINTS.items())), "iid", 12, seed=1, shard_size=4)
    pd.testing.assert_frame_equal(reordered.table, make_plan(FINGERPRINTS, "iid", 12, 1, 4).table)


def test_keys_and_seeds_keep_their_meaning_when_somebody_joins():
    before = make_plan(FINGERPRINTS, "exhaustive", 0, seed=1, shard_size=4)
    after = make_plan({**FINGERPRINTS, "aaron": "hash of aaron"}, "exhaustive", 0, seed=1, shard_size=4)

    def named(plan):
        members = [frozenset(plan.contributors[i] for i in row) for row in plan.table["members"]]
        return {who: (row.key, row.seed) for who, row in zip(members, plan.table.itertuples(), strict=True)}

    for who, identity in named(before).items():
        assert named(after)[who] == identity


def test_contributors_with_identical_data_are_measured_once():
    plan = make_plan({**FINGERPRINTS, "twin": FINGERPRINTS["ada"]}, "exhaustive", 0, seed=0, shard_size=7)
    table = plan.table
    assert len(table) == 64
    # Any of the four others, and none, one or both of the twins: 2^4 * 3 distinct multisets.
    assert table["key"].nunique() == 48
    assert len(table[["key", "seed", "shard"]].drop_duplicates()) == 48
    measured = pd.concat([plan.shard(i) for i in plan.shards])
    assert sorted(measured["key"]) == sorted(set(table["key"]))
    sizes = [len(plan.shard(i)) for i in plan.shards]
    assert max(sizes) - min(sizes) <= 1


def test_round_trip_through_parquet(tmp_path):
    plan = make_plan({**FINGERPRINTS, "<script>é": "x"}, "paired", 20, seed=2**63 - 1, shard_size=4)
    plan.save(tmp_path / "plan.parquet")
    loaded = Plan.load(tmp_path / "plan.parquet")
    assert (loaded.contributors, loaded.fingerprints, loaded.design) == (
        plan.contributors,
        plan.fingerprints,
        plan.design,
    )
    pd.testing.assert_frame_equal(loaded.table, plan.table)
    assert all(isinstance(members, list) for members in loaded.table["members"])
    np.testing.assert_array_equal(loaded.membership, plan.membership)
    assert pq.read_schema(tmp_path / "plan.parquet").names == list(plan.table.columns)


def test_one_seed_one_file(tmp_path):
    for name in ("one", "two"):
        make_plan(FINGERPRINTS, "paired", 20, seed=4, shard_size=4).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("fingerprints", "n_coalitions", "shard_size", "message"),
    [
        ({"only": "x"}, 64, 4, "at least two contributors"),
        (FINGERPRINTS, 8, 4, "needs at least 10"),
        (FINGERPRINTS, 12, 0, "shard_size is 0"),
    ],
)
def test_what_is_refused(fingerprints, n_coalitions, shard_size, message):
    with pytest.raises(UserError, match=message):
        make_plan(fingerprints, "paired", n_coalitions, seed=0, shard_size=shard_size)


@pytest.mark.parametrize("design", ["iid", "leverage", "antithetic_permutation"])
def test_an_extended_plan_keeps_places_keys_and_seeds(design):
    names = {f"c{i}": f"hash {i}" for i in range(8)}
    short, long = (make_plan(names, design, m, seed=3, shard_size=16) for m in (60, 130))
    m = len(short.table)
    assert m < len(long.table)
    kept = ["key", "members", "size", "kind", "pair", "seed"]
    pd.testing.assert_frame_equal(short.table[kept], long.table[kept].iloc[:m])
    np.testing.assert_array_equal(short.orders, long.orders[: len(short.orders)])


def test_orders_survive_the_file(tmp_path):
    plan = make_plan(FINGERPRINTS, "permutation", 12, seed=1, shard_size=4)
    plan.save(tmp_path / "plan.parquet")
    loaded = Plan.load(tmp_path / "plan.parquet").orders
    assert loaded.dtype == np.int64 and len(loaded) > 0
    np.testing.assert_array_equal(loaded, plan.orders)


def test_unions_survive_the_file(tmp_path):
    unions = {"ada": "x", "bo": "y", "cleo": "x", "dora": "a", "eve": "y"}
    plan = make_plan(FINGERPRINTS, "two_level", 12, seed=1, shard_size=4, unions=unions)
    plan.save(tmp_path / "plan.parquet")
    loaded = Plan.load(tmp_path / "plan.parquet")
    assert loaded.unions == plan.unions == (1, 2, 1, 0, 2)
    np.testing.assert_array_equal(loaded.orders, plan.orders)


def test_a_file_from_before_unions_is_read(tmp_path):
    path = tmp_path / "plan.parquet"
    make_plan(FINGERPRINTS, "paired", 12, seed=1, shard_size=4).save(path)
    stored = pq.read_table(path)
    facts = json.loads(stored.schema.metadata[b"plan"])
    del facts["unions"]
    pq.write_table(stored.replace_schema_metadata({"plan": json.dumps(facts)}), path)
    assert Plan.load(path).unions == ()


def test_everybody_needs_a_union_where_one_has_one():
    with pytest.raises(UserError, match="the contributor bo belongs to no union, and 3 more do not"):
        make_plan(FINGERPRINTS, "two_level", 12, seed=1, shard_size=4, unions={"ada": "x"})
    with pytest.raises(UserError, match=r"which contributors belong together.*'antithetic_permutation'"):
        make_plan(FINGERPRINTS, "two_level", 12, seed=1, shard_size=4)
