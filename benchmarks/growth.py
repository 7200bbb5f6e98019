"""How the cost of a coalition, and memory, grow: with coalitions, contributors, images and parameters.

One shard of the digits preset, with fewer steps and images, is measured in a process of its own while one knob is
turned at a time; the training images are the digits, dealt out among as many contributors, and as often, as is asked.

    python -m benchmarks.growth --out runs/growth     # benchmarks/results/growth.csv
"""

import argparse
import resource
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from benchmarks.coalitions import RESULTS
from shapley_core.config import resolve
from shapley_core.data.dataset import ContributorDataset, ImageRecord
from shapley_core.data.sources import load_source
from shapley_core.games.plan import Plan
from shapley_core.games.utilities import read_utilities
from shapley_core.stages.chain import Chain
from shapley_core.stages.game_files import utility_file

#: Overrides of the preset digits at which every knob but one stays.
CENTRE: dict[str, Any] = {
    "training.steps": 20,
    "pruning.finetuning.steps": 10,
    "finetuning.steps": 20,
    "generation.n_images": 64,
    "property.classifier_steps": 100,
    "run.threads": 1,
}
_COALITIONS, _CONTRIBUTORS, _COPIES = 16, 10, 1
KNOBS: dict[str, tuple[Any, ...]] = {
    "coalitions": (16, 64, 256),
    "contributors": (10, 100, 1000),
    "images": (1_797, 17_970, 89_850),
    "channels": ((16, 32), (32, 64), (64, 128)),
}


def measure(knob: str, value: Any, out: Path) -> dict[str, Any]:
    """Seconds per coalition and the peak memory of the process that measures one shard."""
    shutil.rmtree(out, ignore_errors=True)
    coalitions = value if knob == "coalitions" else _COALITIONS
    contributors = value if knob == "contributors" else _CONTRIBUTORS
    copies = value // 1_797 if knob == "images" else _COPIES
    overrides = CENTRE | ({"model.block_out_channels": list(value)} if knob == "channels" else {})
    chain = Chain(out, str(out / "store"))
    chain.prepare("digits", overrides)
    _dealt_out(contributors, copies).save(chain.path("dataset"))
    # The design needs two coalitions per contributor, of whom the digits have ten.
    resolve("digits", overrides | {"game.n_coalitions": max(coalitions, 2 * contributors)}).save(chain.path("config"))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(chain.models).result()
    # As many coalitions whatever the number of contributors, in one shard.
    plan = Plan.load(chain.path("plan"))
    shard = plan.table.head(coalitions + 2).assign(shard=0)
    Plan(plan.contributors, plan.fingerprints, plan.design, shard).save(chain.path("plan"))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        seconds, memory = pool.submit(_measure_shard, chain).result()
    table = read_utilities(utility_file(chain.path("utilities-0")))
    return {
        "knob": knob,
        "value": str(value),
        "training_seconds": table["training_seconds"].median(),
        "sampling_seconds": table["sampling_seconds"].median(),
        "scoring_seconds": table["scoring_seconds"].median(),
        "other_seconds": seconds - table[["training_seconds", "sampling_seconds", "scoring_seconds"]].to_numpy().sum(),
        "peak_memory_mib": memory,
    }


def _dealt_out(contributors: int, copies: int) -> ContributorDataset:
    """The digits, ``copies`` times, dealt out among contributors; labels stay."""
    digits = load_source(resolve("digits").data)
    assert digits.labels is not None
    records = [
        ImageRecord.encode(f"contributor {i % contributors}", Image.fromarray(pixels[..., 0]), label=str(label))
        for i, (pixels, label) in enumerate([*zip(digits.images(), digits.labels, strict=True)] * copies)
    ]
    return ContributorDataset.from_records(records, {"source": "digits"})


def _measure_shard(chain: Chain) -> tuple[float, float]:
    begun = time.perf_counter()
    chain.measure(0)
    return time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/growth"))
    arguments = parser.parse_args()
    rows = []
    for knob, values in KNOBS.items():
        for value in values:
            rows.append(measure(knob, value, arguments.out.absolute()))
            print(rows[-1], flush=True)
            RESULTS.mkdir(exist_ok=True)
            pd.DataFrame(rows).round(3).to_csv(RESULTS / "growth.csv", index=False)


if __name__ == "__main__":
    main()
