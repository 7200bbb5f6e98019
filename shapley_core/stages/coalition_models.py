"""The network of a game's coalitions: the pruned one, or the full architecture where coalitions are retrained."""

from pathlib import Path

from diffusers.models.unets.unet_2d import UNet2DModel

from shapley_core.config import ValuationConfig
from shapley_core.models.checkpoint import load_unet
from shapley_core.models.ddpm import build_unet, untrained
from shapley_core.models.stacked import copies_that_pay


def coalition_network(settings: ValuationConfig, pruned: Path) -> UNet2DModel:
    """A network of the coalitions' architecture; the trained and pruned one where coalitions are fine-tuned."""
    if settings.game.retrains:
        return build_unet(settings.model, settings.sample_shape(), seed=0)
    return load_unet(pruned)


def starting_network(settings: ValuationConfig, network: UNet2DModel, seed: int) -> UNet2DModel:
    """The network that the training of a coalition with this seed starts from."""
    return untrained(network, seed) if settings.game.retrains else network


def coalitions_at_once(settings: ValuationConfig, network: UNet2DModel) -> int:
    """How many coalitions are trained together as one network."""
    return settings.run.copies or copies_that_pay(network, settings.coalition_training().batch_size)
