"""The autoencoder of latent diffusion (arXiv 2112.10752): a diffusers ``VQModel``, trained once and then frozen.

    loss = mean (x - D(q(E(x))))^2 + codebook and commitment losses (van den Oord et al., arXiv 1711.00937)

Diffusion happens on E(x), before quantisation, scaled to unit variance (``scaling_factor``, as diffusers'
``LDMPipeline`` reads it); D quantises. Latents of the training images are computed once, and the autoencoder is in
memory only where pixels are made.
"""

import logging
from pathlib import Path

import numpy as np
import torch
from diffusers import VQModel
from numpy.typing import NDArray
from torch.nn import functional

from shapley_core.config import AutoencoderConfig, DataConfig
from shapley_core.errors import UserError
from shapley_core.models.ddpm import to_model_range, to_pixels
from shapley_core.progress import Progress
from shapley_core.seeds import derive_seed

logger = logging.getLogger(__name__)

#: Images encoded or decoded at once.
_BATCH = 64


def build_autoencoder(config: AutoencoderConfig, data: DataConfig, seed: int) -> VQModel:
    """A VQModel with random weights drawn from ``seed``."""
    n_blocks = len(config.block_out_channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "autoencoder weights"))
        return VQModel(
            in_channels=data.channels,
            out_channels=data.channels,
            down_block_types=("DownEncoderBlock2D",) * n_blocks,
            up_block_types=("UpDecoderBlock2D",) * n_blocks,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            latent_channels=config.latent_channels,
            sample_size=data.resolution,
            num_vq_embeddings=config.num_vq_embeddings,
            norm_num_groups=config.norm_num_groups,
            mid_block_add_attention=False,
        )


def train_autoencoder(
    autoencoder: VQModel, images: NDArray[np.uint8], config: AutoencoderConfig, seed: int
) -> dict[str, list[float]]:
    """Train on pixels (N, H, W, C) in place, and settle the scale of the latents; returns the loss curve."""
    x = to_model_range(images)
    generator = torch.Generator().manual_seed(derive_seed(seed, "autoencoder"))
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    progress = Progress(logger, "train the autoencoder", "step", config.steps)
    losses = []
    autoencoder.train()
    for _ in range(config.steps):
        batch = x[torch.randint(len(x), (config.batch_size,), generator=generator)].to(autoencoder.device)
        output = autoencoder(batch)
        loss = functional.mse_loss(output.sample, batch) + output.commit_loss.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        progress.advance()
    autoencoder.eval()
    autoencoder.register_to_config(scaling_factor=1.0)
    spread = float(encode(autoencoder, images).std())
    autoencoder.register_to_config(scaling_factor=1 / spread)
    every = max(1, config.steps // 100)
    return {"step": list(range(1, config.steps + 1))[::every], "value": torch.stack(losses)[::every].tolist()}


@torch.inference_mode()
def encode(autoencoder: VQModel, images: NDArray[np.uint8]) -> torch.Tensor:
    """Latents (N, C, H/f, W/f), float32 on the CPU, of pixels (N, H, W, C)."""
    scale = autoencoder.config.scaling_factor
    parts = [
        autoencoder.encode(batch.to(autoencoder.device)).latents.mul(scale).float().cpu()
        for batch in to_model_range(images).split(_BATCH)
    ]
    return torch.cat(parts).contiguous()


@torch.inference_mode()
def decode(autoencoder: VQModel, latents: torch.Tensor) -> NDArray[np.uint8]:
    """Pixels (N, H, W, C) of latents (N, C, H/f, W/f)."""
    scale = autoencoder.config.scaling_factor
    # Each by itself would be the same image; so many at once keep the memory of large ones bounded.
    return np.concatenate([to_pixels(autoencoder.decode(batch / scale).sample) for batch in latents.split(_BATCH)])


def load_autoencoder(folder: Path) -> VQModel:
    """Read a VQModel in diffusers' layout.

    Raises:
        UserError: the folder holds none, or a broken one.
    """
    try:
        # Only safetensors: a pickle runs what it holds.
        return VQModel.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()
    except Exception as error:
        raise UserError(
            f"{folder} holds no VQModel (config.json and diffusion_pytorch_model.safetensors): "
            f"{type(error).__name__}: {error}"
        ) from error


def check_autoencoder(autoencoder: VQModel, config: AutoencoderConfig, data: DataConfig) -> None:
    """Raise :class:`UserError` where a given autoencoder is not of the shape that the configuration says."""
    kept = autoencoder.config
    for what, found, wanted in (
        ("image channels", kept.in_channels, data.channels),
        ("latent channels", kept.latent_channels, config.latent_channels),
        ("blocks", len(kept.block_out_channels), len(config.block_out_channels)),
    ):
        if found != wanted:
            raise UserError(
                f"the autoencoder {config.weights} has {found} {what}, and the configuration says {wanted}: correct "
                "model.autoencoder, or choose other weights"
            )
