"""Small networks and real images for the tests of the heavy half."""

from typing import Any

import numpy as np
import torch
from diffusers import UNet2DModel
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from shapley_core.config import ModelConfig
from shapley_core.models.ddpm import build_unet

# Tests run side by side; more threads than cores cost a multiple.
torch.set_num_threads(1)


def model_config(attention: bool = False, **changes: Any) -> ModelConfig:
    """Two blocks, the lower and the middle one with four heads of attention where asked for."""
    attn = "Attn" if attention else ""
    return ModelConfig(
        **{
            "block_out_channels": (16, 32),
            "down_block_types": ("DownBlock2D", f"{attn}DownBlock2D"),
            "up_block_types": (f"{attn}UpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "add_attention": attention,
            "attention_head_dim": 8,
            **changes,
        }
    )


def tiny_unet(
    attention: bool = False, resolution: int = 8, mode: str = "L", seed: int = 0, **changes: Any
) -> UNet2DModel:
    """A UNet with random weights."""
    shape = (len(mode), resolution, resolution)
    return build_unet(model_config(attention, **changes), shape, seed)


def predict(unet: UNet2DModel, seed: int = 0) -> torch.Tensor:
    """What ``unet`` says to three noisy images at three timesteps."""
    size = unet.config.sample_size
    noise = torch.randn(3, unet.config.in_channels, size, size, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return unet.eval()(noise, torch.tensor([0, 500, 999])).sample


def digit_images(n: int = 1797) -> NDArray[np.uint8]:
    """Scikit-learn's first ``n`` digits as pixels (n, 8, 8, 1)."""
    return np.round(load_digits().images[:n, :, :, None] * (255 / 16)).astype(np.uint8)
