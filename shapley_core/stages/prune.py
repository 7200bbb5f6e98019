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
    from shapley_core.models.checkpoint import load_unet, n_parameters, save_unet  # here, because it imports torch
    from shapley_core.models.ddpm import to_model_range
    from shapley_core.models.device import compute_device
    from shapley_core.pruning.unet import prune_unet
    from shapley_core.training.loop import DiffusionTrainer, TrainingRun
    from shapley_core.training.resumable import train_resumably

    settings = task.settings
    device = compute_device(settings.run.threads)
    unet = load_unet(model)
    before = n_parameters(unet)
    removed = prune_unet(unet, settings.pruning.ratio)
    images = to_model_range(task.data.images()).to(device)
    run = TrainingRun.on_all(images, unet.to(device), derive_seed(settings.seed, "pruned training"))
    trainer = DiffusionTrainer(
        [run], images, settings.pruning.finetuning, settings.noise_schedule, settings.run.compile
    )
    with task.record.phase("training"):
        train_resumably(trainer, task.store, task.checkpoint, settings.run.checkpoint_every, "prune")
    unet.load_state_dict(trainer.average(0))
    save_unet(unet, task.folder, removed)
    history = StageLog("prune")
    history.facts |= {"parameters_before": before, "parameters_after": n_parameters(unet)}
    history.curves["fine-tuning loss of the pruned model"] = trainer.curve()
    return history
