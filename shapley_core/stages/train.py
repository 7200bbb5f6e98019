"""train: trains the diffusion model on everybody's images (the paper's theta*)."""

from pathlib import Path

from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.keeping import ModelTask, made_once


def train(dataset: Path, config: Path, store: str, *, model: Path, log: Path) -> dict[str, float]:
    """Write the trained UNet, with its averaged weights, and what else the family needs to the folder ``model``.

    Training resumes where it was killed.
    """
    sections = {"model", "training", "noise_schedule", "seed"}
    return made_once("train", dataset, config, store, _train, sections=sections, parents={}, folder=model, log=log)


def _train(task: ModelTask) -> StageLog:
    from shapley_core.device import compute_device
    from shapley_core.models.checkpoint import n_parameters, save_unet  # here, because it imports torch
    from shapley_core.models.ddpm import build_unet
    from shapley_core.stages.sample_space import make_space
    from shapley_core.stages.training_on_all import train_on_all

    settings = task.settings
    curves = make_space(task)
    device = compute_device(settings.run.threads)
    unet = build_unet(settings.model, settings.sample_shape(), derive_seed(settings.seed, "weights")).to(device)
    curve = train_on_all(task, unet, settings.training, derive_seed(settings.seed, "training"), "train")
    save_unet(unet, task.folder)
    history = StageLog("train")
    history.facts["parameters"] = n_parameters(unet)
    history.curves |= {**curves, "training loss": curve}
    return history
