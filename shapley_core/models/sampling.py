"""Generation: a solver over a batch of images whose initial noise is seeded per image index.

The noise of image i depends on the generation seed and i alone, so it is the same for every coalition (common random
numbers: the difference of two coalitions is not blurred by different draws) and for every batch size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shapley_core.config import GenerationConfig, NoiseScheduleConfig
from shapley_core.device import device_of, precision
from shapley_core.models.ddpm import Scheduler, sampling_schedule, to_pixels
from shapley_core.seeds import derive_seed

# CPU kernels treat full blocks of the batch and the remainder by different code, whose sums round differently. With
# every batch padded to full blocks an image is the same to the last bit in whichever batch it is made.
_BLOCK = 16


@dataclass(frozen=True, eq=False)
class Prompts:
    """What images are generated from, as a text encoder says it.

    Attributes:
        wanted: (G, T, D), prompts that the images take by turns: image i has prompt i mod G.
        nothing: (1, T, D), the empty prompt, from which guidance leads away.
    """

    wanted: torch.Tensor
    nothing: torch.Tensor

    def to(self, device: torch.device) -> "Prompts":
        """The same on another device."""
        return Prompts(self.wanted.to(device), self.nothing.to(device))

    def of_images(self, first_index: int, n: int) -> torch.Tensor:
        """(n, T, D), the prompts of the images from ``first_index`` on."""
        return self.wanted[torch.arange(first_index, first_index + n) % len(self.wanted)]


@dataclass(frozen=True, eq=False)
class SamplingPath:
    """What a batch of images was on its way from noise.

    Attributes:
        first_index: of the batch's images, which follow one another.
        timesteps: (T',) int64, at which the network was asked, in that order.
        noisy: (B, T', C, H, W), what it was asked about.
    """

    first_index: int
    timesteps: torch.Tensor
    noisy: torch.Tensor


def initial_noise(n_images: int, shape: tuple[int, int, int], seed: int) -> torch.Tensor:
    """Standard normal noise (n_images, C, H, W); row i depends on ``seed`` and i alone."""
    rows = [
        torch.randn(shape, generator=torch.Generator().manual_seed(derive_seed(seed, "image", index)))
        for index in range(n_images)
    ]
    return torch.stack(rows)


def sample(
    unet: Any,
    schedule: NoiseScheduleConfig,
    config: GenerationConfig,
    seed: int,
    decode: Callable[[torch.Tensor], NDArray[np.uint8]] = to_pixels,
    prompts: Prompts | None = None,
    bounded: bool = True,
) -> NDArray[np.uint8]:
    """Generate ``config.n_images`` images as pixels (N, H, W, C).

    Deterministic given the weights and ``seed``; with ``eta`` > 0 the noise added on the way is drawn per image, too.

    Args:
        unet: the network, of diffusers; where there are prompts, one that takes them.
        schedule: the forward process it was trained with.
        config: solver and number of images.
        seed: of all noise.
        decode: from samples (N, C, H, W) to pixels; an image must not hang on the others.
        prompts: what the images are to show.
        bounded: do samples lie in -1..1, as pixels do and latents do not?
    """
    parts = []
    for start, noise, scheduler in _batches(unet, schedule, config, seed, bounded):
        parts.append(decode(_denoise(unet, scheduler, config, noise, start, seed, prompts))[: len(noise)])
    return np.concatenate(parts)


def sampling_paths(
    unet: Any,
    schedule: NoiseScheduleConfig,
    config: GenerationConfig,
    seed: int,
    prompts: Prompts | None = None,
    bounded: bool = True,
) -> Iterator[SamplingPath]:
    """The ways of the images that :func:`sample` generates from the same arguments, batch by batch."""
    for start, noise, scheduler in _batches(unet, schedule, config, seed, bounded):
        passed: list[torch.Tensor] = []
        _denoise(unet, scheduler, config, noise, start, seed, prompts, passed)
        yield SamplingPath(start, scheduler.timesteps.long(), torch.stack([x[: len(noise)] for x in passed], dim=1))


def _batches(
    unet: Any, schedule: NoiseScheduleConfig, config: GenerationConfig, seed: int, bounded: bool
) -> Iterator[tuple[int, torch.Tensor, Scheduler]]:
    """Index of a batch's first image, the batch's noise (B, C, H, W), and a solver for it."""
    size = unet.config.sample_size
    # Channels last: the same sums a fifth faster on CPU, and what tensor cores want.
    torch.nn.Module.to(unet.eval(), memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch forgot it
    noise = initial_noise(config.n_images, (unet.config.in_channels, size, size), seed)
    batch_size = -(-config.batch_size // _BLOCK) * _BLOCK
    for start in range(0, config.n_images, batch_size):
        # A new one for each batch: PNDM remembers what the network said at the steps before.
        yield start, noise[start : start + batch_size], sampling_schedule(schedule, config.solver, bounded)


@torch.inference_mode()
def _denoise(
    unet: Any,
    scheduler: Scheduler,
    config: GenerationConfig,
    noise: torch.Tensor,
    first_index: int,
    seed: int,
    prompts: Prompts | None,
    passed: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Samples of ``noise``, padded to whole blocks; ``passed`` gets what they are before each step."""
    padded = torch.cat([noise, noise[-1:].expand(-len(noise) % _BLOCK, *noise.shape[1:])])
    x = padded.to(device_of(unet), memory_format=torch.channels_last)
    scheduler.set_timesteps(config.n_steps, device=x.device)
    generators = [torch.Generator().manual_seed(derive_seed(seed, "path", first_index + i)) for i in range(len(x))]
    predict = _predictor(unet, config, prompts, first_index, len(x))
    for t in scheduler.timesteps:
        if passed is not None:
            passed.append(x)
        with precision(x.device, config.precision):
            epsilon = predict(x, t).float()
        noisily = {}
        if config.eta > 0:
            rows = [torch.randn(x.shape[1:], generator=generator) for generator in generators]
            noisily = {"eta": config.eta, "variance_noise": torch.stack(rows).to(x)}
        x = scheduler.step(epsilon, t, x, **noisily).prev_sample
    return x


def _predictor(
    unet: Any, config: GenerationConfig, prompts: Prompts | None, first_index: int, n: int
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """What tells the noise in n samples (n, C, H, W) at a timestep."""
    if prompts is None:
        return lambda x, t: unet(x, t).sample
    wanted = prompts.of_images(first_index, n)
    scale = config.guidance_scale
    if scale is None or scale == 1:
        return lambda x, t: unet(x, t, wanted).sample
    told = torch.cat([prompts.nothing.expand(n, -1, -1), wanted])

    def guided(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        without, with_prompt = unet(torch.cat([x, x]), t, told).sample.chunk(2)
        epsilon: torch.Tensor = without + scale * (with_prompt - without)
        return epsilon

    return guided
