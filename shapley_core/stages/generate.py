"""generate: samples images from the fine-tuned model of each coalition of a shard."""

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shapley_core.config import ValuationConfig
from shapley_core.device import compute_device, moved, speed_up
from shapley_core.progress import Progress
from shapley_core.stage_log import StageLog
from shapley_core.stages.coalition_models import coalition_network
from shapley_core.stages.coalitions import OK, CoalitionRecord, attempt, read_records
from shapley_core.stages.game_files import generation_seed, log_folder
from shapley_core.stages.networks.base import load_trained
from shapley_core.stages.sample_space import Sampler

logger = logging.getLogger(__name__)


def generate(config: Path, pruned: Path, models: Path, shard: int, *, images: Path) -> dict[str, float]:
    """Write the images (``<key>.npy``, uint8 (N, H, W, C)) and the record of every fine-tuned coalition."""
    log = StageLog("generate")
    settings = ValuationConfig.load(config)
    images.mkdir(parents=True, exist_ok=True)
    shutil.copytree(log_folder(models), log_folder(images), dirs_exist_ok=True)
    done = read_records(images)
    waiting = [record for key, record in read_records(models).items() if key not in done]
    if waiting:
        device = compute_device(settings.run.loop_threads)
        network = moved(coalition_network(settings, pruned), device)
        speed_up(network, settings.run.compile)
        sampler = Sampler.of(settings, pruned, device)

        def generate_images(records: Sequence[CoalitionRecord]) -> None:
            for record in records:
                load_trained(network, models / f"{record.key}.safetensors")
                pixels = sampler.images(network, generation_seed(settings))
                np.save(images / f"{record.key}.npy", pixels, allow_pickle=False)

        with log.phase("sampling"):
            progress = Progress(logger, f"sample shard {shard}", "coalition", len(waiting))
            for record in waiting:
                begun = time.perf_counter()
                if record.status == OK:
                    attempt([record], "sampling", generate_images)
                record.sampling_seconds = time.perf_counter() - begun
                record.save(images)
                progress.advance()
    log.save(log_folder(images) / f"generate-{shard}.json")
    return {"sampled": len(waiting)}
