"""prune: prunes the trained model and fine-tunes it on everybody: the start of every coalition's fine-tuning."""

from functools import partial
from pathlib import Path

from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.keeping import ModelTask, checkpoint_digest, made_once


def prune(dataset: Path, config: Path, model: Path, store: str, *, pruned: Path, log: Path) -> dict[str, float]:
    """Write the pruned and fine-tuned network (the paper's theta~*) to the folder ``pruned``."""
    return made_once(
        "prune",
        dataset,
        config,
        store,
        partial(_prune, model),
        sections={"pruning", "noise_schedule", "seed"},
        parents={"model": checkpoint_digest(model)},
        folder=pruned,
        log=log,
    )


def _prune(model: Path, task: ModelTask) -> StageLog:
    from shapley_core.device import compute_device, moved  # here, because it imports torch
    from shapley_core.stages.networks import networks_of
    from shapley_core.stages.networks.base import n_trained
    from shapley_core.stages.sample_space import copy_space, training_samples
    from shapley_core.stages.train_network import train_network
    from shapley_core.training.loop import TrainingRun

    settings = task.settings
    device = compute_device(settings.run.threads)
    networks = networks_of(settings)
    network = networks.load(model)
    before = n_trained(network)
    removed = networks.prune(network, settings)
    copy_space(model, task.folder)
    network = moved(network, device)
    samples = training_samples(settings, task.data, task.folder).to(device)
    run = TrainingRun.on_all(samples, network, derive_seed(settings.seed, "pruned training"))
    curve = train_network(task, run, samples, settings.pruning.finetuning, "prune", task.checkpoint)
    networks.save(network, task.folder, removed)
    history = StageLog("prune")
    history.facts |= {"parameters_before": before, "parameters_after": n_trained(network)}
    history.curves["fine-tuning loss of the pruned model"] = curve
    return history
