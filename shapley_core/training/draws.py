"""The random draws of training, addressed by step: any step's batch can be drawn without the steps before it.

That makes a run resumable at any step with the same result, and independent of whatever else the process did.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import torch

from shapley_core.seeds import derive_seed


@dataclass(frozen=True)
class Batch:
    """The draws of one training step, or of several with a leading axis of steps.

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

    def step(self, i: int) -> "Batch":
        """The draws of the i-th of several steps."""
        return Batch(self.indices[i], self.timesteps[i], self.noise[i], self.flips[i])

    def rows(self, start: int, stop: int) -> "Batch":
        """The draws of some of a step's images."""
        some = slice(start, stop)
        return Batch(self.indices[some], self.timesteps[some], self.noise[some], self.flips[some])


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


def draw_ahead(
    subsets: Sequence[tuple[torch.Tensor, int]],
    steps: Sequence[int],
    batch_size: int,
    n_timesteps: int,
    shape: Sequence[int],
    device: torch.device,
) -> Batch:
    """The draws of K runs for several steps, on the device, in the order of a stacked network.

    Args:
        subsets: for each run the rows of the training images that it may use, (n,) int64, and the seed of its draws.
        steps: the steps to draw for.
        batch_size: images per step and run.
        n_timesteps: T of the noise schedule.
        shape: (C, H, W).
        device: where the draws go.

    Returns:
        tensors with axes (steps, B * K, ...): row b * K + k is the b-th draw of ``subsets[k]``, the same as
        :func:`draw_batch` gives it.
    """
    drawn = []
    for step in steps:
        for rows, seed in subsets:
            batch = draw_batch(seed, step, len(rows), batch_size, n_timesteps, shape)
            drawn.append(replace(batch, indices=rows[batch.indices]))

    def arranged(name: str) -> torch.Tensor:
        tensors = torch.stack([getattr(batch, name) for batch in drawn])
        by_step = tensors.view(len(steps), len(subsets), *tensors.shape[1:])
        return by_step.transpose(1, 2).flatten(1, 2).to(device, non_blocking=True)

    return Batch(*(arranged(field.name) for field in fields(Batch)))


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
