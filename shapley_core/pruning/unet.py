"""Structural magnitude pruning of a UNet (paper §3.2), with torch-pruning.

Channels are removed in groups that depend on each other (a convolution's outputs, the norm behind it, the inputs of
what follows), those of smallest L2 magnitude first, one shot, the same share in every layer. GroupNorm needs groups
of one size, and so do attention heads: every group loses the same places, those of smallest mean magnitude over the
groups. So of every layer's channels the largest multiple of the group count is removed that does not exceed the ratio:
at 0.3, the paper's 32-group network loses a quarter of its channels (35.7 M to 20.1 M parameters; the paper has
19.8 M).
"""

import math

import torch
import torch_pruning
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d import UNet2DModel

from shapley_core.models.checkpoint import PruningHistory, example_inputs, settle_widths


def prune_unet(unet: UNet2DModel, ratio: float) -> PruningHistory:
    """Remove a share ``ratio`` of the channels of ``unet``, in place; only the output layer keeps its own.

    Returns:
        What was removed, to be stored with the weights.
    """
    heads = {
        projection: module.heads
        for module in unet.modules()
        if isinstance(module, Attention)
        for projection in (module.to_q, module.to_k, module.to_v)
    }
    pruner = torch_pruning.pruner.MagnitudePruner(
        unet,
        example_inputs(unet),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.0,
        pruning_ratio_dict=_layer_ratios(unet, ratio, heads),
        ignored_layers=[unet.conv_out],
        num_heads=heads,
    )
    pruner.step()
    settle_widths(unet)
    return [(name, is_out, [int(i) for i in indices]) for name, is_out, indices in pruner.pruning_history()]


def _layer_ratios(unet: UNet2DModel, ratio: float, heads: dict[torch.nn.Module, int]) -> dict[torch.nn.Module, float]:
    """The share to remove of each layer so that its width stays a multiple of the norm's groups and of its heads."""
    ratios: dict[torch.nn.Module, float] = {}
    for module in unet.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            width = module.weight.shape[0]
            step = math.lcm(unet.config.norm_num_groups, heads.get(module, 1))
            removed = int(ratio * width / step + 1e-9) * step
            # torch-pruning keeps int(width * (1 - ratio)): stay clear of a product just below a whole number.
            ratios[module] = max(removed / width - 1e-6, 0.0)
    return ratios
