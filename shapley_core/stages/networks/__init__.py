"""The trained network of each model family: how it is made, kept and pruned.

What it is trained on and what becomes of its samples stands in :mod:`shapley_core.stages.sample_space`.
"""

from shapley_core.config import ValuationConfig
from shapley_core.stages.networks.base import Networks


def networks_of(settings: ValuationConfig) -> Networks:
    """The kind of network that the configuration's family trains."""
    if settings.model.family == "lora":
        from shapley_core.stages.networks import lora  # here, because peft takes seconds to import

        return lora
    from shapley_core.stages.networks import unet

    return unet
