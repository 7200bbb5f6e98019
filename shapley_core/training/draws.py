"""The random draws of training, addressed by step: any step's batch can be drawn without the steps before it.

That makes a run resumable at any step with the same result, and independent of whatever else the process did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from shapley_core.seeds import derive_seed


@dataclass(frozen=True)
class Batch:
    """The draws of one training step.

    Attributes:
        indices: (B,) rows of the training images.
        timesteps: (B,) int64 in 0..T-1; the second half holds T-1-t of the first (antithetic).
        noise: (B, C, H, W) standard normal.
        flips: (B,) bool, which images are mirrored.
    """

    indices: torch.Tensor
    timesteps: torch.Tensor
    noise: torch.Tensor
    flips: torch.Tensor


def draw_batch(seed: int, step: int, n_images: int, batch_size: int, n_timesteps: int, shape: Sequence[int]) -> Batch:
    """The draws of ``step``: images in shuffled epochs, antithetic timesteps, noise and flips."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "step", step))
    half = torch.randint(n_timesteps, (-(-batch_size // 2),), generator=generator)
    return Batch(
        indices=_shuffled_epochs(seed, step * batch_size, batch_size, n_images),
        timesteps=torch.cat([half, n_timesteps - 1 - half])[:batch_size],
        noise=torch.randn((batch_size, *shape), generator=generator),
        flips=torch.rand(batch_size, generator=generator) < 0.5,
    )


def _shuffled_epochs(seed: int, start: int, count: int, n_images: int) -> torch.Tensor:
    """Positions ``start`` to ``start + count`` of an endless stream of shuffled epochs."""
    first, last = start // n_images, (start + count - 1) // n_images
    stream = torch.cat([_epoch_order(seed, epoch, n_images) for epoch in range(first, last + 1)])
    offset = start - first * n_images
    return stream[offset : offset + count]


@lru_cache(maxsize=64)
def _epoch_order(seed: int, epoch: int, n_images: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "epoch", epoch))
    return torch.randperm(n_images, generator=generator)
