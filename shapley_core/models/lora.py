"""LoRA (arXiv 2106.09685) on the attention of a Stable Diffusion UNet, with peft.

    W x  becomes  W x + B A x

for the query, key, value and output projections W of every attention layer; W is frozen, A (r, d_in) and B (d_out, r)
are trained. The scale is one (peft: alpha = r), for every rank, so the tensors alone say what an adapter is: a folder
holds them under the names that diffusers' ``pipeline.load_lora_weights(folder)`` expects. Each module can have a rank
of its own; a module without an entry has no adapter.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file

from shapley_core.errors import UserError

#: diffusers' own name for the file.
WEIGHTS = "pytorch_lora_weights.safetensors"
#: The projections of an attention layer.
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
_PREFIX = "unet."
_ADAPTER = "default"


def add_adapter(unet: UNet2DConditionModel, ranks: int | dict[str, int], seed: int) -> UNet2DConditionModel:
    """Freeze ``unet`` and put a new adapter on it, in place; A is drawn from ``seed``, B is zero.

    Args:
        unet: a network without adapter.
        ranks: one rank for every projection, or module name to rank.
        seed: of the weights.
    """
    names = [name for name, _ in unet.named_modules() if name.endswith(PROJECTIONS) and ".attn" in name]
    by_module = dict.fromkeys(names, ranks) if isinstance(ranks, int) else ranks
    exactly = {f"^{name}$": rank for name, rank in by_module.items()}
    config = LoraConfig(
        r=1, lora_alpha=1, rank_pattern=exactly, alpha_pattern=exactly, target_modules=list(by_module), lora_dropout=0.0
    )
    unet.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet.add_adapter(config, _ADAPTER)
    return unet


def lora_layers(unet: UNet2DConditionModel) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A (r, d_in) and B (d_out, r) of every module that has an adapter, by name."""
    return {
        name: (module.lora_A[_ADAPTER].get_parameter("weight"), module.lora_B[_ADAPTER].get_parameter("weight"))
        for name, module in unet.named_modules()
        if isinstance(module, LoraLayer)
    }


def without_effect(unet: UNet2DConditionModel, seed: int) -> None:
    """Draw the adapter anew, in place: the network is its base again."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in unet.modules():
            if isinstance(module, LoraLayer):
                module.reset_lora_parameters(_ADAPTER, init_lora_weights=True)


def set_layers(unet: UNet2DConditionModel, layers: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Give the adapter of every module named in ``layers`` these A and B, of the shapes it has."""
    with torch.no_grad():
        for name, (a, b) in layers.items():
            module = unet.get_submodule(name)
            module.lora_A[_ADAPTER].weight.copy_(a)
            module.lora_B[_ADAPTER].weight.copy_(b)


@contextmanager
def merged(unet: UNet2DConditionModel) -> Iterator[None]:
    """While the context lasts, the adapter is a part of its base's weights: W + B A is one product, W x + B A x three.

    What the network computes changes by rounding; afterwards the base is as it was, to the last bit.

    Raises:
        ValueError: the adapter's weights are not finite.
    """
    layers = [module for module in unet.modules() if isinstance(module, LoraLayer)]
    bases = [layer.get_base_layer().weight.data for layer in layers]
    try:
        for layer in layers:
            layer.merge(safe_merge=True)  # into a copy
        yield
    finally:
        for layer, base in zip(layers, bases, strict=True):
            layer.merged_adapters.clear()
            layer.get_base_layer().weight.data = base


def save_adapter(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write the adapter for diffusers' ``load_lora_weights``."""
    tensors = {}
    for name, (a, b) in lora_layers(unet).items():
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = a.detach().contiguous()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = b.detach().contiguous()
    save_file(tensors, folder / WEIGHTS)


def load_adapter(unet: UNet2DConditionModel, folder: Path) -> UNet2DConditionModel:
    """Put the adapter that :func:`save_adapter` wrote on its base ``unet``, in place.

    Raises:
        UserError: the folder holds none, or one for another network.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"{folder} holds no adapter: {WEIGHTS} is expected")
    try:
        tensors = load_file(path)
        names = sorted({key.removeprefix(_PREFIX).rsplit(".lora_", 1)[0] for key in tensors})
        layers = {
            name: (tensors[f"{_PREFIX}{name}.lora_A.weight"], tensors[f"{_PREFIX}{name}.lora_B.weight"])
            for name in names
        }
        add_adapter(unet, {name: len(a) for name, (a, _) in layers.items()}, seed=0)
        set_layers(unet, layers)
    except Exception as error:
        raise UserError(
            f"the adapter in {folder} is damaged, or belongs to another base model: {type(error).__name__}: {error}"
        ) from error
    return unet
