"""How long the utility store takes to list and merge 100,000 utilities: on a local folder and on a real S3 server.

The tables are those that valuations leave: one per shard, 64 shards a run.

    python -m benchmarks.store      # part of make bench
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import servers
from shapley_core.games.store import UtilityStore
from shapley_core.games.utilities import UTILITY_SCHEMA
from shapley_core.storage import Store, open_store

RESULTS = Path(__file__).parent / "results"


def shard_tables(n_utilities: int, per_table: int) -> list[pd.DataFrame]:
    """Utility tables as shards write them, ``per_table`` rows each."""
    rng = np.random.default_rng(0)
    tables = []
    for start in range(0, n_utilities, per_table):
        rows = np.arange(start, min(start + per_table, n_utilities))
        tables.append(
            pd.DataFrame(
                {
                    "key": [f"{row:016x}" for row in rows],
                    "property": "inception_score",
                    "value": rng.normal(5, 1, len(rows)),
                    "seed": rows,
                    "status": "ok",
                    "training_seconds": 1.0,
                    "sampling_seconds": 1.0,
                    "scoring_seconds": 0.1,
                    "device": "cpu",
                }
            )[UTILITY_SCHEMA.names]
        )
    return tables


def load_seconds(store: Store, tables: list[pd.DataFrame], repetitions: int) -> list[float]:
    """Fill a game and read it again; seconds of each time it was read."""
    game = UtilityStore(store, "0123456789abcdef")
    with ThreadPoolExecutor(16) as writers:
        list(writers.map(game.append, tables))
    seconds = []
    for _ in range(repetitions):
        begun = time.perf_counter()
        merged = game.load()
        seconds.append(time.perf_counter() - begun)
        assert len(merged) == sum(map(len, tables))
    return seconds


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utilities", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    rows = []
    for per_table in (16, 64):
        tables = shard_tables(arguments.utilities, per_table)
        with tempfile.TemporaryDirectory() as folder:
            places = {"local folder": open_store(f"{folder}/store")}
            with servers.s3_server(Path(folder) / "s3") as server:
                os.environ |= server.environment
                with servers.s3_bucket(server) as bucket:
                    places["S3 (SeaweedFS on loopback)"] = open_store(f"s3://{bucket}/games")
                    for place, store in places.items():
                        seconds = load_seconds(store, tables, arguments.repetitions)
                        rows.append(
                            {
                                "place": place,
                                "utilities": arguments.utilities,
                                "tables": len(tables),
                                "seconds": float(np.median(seconds)),
                            }
                        )
                        print(rows[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(RESULTS / "store.csv", index=False)


if __name__ == "__main__":
    main()
