"""Whole games of a real diffusion model: every coalition of the ten digits measured, so that the values are known.

Two games, each with two properties of the same images: ``finetuning``, the preset digits with 80 steps of fine-tuning,
and ``retraining``, every coalition trained from scratch, with fewer and smaller steps than the preset's. A random
hundred of the coalitions is measured a second time with other training seeds: the noise.

    python -m benchmarks.games measure finetuning --out runs/games    # half an hour on two cores
    python -m benchmarks.games measure retraining --out runs/games    # two hours; goes on where it was killed
    python -m benchmarks.games collect --out runs/games               # benchmarks/games/*.parquet

The coalitions of the first eight digits come first: after a quarter of the time theirs is a whole game already.
"""

import argparse
import logging
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shapley_core.games.plan import Plan
from shapley_core.games.utilities import merge_utilities, read_utilities
from shapley_core.seeds import derive_seed
from shapley_core.stages.chain import Chain
from shapley_core.stages.game_files import utility_file

COMMON: dict[str, Any] = {
    "game.design": "exhaustive",
    "game.n_coalitions": 1022,
    "property.also": ["diversity"],
}
GAMES: dict[str, dict[str, Any]] = {
    "finetuning": {"finetuning.steps": 80},  # as the preset was when it was measured
    "retraining": {
        "game.coalition_model": "retraining",
        "training.steps": 500,
        "training.batch_size": 16,
        "training.learning_rate": 2e-3,
        "training.ema_decay": 0.99,
    },
}
#: Coalitions measured a second time.
REPEATED = 100
_FIRST = 8
_SHARD_SIZE = 16
_PROCESSES = 2

FOLDER = Path(__file__).parent / "games"


def measure(name: str, out: Path) -> None:
    """Measure every coalition of a game, and the repeated ones again; utilities are kept in a store as they come."""
    chain = _chain(name, out)
    chain.prepare("digits", COMMON | GAMES[name])
    chain.models()
    plan = _with_repetition(Plan.load(chain.path("plan")))
    plan.save(chain.path("plan"))
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
        for future in [pool.submit(_measure_shard, name, out, shard) for shard in plan.shards]:
            future.result()


def collect(name: str, out: Path) -> pd.DataFrame:
    """One row per measurement of a coalition: its members' numbers, repetition, properties and seconds.

    Of a game that is measured in part, the largest game of its first digits that is whole.
    """
    chain = _chain(name, out)
    files = sorted(chain.folder.glob("utilities-*"))
    table = merge_utilities(read_utilities(utility_file(file)) for file in files)
    measured = ["key", "seed"]
    values = table[table["status"] == "ok"].pivot_table("value", measured, "property")
    seconds = table.drop_duplicates(measured).set_index(measured)[["training_seconds", "sampling_seconds"]]
    plan = Plan.load(chain.path("plan")).table
    plan["repetition"] = plan.duplicated("key").astype(int)
    rows = plan[[*measured, "members", "size", "repetition"]].merge(values.join(seconds), on=measured)
    last = rows["members"].map(lambda members: max(members, default=-1))
    whole = [n for n in range(1, len(plan)) if ((last < n) & (rows["repetition"] == 0)).sum() == 2**n]
    return rows[last < max(whole)].drop(columns=measured)


def _chain(name: str, out: Path) -> Chain:
    return Chain(out / name, str(out / "store"))


def _with_repetition(plan: Plan) -> Plan:
    """The coalitions of the first digits, the others, and some at random with other training seeds, shared out anew."""
    last = np.array([max(members, default=-1) for members in plan.table["members"]])
    whole = plan.table.iloc[(last >= _FIRST).argsort(kind="stable")]
    sampled = plan.table.index[plan.table["kind"] == "sampled"]
    again = plan.table.loc[np.random.default_rng(0).choice(sampled, REPEATED, replace=False)]
    again = again.assign(seed=[derive_seed(int(seed), "repetition", 1) for seed in again["seed"]])
    table = pd.concat([whole, again], ignore_index=True)
    table["shard"] = table.index // _SHARD_SIZE
    return Plan(plan.contributors, plan.fingerprints, plan.design, table)


def _measure_shard(name: str, out: Path, shard: int) -> None:
    logging.basicConfig(level=logging.INFO)
    _chain(name, out).measure(shard)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "collect"])
    parser.add_argument("games", nargs="*", default=list(GAMES), help=", ".join(GAMES))
    parser.add_argument("--out", type=Path, default=Path("runs/games"))
    arguments = parser.parse_args()
    for name in arguments.games:
        if arguments.what == "measure":
            measure(name, arguments.out)
        else:
            collect(name, arguments.out).to_parquet(FOLDER / f"digits-{name}.parquet", index=False)


if __name__ == "__main__":
    main()
