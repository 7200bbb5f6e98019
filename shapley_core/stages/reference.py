"""reference: fixes the yardstick of the game before any coalition is measured.

Makes what the properties score with (a classifier, clusters), names the game after everything that decides a
coalition's value, and measures the full and the pruned model with it, so that the report can tell what pruning costs.
"""

import logging
import time
from pathlib import Path

import numpy as np

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.device import compute_device, moved
from shapley_core.forecast import in_words
from shapley_core.properties import get_property
from shapley_core.properties.base import Images, Property
from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.coalition_models import coalition_network, coalitions_at_once, forgetting_steps
from shapley_core.stages.contributors import contributor_facts
from shapley_core.stages.game_facts import game_facts
from shapley_core.stages.game_files import (
    generation_seed,
    properties_folder,
    property_folder,
    write_contributors,
    write_game,
    write_grid,
)
from shapley_core.stages.grids import image_grid
from shapley_core.stages.keeping import folder_digest, model_data
from shapley_core.stages.networks import networks_of
from shapley_core.stages.sample_space import Sampler, training_samples
from shapley_core.training.loop import DiffusionTrainer, TrainingRun

logger = logging.getLogger(__name__)

#: Training steps from which the cost of a coalition is told before the loop starts.
_TRIAL_STEPS = 5


def reference(
    dataset: Path, config: Path, model: Path, pruned: Path, *, reference: Path, log: Path
) -> dict[str, float]:
    """Write the properties' references, the game's identity and grids of sample images to the folder ``reference``."""
    record = StageLog("reference")
    settings = ValuationConfig.load(config)
    data = ContributorDataset.load(dataset)
    fitted_to = model_data(settings, data)
    device = compute_device(settings.run.threads)
    images = data.images()
    order = np.random.default_rng(derive_seed(settings.seed, "grid")).permutation(len(images))
    write_grid(reference, "Training images", image_grid(images[order]))
    sampler = Sampler.of(settings, pruned, device)
    generated: dict[str, Images] = {}
    for fact, checkpoint in (("full_model", model), ("pruned_model", pruned)):
        network = moved(networks_of(settings).load(checkpoint), device)
        begun = time.perf_counter()
        with record.phase("sampling"):
            generated[fact] = sampler.images(network, generation_seed(settings))
        sampling_seconds = time.perf_counter() - begun
        write_grid(reference, fact.replace("_", " ").capitalize(), image_grid(generated[fact]))

    properties: dict[str, Property] = {}
    for name in settings.property.names:
        property_class = get_property(name)
        folder = property_folder(reference, name)
        folder.mkdir(parents=True, exist_ok=True)
        seed = derive_seed(settings.seed, "property")
        with record.phase("training"):
            facts = property_class.fit(fitted_to, generated["full_model"], settings.property, seed, folder)
        with record.phase("scoring"):
            measured = properties[name] = property_class.load(folder, settings.property)
            facts |= {fact: measured.score(pixels) for fact, pixels in generated.items()}
        # The valued property's facts stand by themselves.
        prefix = "" if name == settings.property.name else f"{name}_"
        record.facts |= {f"{prefix}{fact}": value for fact, value in facts.items()}
    with record.phase("scoring"):
        write_contributors(reference, contributor_facts(data, images, generated["full_model"], properties))
    record.facts["seconds_per_coalition"] = _forecast(settings, data, pruned, sampling_seconds)
    write_game(reference, game_facts(settings, pruned, folder_digest(properties_folder(reference))))
    record.save(log)
    return {name: float(record.facts[name]) for name in generated}


def _forecast(settings: ValuationConfig, data: ContributorDataset, pruned: Path, sampling_seconds: float) -> float:
    """Seconds of one process for one coalition, from a few steps of several together; tells what the loop will take."""
    device = compute_device(settings.run.loop_threads)
    network = moved(coalition_network(settings, pruned), device)
    samples = training_samples(settings, data, pruned).to(device)
    training = settings.coalition_training()
    k = coalitions_at_once(settings, network)
    trainer = DiffusionTrainer(
        [TrainingRun.on_all(samples, network, seed=0)] * k,
        samples,
        training,
        settings.noise_schedule,
        settings.run.compile,
    )
    trainer.run(until=1)  # the first step pays for what is set up once
    begun = time.perf_counter()
    trainer.run(until=min(1 + _TRIAL_STEPS, training.steps))
    steps = max(trainer.step - 1, 1)
    n_steps = forgetting_steps(settings, len(samples) / 2) if settings.game.unlearns else training.steps
    seconds = (time.perf_counter() - begun) / steps * n_steps / k + sampling_seconds
    n = settings.game.n_coalitions + 2
    logger.info(
        "a coalition takes about %.1f s: %d of them take %s in one process, %s in two side by side",
        seconds,
        n,
        in_words(n * seconds),
        in_words(n * seconds / 2),
    )
    return seconds
