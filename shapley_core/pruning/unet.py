"""Structural magnitude pruning of a UNet (paper §3.2), with torch-pruning.

Channels are removed in groups that depend on each other (a convolution's outputs, the norm behind it, the inputs of
what follows), those of smallest L2 magnitude first, one shot, the same share in every layer. GroupNorm needs groups
of one size, and so do attention heads: every group loses the same places, those of smallest mean magnitude over the
groups. So a layer's share is rounded down to a multiple of what its outputs go through next: the norm's groups for
convolutions, the heads for an attention's queries, keys and values, and single channels for the time embedding, which
has neither. The torch-pruning of the paper's time did the same to groups and heads, and the sizes are the paper's
(§4.2): 274.06 M parameters become 70.93 M at 0.5 (CelebA-HQ; paper: 70.9 M), 35.75 M become 19.96 M at 0.3 (CIFAR-20;
paper: 19.8 M). Today's torch-pruning rounds up, and would leave 13.9 M of the latter.
"""

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
        # torch-pruning fills these, and its defaults are shared by all pruners: they would keep this network in memory.
        in_channel_groups={},
        out_channel_groups={},
    )
    pruner.step()
    settle_widths(unet)
    return [(name, is_out, [int(i) for i in indices]) for name, is_out, indices in pruner.pruning_history()]


def _layer_ratios(unet: UNet2DModel, ratio: float, heads: dict[torch.nn.Module, int]) -> dict[torch.nn.Module, float]:
    """The share to remove of each layer so that its width stays a multiple of the norm's groups, or of its heads."""
    time_embedding = {*unet.time_embedding.modules()}
    ratios: dict[torch.nn.Module, float] = {}
    for module in unet.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            width = module.weight.shape[0]
            step = heads.get(module, 1 if module in time_embedding else unet.config.norm_num_groups)
            removed = int(ratio * width / step + 1e-9) * step
            # torch-pruning keeps int(width * (1 - ratio)): stay clear of a product just below a whole number.
            ratios[module] = max(removed / width - 1e-6, 0.0)
    return ratios
