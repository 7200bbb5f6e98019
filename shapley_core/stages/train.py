"""train: trains the diffusion model on everybody's images (the paper's theta*)."""

from pathlib import Path

from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.keeping import ModelTask, made_once


def train(dataset: Path, config: Path, store: str, *, model: Path, log: Path) -> dict[str, float]:
    """Write the trained UNet, with its averaged weights, to the folder ``model``; resumes where it was killed."""
    sections = {"model", "training", "noise_schedule", "seed"}
    return made_once("train", dataset, config, store, _train, sections=sections, parents={}, folder=model, log=log)


def _train(task: ModelTask) -> StageLog:
    from shapley_core.models.checkpoint import n_parameters, save_unet  # here, because it imports torch
    from shapley_core.models.ddpm import build_unet, to_model_range
    from shapley_core.models.device import compute_device
    from shapley_core.training.loop import DiffusionTrainer, TrainingRun
    from shapley_core.training.resumable import train_resumably

    settings = task.settings
    device = compute_device(settings.run.threads)
    unet = build_unet(settings.model, settings.data, derive_seed(settings.seed, "weights")).to(device)
    images = to_model_range(task.data.images()).to(device)
    run = TrainingRun.on_all(images, unet, derive_seed(settings.seed, "training"))
    trainer = DiffusionTrainer([run], images, settings.training, settings.noise_schedule, settings.run.compile)
    with task.record.phase("training"):
        train_resumably(trainer, task.store, task.checkpoint, settings.run.checkpoint_every, "train")
    unet.load_state_dict(trainer.average(0))
    save_unet(unet, task.folder)
    history = StageLog("train")
    history.facts["parameters"] = n_parameters(unet)
    history.curves["training loss"] = trainer.curve()
    return history
