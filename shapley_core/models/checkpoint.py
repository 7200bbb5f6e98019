"""UNet checkpoints in diffusers' own layout: ``config.json`` and safetensors, never pickle.

A pruned UNet keeps the config of the network it was pruned from and adds ``pruning.json``, the history of removed
channels; loading builds the base network, replays the history, and fills in the weights.
"""

import json
from pathlib import Path

import torch
import torch_pruning
from diffusers.models.downsampling import Downsample2D
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.upsampling import Upsample2D
from safetensors.torch import load_file, save_file

from shapley_core.errors import UserError

#: (module name, whether its output channels were removed, their indices) for every pruning operation, in order.
PruningHistory = list[tuple[str, bool, list[int]]]

_WEIGHTS = "diffusion_pytorch_model.safetensors"
_HISTORY = "pruning.json"


def save_unet(unet: UNet2DModel, folder: Path, history: PruningHistory | None = None) -> None:
    """Write a UNet; ``history`` is the pruning history of a pruned one."""
    unet.save_config(folder)  # not save_pretrained, which writes the same files, and imports torch.distributed first
    weights = {name: weight.contiguous() for name, weight in unet.state_dict().items()}
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
    if history:
        (folder / _HISTORY).write_text(json.dumps(history))


def load_unet(folder: Path) -> UNet2DModel:
    """Read a UNet that :func:`save_unet` or diffusers wrote, pruned or not.

    Raises:
        UserError: the folder holds no UNet, or a broken one.
    """
    if not (folder / "config.json").is_file() or not (folder / _WEIGHTS).is_file():
        raise UserError(f"{folder} holds no UNet: config.json and {_WEIGHTS} are expected")
    history = folder / _HISTORY
    try:
        unet = UNet2DModel.from_config(UNet2DModel.load_config(folder))
        if history.is_file():
            replay_pruning(unet, json.loads(history.read_text()))
        unet.load_state_dict(load_file(folder / _WEIGHTS))
    except Exception as error:
        raise UserError(
            f"the UNet in {folder} is damaged, or its files do not belong together: {type(error).__name__}: {error}"
        ) from error
    return unet


def replay_pruning(unet: UNet2DModel, history: PruningHistory) -> None:
    """Remove the channels of ``history`` from a UNet of the base architecture, in place."""
    graph = torch_pruning.DependencyGraph().build_dependency(unet, example_inputs=example_inputs(unet))
    graph.load_pruning_history(history)
    settle_widths(unet)


def settle_widths(unet: UNet2DModel) -> None:
    """Tell the up- and downsampling blocks their pruned widths, which they check their input against."""
    for module in unet.modules():
        if isinstance(module, Upsample2D | Downsample2D):
            module.channels = module.conv.in_channels
            module.out_channels = module.conv.out_channels


def example_inputs(unet: UNet2DModel) -> dict[str, torch.Tensor]:
    """An input of the shape the network was made for, to trace its dependencies with."""
    size = unet.config.sample_size
    return {
        "sample": torch.zeros(1, unet.config.in_channels, size, size),
        "timestep": torch.zeros(1, dtype=torch.long),
    }


def n_parameters(unet: torch.nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(parameter.numel() for parameter in unet.parameters())
