"""prune: prunes the trained model and fine-tunes it on everybody: the start of every coalition's fine-tuning."""

from functools import partial
from pathlib import Path

from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.keeping import ModelTask, checkpoint_digest, made_once


def prune(dataset: Path, config: Path, model: Path, store: str, *, pruned: Path, log: Path) -> dict[str, float]:
    """Write the pruned and fine-tuned UNet (the paper's theta~*) to the folder ``pruned``."""
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
    from shapley_core.device import compute_device
    from shapley_core.models.checkpoint import load_unet, n_parameters, save_unet  # here, because it imports torch
    from shapley_core.pruning.unet import prune_unet
    from shapley_core.stages.sample_space import copy_space
    from shapley_core.stages.training_on_all import train_on_all

    settings = task.settings
    device = compute_device(settings.run.threads)
    unet = load_unet(model)
    before = n_parameters(unet)
    removed = prune_unet(unet, settings.pruning.ratio)
    copy_space(model, task.folder)
    seed = derive_seed(settings.seed, "pruned training")
    curve = train_on_all(task, unet.to(device), settings.pruning.finetuning, seed, "prune")
    save_unet(unet, task.folder, removed)
    history = StageLog("prune")
    history.facts |= {"parameters_before": before, "parameters_after": n_parameters(unet)}
    history.curves["fine-tuning loss of the pruned model"] = curve
    return history
