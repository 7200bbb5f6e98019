"""What the UNet of a family learns and makes: pixels, or the latents of an autoencoder, and the way back to pixels.

A model folder of latent diffusion holds, beside the UNet, the autoencoder and the latents of the training images; the
pruned model's folder holds them too. So the stages that train never load the autoencoder.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.games.identity import game_id
from shapley_core.models.ddpm import to_model_range, to_pixels
from shapley_core.stages.keeping import ModelTask, checkpoint_digest
from shapley_core.storage import get_folder, put_folder

_AUTOENCODER = "autoencoder"
_LATENTS = "latents.safetensors"


def make_space(task: ModelTask) -> dict[str, dict[str, list[float]]]:
    """Put what the family needs besides its UNet into the task's folder; returns curves of its training, by title."""
    config = task.settings.model.autoencoder
    if config is None:
        return {}
    from shapley_core.models import autoencoder as latent  # here, because pixels do not need it
    from shapley_core.weights import fetch_weights

    folder = task.folder / _AUTOENCODER
    settings, images = task.settings, task.data.images()
    curves = {}
    key = game_id(
        {
            "autoencoder": config.model_dump(),
            "data": task.data.digest,
            "images": settings.data.model_dump(include={"resolution", "mode"}),
            "seed": settings.seed,
        }
    )
    if config.weights:
        network = latent.load_autoencoder(fetch_weights(config.weights))
        latent.check_autoencoder(network, config, settings.data)
        network.save_pretrained(folder)
    elif not get_folder(task.store, f"models/{key}", folder):
        network = latent.build_autoencoder(config, settings.data, settings.seed)
        with task.record.phase("training"):
            curves["loss of the autoencoder"] = latent.train_autoencoder(network, images, config, settings.seed)
        network.save_pretrained(folder)
        put_folder(task.store, f"models/{key}", folder)
    network = latent.load_autoencoder(folder)
    with task.record.phase("training"):
        save_file({"latents": latent.encode(network, images)}, task.folder / _LATENTS)
    return curves


def copy_space(source: Path, target: Path) -> None:
    """Take along to another model's folder what :func:`make_space` made."""
    if (source / _AUTOENCODER).is_dir():
        shutil.copytree(source / _AUTOENCODER, target / _AUTOENCODER, dirs_exist_ok=True)
        shutil.copyfile(source / _LATENTS, target / _LATENTS)


def space_digest(folder: Path) -> str:
    """Names the autoencoder of a model's folder; empty where there is none."""
    return checkpoint_digest(folder / _AUTOENCODER) if (folder / _AUTOENCODER).is_dir() else ""


def training_samples(settings: ValuationConfig, data: ContributorDataset, folder: Path) -> torch.Tensor:
    """(N, C, H, W) float32, what the UNet is trained on, in the order of ``data.images()``."""
    if settings.model.autoencoder is None:
        return to_model_range(data.images())
    return load_file(folder / _LATENTS)["latents"]


def decoder(
    settings: ValuationConfig, folder: Path, device: torch.device
) -> Callable[[torch.Tensor], NDArray[np.uint8]]:
    """From samples (N, C, H, W) of the UNet to pixels (N, H, W, C)."""
    if settings.model.autoencoder is None:
        return to_pixels
    from shapley_core.models.autoencoder import decode, load_autoencoder  # here, because pixels do not need it

    return partial(decode, load_autoencoder(folder / _AUTOENCODER).to(device))
