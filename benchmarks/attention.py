"""What short attention in float32 saves where a network computes in bfloat16 on a CPU.

By turns, in seconds of the process: scaled dot product attention forwards and backwards, and forwards alone, by
torch's kernel for bfloat16 and as :func:`shapley_core.device.precision` has it; and a training step's forward and
backward pass of the network of ``openmoji-lora``, besides in float32.

    python -m benchmarks.attention     # benchmarks/results/attention.csv; one thread
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch.nn import functional

from benchmarks.presets import build, step_inputs
from shapley_core.config import resolve
from shapley_core.device import precision

RESULTS = Path(__file__).parent / "results" / "attention.csv"
DIMENSIONS = ("batch", "heads", "width", "queries", "keys")
#: First those of ``openmoji-lora``; ``cifar20`` has one head 256 wide.
SHAPES = (
    (32, 4, 32, 16, 16),
    (32, 2, 32, 64, 64),
    (32, 2, 32, 64, 16),
    (16, 4, 32, 128, 128),
    (16, 4, 32, 256, 256),
    (16, 1, 256, 256, 256),
    (4, 2, 64, 1024, 1024),
)
CPU = torch.device("cpu")
WAYS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "bfloat16 by torch": lambda: torch.autocast("cpu", torch.bfloat16),
    "bfloat16 as here": lambda: precision(CPU, "bfloat16"),
    "float32": lambda: precision(CPU, "float32"),
}
_REPETITIONS = 15


def milliseconds(work: Callable[[], object]) -> dict[str, float]:
    """Way to the median of what ``work`` takes in its context; the ways by turns, after one that warms up."""
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(1 + _REPETITIONS):
        for way, context in WAYS.items():
            begun = time.process_time()
            with context():
                work()
            taken[way].append(1e3 * (time.process_time() - begun))
    return {way: median(times[1:]) for way, times in taken.items()}


def of_attention(batch: int, heads: int, width: int, queries: int, keys: int, backwards: bool) -> dict[str, float]:
    """Milliseconds of one layer's attention over inputs in bfloat16, as a layer of products hands them on."""
    q, k, v = (torch.randn(batch, heads, n, width, requires_grad=backwards) for n in (queries, keys, keys))

    def work() -> None:
        reduced = torch.is_autocast_enabled("cpu")
        inputs = [tensor.bfloat16() if reduced else tensor for tensor in (q, k, v)]
        attended = functional.scaled_dot_product_attention(*inputs)
        if backwards:
            attended.sum().backward()

    return milliseconds(work)


def of_a_step(preset: str) -> dict[str, float]:
    """Milliseconds of the passes of a training step."""
    settings = resolve(preset)
    unet = build(settings).train()
    inputs = step_inputs(unet, settings.training.batch_size)
    return milliseconds(lambda: unet(*inputs).sample.square().mean().backward())


def measure() -> pd.DataFrame:
    """A row for each piece of work, a column for each way."""
    rows: list[dict[str, Any]] = []
    for shape in SHAPES:
        for backwards in (True, False):
            passes = {"work": "forwards and backwards" if backwards else "forwards"}
            rows.append(dict(zip(DIMENSIONS, shape, strict=True)) | passes | of_attention(*shape, backwards))
    rows.append({"work": "a step of openmoji-lora"} | of_a_step("openmoji-lora"))
    return pd.DataFrame(rows).astype(dict.fromkeys(DIMENSIONS, "Int64")).round(2)


def main() -> None:
    """Measure, print, and write the table down."""
    torch.set_num_threads(1)
    table = measure()
    table.to_csv(RESULTS, index=False)
    print(table.to_string(index=False, na_rep=""))


if __name__ == "__main__":
    main()
