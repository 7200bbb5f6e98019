"""A shard's tasks killed with SIGKILL at random moments, and two valuations at once, on local files and on S3; faults.

Six kills a place; ``make faults`` does twenty, and says what they met.
"""

import math
import os
import random
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from shard_tasks import OUTPUTS, ShardTask
from tiny import TINY

from shapley_core.games.plan import Plan
from shapley_core.games.store import UtilityStore
from shapley_core.games.utilities import read_utilities
from shapley_core.properties.inception_score import InceptionScore
from shapley_core.stages import generate as generating
from shapley_core.stages.chain import Chain
from shapley_core.stages.game_files import read_game_id, utility_file
from shapley_core.storage import open_store

KILLS = int(os.environ.get("SHARD_KILLS", "6"))
#: A shard of eight coalitions costs a second of processor time.
SMALL = TINY | {
    "training.steps": 2,
    "pruning.finetuning.steps": 2,
    "finetuning.steps": 2,
    "generation.n_images": 16,
    "generation.n_steps": 2,
    "property.classifier_steps": 20,
    "game.n_coalitions": 20,
    "run.shard_size": 8,
}


@dataclass(frozen=True)
class Undisturbed:
    """A valuation up to its models, what measuring shard 0 gave, and the processor time of each task of it."""

    chain: Chain
    utilities: pd.DataFrame
    seconds: dict[str, float]

    def again(self, folder: Path, store: str) -> Chain:
        """The same valuation with a store of its own."""
        chain = Chain(folder, store)
        folder.mkdir(parents=True)
        for path in self.chain.folder.iterdir():
            if path.name not in {f"{output}-0" for output in OUTPUTS.values()} | {"store"}:
                chain.path(path.name).symlink_to(path)
        return chain


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("undisturbed")
    chain = Chain(folder, str(folder / "store"))
    chain.prepare("digits", SMALL)
    chain.models()
    seconds = {name: ShardTask(chain, name, 0).run() for name in OUTPUTS}
    table = decisive(UtilityStore(open_store(chain.store), read_game_id(chain.path("game"))).load())
    assert len(table) == 8 and (table["status"] == "ok").all()
    return Undisturbed(chain, table, seconds)


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "stores") if request.param == "local" else f"s3://{request.getfixturevalue('s3_bucket')}"


def decisive(table: pd.DataFrame) -> pd.DataFrame:
    """What must not depend on what happened on the way."""
    return table[["key", "property", "seed", "value", "status"]].sort_values("key", ignore_index=True)


def raw_tables(store: str) -> list[pd.DataFrame]:
    """Every table in a store as it is."""
    root = open_store(store)
    keys = [key for key in root.list() if key.endswith(".parquet")]
    return [pd.read_parquet(BytesIO(root.read(key) or b"")) for key in keys]


def test_killed_at_random_moments(undisturbed: Undisturbed, place: str, tmp_path: Path) -> None:
    """Every task of a shard is killed once and tried again, shard after shard, until there were enough kills."""
    draws = random.Random(0)
    killed: Counter[str] = Counter()
    begun, twice, n_shards = 0, 0, 0
    # A task may end before its moment, if it needs less time than it did undisturbed.
    while killed.total() < KILLS and n_shards < KILLS:
        chain = undisturbed.again(tmp_path / f"{n_shards}", f"{place}/{n_shards}")
        for name, seconds in undisturbed.seconds.items():
            task = ShardTask(chain, name, 0)
            if task.kill(draws.uniform(0, seconds)):
                killed[name] += 1
                begun += any(task.output.rglob("*"))
            if n_shards % 2:
                task.lose()
            task.run()
        if n_shards % 2:  # the worst moment of all: the table is in the store, and the task is scored anew
            task.lose()
            task.run()
        kept = UtilityStore(open_store(chain.store), read_game_id(chain.path("game"))).load()
        pd.testing.assert_frame_equal(decisive(kept), undisturbed.utilities, check_exact=True)
        handed_on = read_utilities(utility_file(chain.path("utilities-0")))
        pd.testing.assert_frame_equal(decisive(handed_on), undisturbed.utilities, check_exact=True)
        twice += sum(map(len, raw_tables(chain.store))) - len(kept)
        n_shards += 1
    assert killed.total() >= KILLS and twice >= len(undisturbed.utilities)
    print(
        f"{place.partition(':')[0] if '://' in place else 'local files'}: {killed.total()} kills "
        f"({', '.join(f'{name} {n}' for name, n in killed.items())}; {begun} with output begun) in {n_shards} shards "
        f"of {len(undisturbed.utilities)} coalitions; lost 0, counted twice 0 ({twice} stand in two tables)"
    )


def test_two_valuations_at_once_end_with_the_union(undisturbed: Undisturbed, place: str, tmp_path: Path) -> None:
    """Two plans of one game, measured at the same time: what both have is one utility, and nothing is missing."""
    first = undisturbed.again(tmp_path / "first", f"{place}/store")
    second = undisturbed.again(tmp_path / "second", f"{place}/store")
    for name in ("dataset", "config", "prepare.log", "plan", "plan.log"):
        second.path(name).unlink()
    second.prepare("digits", SMALL | {"game.design": "leverage", "game.n_coalitions": 40})
    second.plan()
    plans = {chain: Plan.load(chain.path("plan")).shard(0) for chain in (first, second)}
    for name in OUTPUTS:
        at_once = [ShardTask(chain, name, 0).start() for chain in plans]
        for process, _ in at_once:
            process.join()
        assert [process.exitcode for process, _ in at_once] == [0, 0]
    kept = UtilityStore(open_store(first.store), read_game_id(first.path("game"))).load()
    both = pd.concat(plans.values())["key"]
    assert both.duplicated().any() and both.nunique() > len(plans[first])
    assert sorted(kept["key"]) == sorted(set(both))
    assert (kept["status"] == "ok").all()
    mine = decisive(kept[kept["key"].isin(plans[first]["key"])])
    pd.testing.assert_frame_equal(mine, undisturbed.utilities, check_exact=True)


def test_nan_and_lack_of_memory_cost_their_coalitions_alone(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is tried twice and recorded with its reason; a later run measures these two and nothing else."""
    chain = undisturbed.again(tmp_path / "chain", str(tmp_path / "store"))
    chain.finetune(0)
    large, spoilt, *_ = sorted(path.stem for path in chain.path("models-0").glob("*.safetensors"))
    tried: Counter[str] = Counter()
    load, score = generating.load_trained, InceptionScore.score

    def load_some(network: Any, path: Path) -> None:
        tried[path.stem] += 1
        if path.stem == large:
            raise MemoryError("no memory is left")
        load(network, path)

    monkeypatch.setattr(generating, "load_trained", load_some)
    chain.generate(0)
    images = np.load(chain.path("images-0") / f"{spoilt}.npy")

    def score_some(self: InceptionScore, pixels: NDArray[np.uint8]) -> float:
        if np.array_equal(pixels, images):
            tried[f"{spoilt} scored"] += 1
            return math.nan
        return score(self, pixels)

    monkeypatch.setattr(InceptionScore, "score", score_some)
    chain.score(0)
    monkeypatch.undo()
    assert tried[large] == 2 and tried[f"{spoilt} scored"] == 2
    store = UtilityStore(open_store(chain.store), read_game_id(chain.path("game")))
    table = decisive(store.load())
    failed = table["status"] != "ok"
    assert dict(table.loc[failed, ["key", "status"]].to_numpy()) == {
        large: "sampling failed: MemoryError: no memory is left",
        spoilt: "scoring failed: ValueError: the inception_score is nan",
    }
    pd.testing.assert_frame_equal(table[~failed], undisturbed.utilities[~failed], check_exact=True)

    later = undisturbed.again(tmp_path / "later", chain.store)
    assert later.measure(0) == 2
    pd.testing.assert_frame_equal(decisive(store.load()), undisturbed.utilities, check_exact=True)
