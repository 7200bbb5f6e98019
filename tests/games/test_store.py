"""The utility store, on a local folder and on a real S3 server."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import shapley_core
from shapley_core.errors import UserError
from shapley_core.games.store import UtilityStore
from shapley_core.games.utilities import UTILITY_SCHEMA
from shapley_core.storage import Store, open_store

REPOSITORY = Path(shapley_core.__file__).parents[1]
GAME = "0123456789abcdef"


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(str(tmp_path / "store"))
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/utilities")


def table(values: dict[str, float], status: str = "ok", seed: int = 1) -> pd.DataFrame:
    """Utilities of some coalitions by key."""
    return pd.DataFrame(
        {
            "key": list(values),
            "property": "inception_score",
            "value": list(values.values()),
            "seed": seed,
            "status": status,
            "training_seconds": 1.0,
            "sampling_seconds": 2.0,
            "scoring_seconds": 0.5,
            "device": "cpu",
        }
    )


def values(loaded: pd.DataFrame) -> dict[str, float]:
    return dict(zip(loaded["key"], loaded["value"], strict=True))


def test_nothing_measured(store: Store) -> None:
    loaded = UtilityStore(store, GAME).load()
    assert len(loaded) == 0
    assert list(loaded.columns) == UTILITY_SCHEMA.names


def test_an_empty_table_leaves_nothing(store: Store) -> None:
    UtilityStore(store, GAME).append(table({"a": 1.0}).iloc[:0])
    assert store.list() == []


def test_round_trip_to_the_last_digit(store: Store) -> None:
    utilities = table({"a": 0.1 + 0.2, "b": 1e-300, "é": -7.0}, seed=2**62 + 1)
    UtilityStore(store, GAME).append(utilities)
    loaded = UtilityStore(store, GAME).load()
    pd.testing.assert_frame_equal(loaded, utilities, check_dtype=False, rtol=0, atol=0)


def test_tables_add_up(store: Store) -> None:
    utilities = UtilityStore(store, GAME)
    utilities.append(table({"a": 1.0}))
    utilities.append(table({"b": 2.0, "c": 3.0}))
    assert values(utilities.load()) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert len(store.list(f"{GAME}/")) == 2


def test_the_same_table_twice_is_one_object(store: Store) -> None:
    utilities = UtilityStore(store, GAME)
    utilities.append(table({"a": 1.0}))
    utilities.append(table({"a": 1.0}))
    assert len(store.list()) == 1
    assert values(utilities.load()) == {"a": 1.0}


def test_what_failed_once_can_be_measured_later(store: Store) -> None:
    utilities = UtilityStore(store, GAME)
    utilities.append(table({"a": float("nan"), "b": float("nan")}, status="out of memory"))
    assert set(utilities.load()["status"]) == {"out of memory"}
    utilities.append(table({"a": 1.0}))
    loaded = utilities.load().set_index("key")
    assert loaded["status"].to_dict() == {"a": "ok", "b": "out of memory"}
    assert loaded.loc["a", "value"] == 1.0


def test_games_are_apart(store: Store) -> None:
    UtilityStore(store, GAME).append(table({"a": 1.0}))
    UtilityStore(store, f"{GAME}0").append(table({"a": 2.0}))
    assert values(UtilityStore(store, GAME).load()) == {"a": 1.0}
    assert values(UtilityStore(store, f"{GAME}0").load()) == {"a": 2.0}


def test_two_processes_at_once_end_with_the_union(store: Store) -> None:
    code = """
import sys
sys.path.insert(0, "tests/games")
from test_store import GAME, table
from shapley_core.games.store import UtilityStore
from shapley_core.storage import open_store
utilities, name = UtilityStore(open_store(sys.argv[1]), GAME), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for i in range(10):
    utilities.append(table({f"{name}{i}": float(i), f"both{i}": 0.5}))
    keys = set(utilities.load()["key"])
    assert {f"{name}{j}" for j in range(i + 1)} <= keys, keys
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, store.uri, name],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("left", "right")
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait() for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    expected = {f"{name}{i}": float(i) for name in ("left", "right") for i in range(10)}
    expected |= {f"both{i}": 0.5 for i in range(10)}
    assert values(UtilityStore(store, GAME).load()) == expected
    assert len(store.list()) == 20


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "nonsense"])
def test_a_damaged_table_is_named(store: Store, damage: str) -> None:
    utilities = UtilityStore(store, GAME)
    utilities.append(table({"a": 1.0}))
    (key,) = store.list()
    data = store.read(key)
    assert data is not None
    utilities.append(table({"b": 2.0}))
    # Inside the value column, where Parquet itself would notice nothing.
    position = data.index(b"\x00\x00\x00\x00\x00\x00\xf0\x3f")
    changed = data[:position] + b"\x01" + data[position + 1 :]
    store.write(key, {"cut": data[:-10], "changed": changed, "emptied": b"", "nonsense": b"not Parquet"}[damage])
    with pytest.raises(UserError, match=f"{store.uri}/{key} is damaged"):
        utilities.load()
    store.delete(key)
    assert values(utilities.load()) == {"b": 2.0}


def test_describe_writes_once(store: Store) -> None:
    utilities = UtilityStore(store, GAME)
    facts = {"source": "digits", "steps": 150, "name": "Zoë"}
    utilities.describe(facts)
    utilities.describe({"other": "facts"})
    kept = store.read(f"{GAME}/game.json")
    assert kept is not None
    assert json.loads(kept) == facts
    assert len(utilities.load()) == 0
