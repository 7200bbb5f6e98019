"""Unconditional diffusion (arXiv 2006.11239): its UNet, its noise schedules, and pixels to tensors and back."""

import copy
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, PNDMScheduler
from diffusers.models.unets.unet_2d import UNet2DModel
from numpy.typing import NDArray

from shapley_core.config import ModelConfig, NoiseScheduleConfig
from shapley_core.seeds import derive_seed

if TYPE_CHECKING:
    from diffusers import DPMSolverMultistepScheduler

Scheduler: TypeAlias = Union[DDIMScheduler, PNDMScheduler, "DPMSolverMultistepScheduler"]


def build_unet(model: ModelConfig, sample_shape: tuple[int, int, int], seed: int) -> UNet2DModel:
    """A UNet with random weights drawn from ``seed``, for samples (C, H, W) of that shape."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet2DModel(
            **unet_settings(model, sample_shape),
            add_attention=model.add_attention,
            attention_head_dim=model.attention_head_dim,
        )


def unet_settings(model: ModelConfig, sample_shape: tuple[int, int, int]) -> dict[str, Any]:
    """What diffusers' UNets are built with, whether they take prompts or not."""
    channels, size, _ = sample_shape
    return {
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": model.block_out_channels,
        "down_block_types": model.down_block_types,
        "up_block_types": model.up_block_types,
        "layers_per_block": model.layers_per_block,
        "norm_num_groups": model.norm_num_groups,
    }


def untrained(unet: UNet2DModel, seed: int) -> UNet2DModel:
    """The same architecture, pruned or not, with every layer's weights drawn anew as when it was built."""
    fresh = copy.deepcopy(unet)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        for module in fresh.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    return fresh


def training_schedule(config: NoiseScheduleConfig) -> DDPMScheduler:
    """The forward process, for adding noise."""
    return DDPMScheduler(**config.model_dump())


def sampling_schedule(config: NoiseScheduleConfig, solver: str, bounded: bool = True) -> Scheduler:
    """The same forward process, for sampling with a solver of :class:`~shapley_core.config.GenerationConfig`.

    Args:
        config: the forward process.
        solver: its name.
        bounded: do samples lie in -1..1, as pixels do and latents do not? DDIM then clips what it takes for the sample.
    """
    settings = config.model_dump()
    match solver:
        case "ddim":
            return DDIMScheduler(**settings, clip_sample=bounded)
        case "pndm":  # as Stable Diffusion is published with it: no Runge-Kutta steps, timesteps from 1
            return PNDMScheduler(**settings, skip_prk_steps=True, steps_offset=1)
        case _:
            from diffusers import DPMSolverMultistepScheduler  # here, because it imports scipy.stats

            return DPMSolverMultistepScheduler(**settings, algorithm_type="dpmsolver++")


def to_model_range(images: NDArray[np.uint8]) -> torch.Tensor:
    """Pixels (N, H, W, C) in 0..255 to a float32 tensor (N, C, H, W) in -1..1."""
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return tensor.float().div_(127.5).sub_(1.0)


def to_pixels(samples: torch.Tensor) -> NDArray[np.uint8]:
    """The inverse of :func:`to_model_range`; values outside -1..1 are clipped."""
    pixels = samples.float().clamp(-1, 1).add(1.0).mul(127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
