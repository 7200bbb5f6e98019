"""A UNet that is trained as a whole: diffusion of pixels or of latents."""

from pathlib import Path

from diffusers.models.unets.unet_2d import UNet2DModel

from shapley_core.config import ValuationConfig
from shapley_core.models import checkpoint, ddpm
from shapley_core.pruning.unet import prune_unet


def fresh(settings: ValuationConfig, folder: Path, seed: int) -> UNet2DModel:
    """Random weights drawn from ``seed``."""
    return ddpm.build_unet(settings.model, settings.sample_shape(), seed)


def load(folder: Path) -> UNet2DModel:
    """Pruned or not."""
    return checkpoint.load_unet(folder)


def save(network: UNet2DModel, folder: Path, removed: checkpoint.PruningHistory | None = None) -> None:
    """In diffusers' layout, with the history of removed channels."""
    checkpoint.save_unet(network, folder, removed)


def untrained(network: UNet2DModel, seed: int) -> UNet2DModel:
    """Every layer's weights drawn anew."""
    return ddpm.untrained(network, seed)


def prune(network: UNet2DModel, settings: ValuationConfig) -> checkpoint.PruningHistory:
    """Remove channels."""
    return prune_unet(network, settings.pruning.ratio)
