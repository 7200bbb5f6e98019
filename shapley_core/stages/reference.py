"""reference: fixes the yardstick of the game before any coalition is measured.

Makes what the property scores with (a classifier), names the game after everything that decides a coalition's value,
and measures the full and the pruned model with it, so that the report can tell what pruning costs.
"""

import logging
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.forecast import in_words
from shapley_core.games.identity import GAME_VERSION, game_id
from shapley_core.models.checkpoint import load_unet
from shapley_core.models.ddpm import to_model_range
from shapley_core.models.device import compute_device
from shapley_core.models.sampling import sample
from shapley_core.properties import get_property
from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.coalition_models import coalition_network, coalitions_at_once
from shapley_core.stages.game_files import generation_seed, property_folder, write_game, write_grid
from shapley_core.stages.grids import image_grid
from shapley_core.stages.keeping import checkpoint_digest, folder_digest
from shapley_core.training.loop import DiffusionTrainer, TrainingRun

logger = logging.getLogger(__name__)

#: Training steps from which the cost of a coalition is told before the loop starts.
_TRIAL_STEPS = 5


def reference(
    dataset: Path, config: Path, model: Path, pruned: Path, *, reference: Path, log: Path
) -> dict[str, float]:
    """Write the property's reference, the game's identity and grids of sample images to the folder ``reference``."""
    record = StageLog("reference")
    settings = ValuationConfig.load(config)
    data = ContributorDataset.load(dataset)
    device = compute_device(settings.run.threads)
    folder = property_folder(reference)
    folder.mkdir(parents=True, exist_ok=True)
    property_class = get_property(settings.property.name)
    with record.phase("training"):
        record.facts |= property_class.fit(data, settings.property, derive_seed(settings.seed, "property"), folder)
    measured = property_class.load(folder, settings.property)

    images = data.images()
    order = np.random.default_rng(derive_seed(settings.seed, "grid")).permutation(len(images))
    write_grid(reference, "Training images", image_grid(images[order]))
    for title, fact, checkpoint in (
        ("Full model", "full_model", model),
        ("Pruned model", "pruned_model", pruned),
    ):
        unet = load_unet(checkpoint).to(device)
        begun = time.perf_counter()
        with record.phase("sampling"):
            generated = sample(unet, settings.noise_schedule, settings.generation, generation_seed(settings))
        sampling_seconds = time.perf_counter() - begun
        with record.phase("scoring"):
            record.facts[fact] = measured.score(generated)
        write_grid(reference, title, image_grid(generated))
    record.facts["seconds_per_coalition"] = _forecast(settings, images, pruned, sampling_seconds)
    write_game(reference, _game_facts(settings, checkpoint_digest(pruned), folder))
    record.save(log)
    return {name: float(record.facts[name]) for name in ("full_model", "pruned_model")}


def _forecast(settings: ValuationConfig, pixels: NDArray[np.uint8], pruned: Path, sampling_seconds: float) -> float:
    """Seconds of one process for one coalition, from a few steps of several together; tells what the loop will take."""
    device = compute_device(settings.run.loop_threads)
    network = coalition_network(settings, pruned).to(device)
    images = to_model_range(pixels).to(device)
    training = settings.coalition_training()
    k = coalitions_at_once(settings, network)
    trainer = DiffusionTrainer(
        [TrainingRun.on_all(images, network, seed=0)] * k,
        images,
        training,
        settings.noise_schedule,
        settings.run.compile,
    )
    trainer.run(until=1)  # the first step pays for what is set up once
    begun = time.perf_counter()
    trainer.run(until=min(1 + _TRIAL_STEPS, training.steps))
    steps = max(trainer.step - 1, 1)
    seconds = (time.perf_counter() - begun) / steps * training.steps / k + sampling_seconds
    n = settings.game.n_coalitions + 2
    logger.info(
        "a coalition takes about %.1f s: %d of them take %s in one process, %s in two side by side",
        seconds,
        n,
        in_words(n * seconds),
        in_words(n * seconds / 2),
    )
    return seconds


def _game_facts(settings: ValuationConfig, pruned_digest: str, folder: Path) -> dict[str, object]:
    decisive = {"model", "training"} if settings.game.retrains else {"finetuning"}
    facts: dict[str, object] = {
        "version": GAME_VERSION,
        "coalition_model": settings.game.coalition_model,
        **({} if settings.game.retrains else {"pruned_model": pruned_digest}),
        "property_reference": folder_digest(folder),
        "generation_seed": generation_seed(settings),
        **settings.model_dump(
            mode="json",
            include={
                "data": {"source", "resolution", "mode"},
                **dict.fromkeys(decisive, True),
                "noise_schedule": True,
                "generation": {"n_images", "solver", "n_steps", "eta", "precision"},
                "property": True,
            },
        ),
    }
    return {"game_id": game_id(facts), **facts}
