"""The autoencoder of latent diffusion (arXiv 2112.10752), trained once and then frozen; one of diffusers' two kinds.

    VQModel:        loss = mean (x - D(q(E(x))))^2 + codebook and commitment losses (arXiv 1711.00937)
    AutoencoderKL:  loss = mean (x - D(z))^2 + w KL( q(z|x) || N(0, 1) ),  z ~ q(z|x)  (arXiv 1312.6114)

Diffusion happens on E(x), before quantisation, or on the mean of q(z|x), scaled to unit variance (``scaling_factor``,
as diffusers' pipelines read it); a VQModel quantises when it decodes. Latents of the training images are computed once,
and the autoencoder is in memory only where pixels are made.
"""

import json
import logging
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from diffusers import AutoencoderKL, VQModel
from numpy.typing import NDArray
from torch.nn import functional

from shapley_core.config import AutoencoderConfig, DataConfig
from shapley_core.errors import UserError
from shapley_core.models.ddpm import to_model_range, to_pixels
from shapley_core.progress import Progress
from shapley_core.seeds import derive_seed

logger = logging.getLogger(__name__)

Autoencoder: TypeAlias = VQModel | AutoencoderKL
_KINDS: dict[str, Any] = {"VQModel": VQModel, "AutoencoderKL": AutoencoderKL}

#: Images encoded or decoded at once.
_BATCH = 64
#: Weight of the divergence: it keeps latents near a unit normal and hardly blurs (arXiv 2112.10752, appendix G).
_KL_WEIGHT = 1e-6


def build_autoencoder(
    config: AutoencoderConfig, data: DataConfig, seed: int, kind: type[Autoencoder] = VQModel
) -> Autoencoder:
    """An autoencoder with random weights drawn from ``seed``."""
    n_blocks = len(config.block_out_channels)
    codes = {"num_vq_embeddings": config.num_vq_embeddings} if kind is VQModel else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "autoencoder weights"))
        return kind(
            in_channels=data.channels,
            out_channels=data.channels,
            down_block_types=("DownEncoderBlock2D",) * n_blocks,
            up_block_types=("UpDecoderBlock2D",) * n_blocks,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            latent_channels=config.latent_channels,
            sample_size=data.resolution,
            norm_num_groups=config.norm_num_groups,
            mid_block_add_attention=False,
            **codes,
        )


def train_autoencoder(
    autoencoder: Autoencoder, images: NDArray[np.uint8], config: AutoencoderConfig, seed: int
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
        loss = _loss(autoencoder, batch, generator)
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


def _loss(autoencoder: Autoencoder, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if isinstance(autoencoder, VQModel):
        output = autoencoder(batch)
        quantised: torch.Tensor = functional.mse_loss(output.sample, batch) + output.commit_loss.mean()
        return quantised
    posterior = autoencoder.encode(batch).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator).to(batch.device)
    decoded = autoencoder.decode(posterior.mean + posterior.std * noise).sample
    # The divergence is summed over an image's latents; the error is a mean over pixels.
    loss: torch.Tensor = functional.mse_loss(decoded, batch) + _KL_WEIGHT * posterior.kl().mean()
    return loss


@torch.inference_mode()
def encode(autoencoder: Autoencoder, images: NDArray[np.uint8]) -> torch.Tensor:
    """Latents (N, C, H/f, W/f), float32 on the CPU, of pixels (N, H, W, C)."""
    scale = autoencoder.config.scaling_factor

    def latents(batch: torch.Tensor) -> torch.Tensor:
        encoded = autoencoder.encode(batch.to(autoencoder.device))
        found: torch.Tensor = encoded.latents if isinstance(autoencoder, VQModel) else encoded.latent_dist.mean
        return found

    parts = [latents(batch).mul(scale).float().cpu() for batch in to_model_range(images).split(_BATCH)]
    return torch.cat(parts).contiguous()


@torch.inference_mode()
def decode(autoencoder: Autoencoder, latents: torch.Tensor) -> NDArray[np.uint8]:
    """Pixels (N, H, W, C) of latents (N, C, H/f, W/f)."""
    scale = autoencoder.config.scaling_factor
    # Each by itself would be the same image; so many at once keep the memory of large ones bounded.
    return np.concatenate([to_pixels(autoencoder.decode(batch / scale).sample) for batch in latents.split(_BATCH)])


def load_autoencoder(folder: Path) -> Autoencoder:
    """Read a VQModel or an AutoencoderKL in diffusers' layout.

    Raises:
        UserError: the folder holds none, or a broken one.
    """
    try:
        kind = _KINDS[json.loads((folder / "config.json").read_text())["_class_name"]]
        # Only safetensors: a pickle runs what it holds.
        return kind.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()
    except Exception as error:
        raise UserError(
            f"{folder} holds no VQModel or AutoencoderKL (config.json and diffusion_pytorch_model.safetensors): "
            f"{type(error).__name__}: {error}"
        ) from error


def check_autoencoder(autoencoder: Autoencoder, config: AutoencoderConfig, data: DataConfig) -> None:
    """Raise :class:`UserError` where a given VQModel is none, or not of the shape that the configuration says."""
    if not isinstance(autoencoder, VQModel):
        kind = type(autoencoder).__name__
        raise UserError(f"the autoencoder {config.weights} is a {kind}, and latent diffusion takes a VQModel")
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
