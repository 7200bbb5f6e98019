"""Coalitions per hour: the plain way, this project one at a time, and this project as it ships.

The same pruned model, images, steps and property for all; every repetition measures all of them, one right after
another, so that a busy machine is busy for each. Starting processes is left out on all sides.

    python -m benchmarks.coalitions --out runs/bench     # make bench
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.device import computes_in_bfloat16
from shapley_core.games.plan import Plan
from shapley_core.games.utilities import read_utilities
from shapley_core.properties import get_property
from shapley_core.stages.chain import Chain
from shapley_core.stages.game_files import property_folder, utility_file

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Size:
    """A network and images to measure at: overrides of the preset digits, and coalitions per repetition and lane."""

    overrides: dict[str, Any]
    coalitions: int


SIZES = {
    "digits": Size({}, 8),
    "16x16": Size(
        {
            "data.resolution": 16,
            "model.block_out_channels": [32, 64],
            "training.steps": 10,
            "pruning.finetuning.steps": 10,
            "finetuning.steps": 10,
            "generation.n_images": 64,
            "generation.n_steps": 10,
            "generation.batch_size": 64,
        },
        4,
    ),
    "32x32 colour": Size(
        {
            "data.resolution": 32,
            "data.mode": "RGB",
            "model.block_out_channels": [64, 128, 128],
            "model.down_block_types": ["DownBlock2D"] * 3,
            "model.up_block_types": ["UpBlock2D"] * 3,
            "training.steps": 4,
            "training.batch_size": 16,
            "pruning.finetuning.steps": 4,
            "pruning.finetuning.batch_size": 16,
            "finetuning.steps": 8,
            "finetuning.batch_size": 16,
            "finetuning.precision": "auto",
            "generation.n_images": 32,
            "generation.n_steps": 5,
            "generation.batch_size": 32,
            "generation.precision": "auto",
            "property.classifier_steps": 100,
        },
        4,
    ),
}

Work = Callable[[Path, int], dict[str, float]]


def plain(folder: Path, shard: int, mixed_precision: str = "no") -> dict[str, float]:
    """Way (a): values of a shard's coalitions by key."""
    from benchmarks.plain import finetune, generate
    from shapley_core.models.checkpoint import load_unet

    chain = Chain(folder, "")
    settings = ValuationConfig.load(chain.path("config"))
    data = ContributorDataset.load(chain.path("dataset"))
    start = load_unet(chain.path("pruned"))
    measured = get_property(settings.property.name).load(
        property_folder(chain.path("game"), settings.property.name), settings.property
    )
    images = data.images()
    values = {}
    for row in Plan.load(chain.path("plan")).shard(shard).to_dict("records"):
        pixels = images[np.isin(data.contributor_ids, row["members"])]
        unet = finetune(start, pixels, settings.finetuning, mixed_precision)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed_precision == "bf16"):
            generated = generate(unet, settings.generation, seed=0)
        values[row["key"]] = measured.score(generated)
    return values


def plain_bfloat16(folder: Path, shard: int) -> dict[str, float]:
    """Way (a) with accelerate's mixed precision, where this project uses bfloat16, too."""
    return plain(folder, shard, "bf16")


def ours(folder: Path, shard: int) -> dict[str, float]:
    """Ways (b) and (c): the stages themselves, on an empty store."""
    chain = Chain(folder, str(folder / "stores" / str(time.time_ns())))
    for kind in ("models", "images", "utilities"):
        for path in sorted(chain.path(f"{kind}-{shard}").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    chain.measure(shard)
    table = read_utilities(utility_file(chain.path(f"utilities-{shard}")))
    return dict(zip(table["key"], table["value"], strict=True))


_barrier: Barrier


def _start_lane(barrier: Barrier) -> None:
    """What a lane does before the clock starts: imports."""
    import shapley_core.stages.finetune_subset
    import shapley_core.stages.generate
    import shapley_core.stages.score  # noqa: F401

    global _barrier
    _barrier = barrier


def _run_lane(work: Work, folder: Path, shard: int, threads: int) -> tuple[dict[str, float], float, int]:
    torch.set_num_threads(threads)
    _barrier.wait()
    begun = time.perf_counter()
    values = work(folder, shard)
    return values, time.perf_counter() - begun, psutil.Process().memory_info().rss


def lanes(work: Work, folder: Path, shards: list[int], threads: int) -> tuple[dict[str, float], float, float]:
    """Run shards side by side, each in a process; values, wall seconds, and memory (MiB) of the largest."""
    context = multiprocessing.get_context("spawn")
    n = len(shards)
    barrier = context.Barrier(n)
    with ProcessPoolExecutor(n, context, _start_lane, (barrier,)) as pool:
        results = list(pool.map(_run_lane, [work] * n, [folder] * n, shards, [threads] * n))
    values = {key: value for result in results for key, value in result[0].items()}
    return values, max(result[1] for result in results), max(result[2] for result in results) / 2**20


def measure(size: str, out: Path, repetitions: int) -> pd.DataFrame:
    """One row per repetition and way."""
    spec = SIZES[size]
    game = {
        "game.design": "leverage",
        "game.n_coalitions": 30,  # of which two shards are measured
        "run.shard_size": spec.coalitions,
        "run.threads": 0,
    }
    chains = {}
    for way, run in (("one at a time", {"run.copies": 1, "run.loop_threads": 0}), ("as it ships", {})):
        chains[way] = Chain(out / size / way, str(out / size / "store"))
        chains[way].prepare("digits", spec.overrides | game | run)
        chains[way].models()
    alone, side_by_side = chains["one at a time"].folder, chains["as it ships"].folder
    cores = os.cpu_count() or 1
    # Not shard 0: the null coalition is not trained.
    ways: list[tuple[str, Work, Path, list[int], int]] = [
        ("plain", plain, alone, [1], cores),
        ("one at a time", ours, alone, [1], cores),
        ("as it ships", ours, side_by_side, [1, 2], 1),
    ]
    if spec.overrides.get("finetuning.precision") == "auto" and computes_in_bfloat16(torch.device("cpu")):
        ways.insert(1, ("plain, bfloat16", plain_bfloat16, alone, [1], cores))
    rows = []
    for repetition in range(repetitions):
        for way, work, folder, shards, threads in ways:
            values, seconds, memory = lanes(work, folder, shards, threads)
            rows.append(
                {
                    "size": size,
                    "repetition": repetition,
                    "way": way,
                    "seconds_per_coalition": seconds / len(values),
                    "memory_mib": memory,
                    "property": float(np.mean([values[key] for key in sorted(values)])),
                    "values": values,
                }
            )
            print({key: value for key, value in rows[-1].items() if key != "values"}, flush=True)
            pd.DataFrame(rows).to_json(out / size / "rows.json", orient="records")
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Medians over repetitions; speed as the median of the ratios to the plain way within a repetition."""
    rows = []
    for (size, way), runs in table.groupby(["size", "way"], sort=False):
        plain_runs = table[(table["size"] == size) & (table["way"] == "plain")]
        ratios = plain_runs["seconds_per_coalition"].to_numpy() / runs["seconds_per_coalition"].to_numpy()
        # Our value of a coalition is the same in every repetition, so coalitions are the units, not repetitions.
        differences = pd.DataFrame(runs["values"].tolist()) - pd.DataFrame(plain_runs["values"].tolist())
        by_coalition = differences.mean().dropna()
        rows.append(
            {
                "size": size,
                "way": way,
                "coalitions_per_hour": 3600 / runs["seconds_per_coalition"].median(),
                "times_plain": float(np.median(ratios)),
                "smallest": float(ratios.min()),
                "largest": float(ratios.max()),
                "memory_mib": runs["memory_mib"].max(),
                "property_minus_plain": by_coalition.mean(),
                "its_standard_error": by_coalition.sem(),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    arguments = parser.parse_args()
    table = pd.concat([measure(size, arguments.out.absolute(), arguments.repetitions) for size in arguments.sizes])
    result = summary(table)
    print(result.round(3).to_string(index=False))
    RESULTS.mkdir(exist_ok=True)
    result.to_csv(RESULTS / "coalitions.csv", index=False)


if __name__ == "__main__":
    main()
