"""The presets' networks side by side: sizes before and after pruning, what pruning gains, and the memory of a step.

Every network is built from its preset with random weights, which decide none of the figures but one: which ranks of an
adapter go. A step of denoising is timed before and after pruning by turns, on the same samples, in seconds of the
process itself, so that a busy machine does not matter; the ratio is the median over the pairs.

    python -m benchmarks.presets     # make presets: prints the table, and writes it into docs/presets.md
"""

import argparse
import copy
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch

from shapley_core.config import ValuationConfig, preset_names, resolve
from shapley_core.models.ddpm import build_unet
from shapley_core.stages.networks import networks_of
from shapley_core.stages.networks.base import n_trained
from shapley_core.training.loop import DiffusionTrainer, TrainingRun
from shapley_core.training.samples import TrainingSamples

DOCUMENT = Path(__file__).parents[1] / "docs" / "presets.md"
_BEFORE, _AFTER = "<!-- measured by make presets -->", "<!-- end -->"

#: Parameters before and after pruning, as the paper has them (§4.2).
PAPER = {"cifar20": "35.7 M → 19.8 M", "celebahq": "274 M → 70.9 M", "artbench": "5.1 M → 2.6 M"}
#: Images of a step of networks of so many parameters, instead of the preset's batches: a processor is no GPU.
_LARGE, _FEW = 10e6, 2
#: Seconds of steps to time for a preset, and the fewest pairs.
_SECONDS, _FEWEST = 60.0, 5
_TOKENS, _FACTOR = 77, 8  # of CLIP's text encoder; pixels per latent pixel of Stable Diffusion


def build(settings: ValuationConfig) -> torch.nn.Module:
    """The network that is trained, with random weights."""
    lora = settings.model.lora
    if lora is None:
        return build_unet(settings.model, settings.sample_shape(), seed=0)
    from diffusers import UNet2DConditionModel

    from shapley_core.models.lora import add_adapter, lora_layers
    from shapley_core.models.stable_diffusion import build_text_to_image, learn_tokens

    torch.manual_seed(0)
    if settings.model.is_given:  # Stable Diffusion 1, as miniSD is
        unet = UNet2DConditionModel(sample_size=settings.data.resolution // _FACTOR, cross_attention_dim=768)
    else:
        text = lora.base.text_encoder
        tokenizer = learn_tokens([lora.prompt], text)
        unet = build_text_to_image(settings.model, text, tokenizer, settings.sample_shape(), seed=0).unet
    add_adapter(unet, lora.rank, seed=0)
    for _, b in lora_layers(unet).values():  # zero at first, and then no rank is smaller than another
        torch.nn.init.normal_(b, std=b.shape[0] ** -0.5)
    return unet


def step_inputs(unet: Any, n: int) -> tuple[torch.Tensor, ...]:
    """n samples (B, C, H, W), a timestep and, where the network takes them, prompts (B, T, D)."""
    size = unet.config.sample_size
    samples = torch.randn(n, unet.config.in_channels, size, size).to(memory_format=torch.channels_last)
    width = unet.config.get("cross_attention_dim")
    return (samples, torch.tensor(500), *([torch.randn(n, _TOKENS, width)] if width else []))


def speed_ratio(full: Any, pruned: Any, n: int) -> float:
    """How many times as long a step of denoising n images takes before pruning."""
    inputs = step_inputs(full, n)

    def seconds(unet: Any) -> float:
        begun = time.process_time()
        with torch.inference_mode():
            unet(*inputs)
        return time.process_time() - begun

    for unet in (full, pruned):
        unet.eval().to(memory_format=torch.channels_last)
        seconds(unet)  # sets up what is set up once
    ratios, spent = [], 0.0
    while spent < _SECONDS or len(ratios) < _FEWEST:
        # Either one first in turn: whoever comes second finds other caches.
        before, after, after_again, before_again = seconds(full), seconds(pruned), seconds(pruned), seconds(full)
        ratios.append((before + before_again) / (after + after_again))
        spent += before + after + after_again + before_again
    return median(ratios)


def training_memory(settings: ValuationConfig, unet: Any, n: int) -> float:
    """GiB of memory at the peak of a step of Adam on n images, the process and its libraries included."""
    clean, _, *prompts = step_inputs(unet, n)
    told = {"prompts": prompts[0], "prompt_of": torch.arange(n)} if prompts else {}
    samples = TrainingSamples(clean.contiguous(), clean.flip(-1).contiguous(), **told)
    training = settings.training.model_copy(update={"steps": 1, "batch_size": n, "optimizer": None})

    def step() -> None:
        run = TrainingRun.on_all(samples, unet, seed=0)
        DiffusionTrainer([run], samples, training, settings.noise_schedule).run()

    return peak_memory(step)


def peak_memory(work: Callable[[], None]) -> float:
    """GiB of this process at its largest while ``work`` runs; Linux only."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the largest so far
    work()
    kib = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert kib  # every Linux says so
    return int(kib[1]) / 2**20


def measure(preset: str) -> dict[str, str]:
    """A row of the table."""
    torch.set_num_threads(1)
    settings = resolve(preset)
    full = build(settings)
    before = n_trained(full)
    is_large = sum(parameter.numel() for parameter in full.parameters()) > _LARGE
    sampled, trained = (_FEW, _FEW) if is_large else (settings.generation.batch_size, settings.training.batch_size)
    memory = [training_memory(settings, full, trained)]
    pruned = copy.deepcopy(full)
    networks_of(settings).prune(pruned, settings)
    speed = f"{speed_ratio(full, pruned, sampled):.2f} × ({sampled})"
    if settings.model.lora:
        from shapley_core.models.lora import merged

        with merged(pruned):  # as it is sampled from
            speed += f"; merged {speed_ratio(full, pruned, sampled):.2f} ×"
    del full
    memory.append(training_memory(settings, pruned, trained))
    return {
        "preset": f"`{preset}`",
        "parameters": f"{_millions(before)} → {_millions(n_trained(pruned))}",
        "paper": PAPER.get(preset, ""),
        "sampling": speed,
        "memory": f"{' → '.join(f'{gib:.1f}' for gib in memory)} GiB ({trained})",
    }


def _millions(n: int) -> str:
    return f"{n / 1e6:.1f} M" if n >= 1e6 else f"{n / 1e3:.0f} k"


def table(rows: Sequence[dict[str, str]]) -> str:
    """Markdown."""
    titles = {
        "preset": "preset",
        "parameters": "trained parameters → pruned",
        "paper": "paper",
        "sampling": "speed of a sampling step, pruned to full (images)",
        "memory": "memory of a training step (images)",
    }
    lines = [[*titles.values()], ["---"] * len(titles), *([row[column] for column in titles] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(markdown: str, document: Path) -> None:
    """Put the table between its marks in a document."""
    before, rest = document.read_text().split(_BEFORE)
    _, after = rest.split(_AFTER)
    document.write_text(f"{before}{_BEFORE}\n\n{markdown}\n\n{_AFTER}{after}")


def main() -> None:
    """Measure each preset in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", default=preset_names(), metavar="PRESET", help="print these, write nothing"
    )
    arguments = parser.parse_args()
    rows = []
    for preset in arguments.only:
        # A process of its own: nothing of the preset before is in its memory.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            rows.append(pool.submit(measure, preset).result())
        print(" ".join(rows[-1].values()), flush=True)
    print(f"\n{table(rows)}")
    if arguments.only == preset_names():
        write(table(rows), DOCUMENT)


if __name__ == "__main__":
    main()
