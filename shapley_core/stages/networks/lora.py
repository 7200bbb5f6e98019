"""A LoRA adapter on the UNet of a Stable Diffusion model, which is frozen and stands in the folder ``base``."""

import copy
from pathlib import Path

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from shapley_core.config import ValuationConfig
from shapley_core.models import lora
from shapley_core.models.stable_diffusion import load_base_unet
from shapley_core.pruning.lora import prune_lora
from shapley_core.seeds import derive_seed
from shapley_core.stages.keeping import BASE


def fresh(settings: ValuationConfig, folder: Path, seed: int) -> UNet2DConditionModel:
    """The base with an adapter that changes nothing yet."""
    assert settings.model.lora is not None  # the family says so
    return lora.add_adapter(load_base_unet(folder / BASE), settings.model.lora.rank, seed)


def load(folder: Path) -> UNet2DConditionModel:
    """The base with the adapter, whose modules have ranks of their own after pruning."""
    return lora.load_adapter(load_base_unet(folder / BASE), folder)


def save(network: UNet2DConditionModel, folder: Path, removed: None = None) -> None:
    """The adapter alone: its tensors say which ranks were removed."""
    lora.save_adapter(network, folder)


def untrained(network: UNet2DConditionModel, seed: int) -> UNet2DConditionModel:
    """The base as it is (for the null coalition, the base model without adapter)."""
    frozen = {id(p): p for p in network.parameters() if not p.requires_grad}
    fresh_one: UNet2DConditionModel = copy.deepcopy(network, frozen)
    lora.without_effect(fresh_one, derive_seed(seed, "weights"))
    return fresh_one


def prune(network: UNet2DConditionModel, settings: ValuationConfig) -> None:
    """Remove ranks."""
    prune_lora(network, settings.pruning.ratio, settings.pruning.method)
