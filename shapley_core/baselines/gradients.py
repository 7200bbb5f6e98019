"""Gradients of a diffusion model's loss at single images, projected, as the gradient methods need them (appendix C).

    phi(x) = P^T grad_theta  1/T' sum_t  L_t(x_t)

The mean runs over T' timesteps. At each of them there is one instance of noise, which all images share, training images
and generated ones: an image's gradient is a function of the image alone, whatever its place in the data or in a batch,
and two images differ by what they show and not by what was drawn. L_t is, at an image x that is noised to x_t =
sqrt(abar_t) x + sqrt(1 - abar_t) eps,

    simple   | eps - eps_theta(x_t, t) |^2    the loss of training (eq. 1)
    square   | eps_theta(x_t, t) |^2          D-TRAK's (eqs. 15-16)

Timesteps are evenly spaced, 100 in the paper; for Journey-TRAK (eq. 17) they are those of the sampler, and x is what
the generated image was at t on its way. Only parameters that require gradients count.

**Memory.** Gradients are taken for a block of images and timesteps at once, and projected before the next block. So
it holds the projection's table, the gradients of one block, and what the network keeps for a backward pass.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from shapley_core.config import NoiseScheduleConfig
from shapley_core.errors import UserError
from shapley_core.models.ddpm import training_schedule
from shapley_core.models.sampling import SamplingPath
from shapley_core.progress import Progress
from shapley_core.seeds import derive_seed
from shapley_core.training.samples import TrainingSamples

logger = logging.getLogger(__name__)

Loss = Literal["simple", "square"]
Features = NDArray[np.floating[Any]]

#: The parameters of as many networks as a block has images; and the most images of a block.
_PARAMETERS_AT_ONCE = 2**25
_MOST_IMAGES_AT_ONCE = 16


class Projection(Protocol):
    """A linear map, the same for all images."""

    def __call__(self, gradients: Iterable[torch.Tensor]) -> torch.Tensor:
        """(B, k) of B vectors, whose coordinates are those of tensors (B, ...) one after another."""


@dataclass(frozen=True)
class ProjectedGradients:
    """Projected gradients of some images.

    Attributes:
        ids: (B,) which images: their place among the training or the generated images.
        values: (B, k).
    """

    ids: torch.Tensor
    values: torch.Tensor


def in_order(parts: Iterable[ProjectedGradients], n: int) -> Features:
    """(n, k), the gradients of images 0..n-1 in that order, whatever order the parts are in.

    Raises:
        ValueError: an image is missing, or there twice.
        UserError: a gradient is not finite.
    """
    together = list(parts)
    ids = torch.cat([part.ids for part in together])
    values = torch.cat([part.values for part in together])
    if not torch.equal(ids.sort().values, torch.arange(n)):
        raise ValueError(f"there are gradients of {len(ids)} images ({len(ids.unique())} different ones), not of {n}")
    if not torch.isfinite(values).all():
        raise UserError("the network's gradients are not finite numbers: its training diverged, so train it anew")
    ordered: Features = values[ids.argsort()].numpy()
    return ordered


class Gradients:
    """Projected gradients of one network; each kind is computed when it is first asked for, and kept.

    Args:
        network: the full model, which predicts noise; it is put into evaluation mode.
        schedule: the forward process it was trained with.
        training: N training images as the network sees them.
        generated: M generated images, likewise, with their prompts where there are any.
        paths: starts over telling by which ways the generated images came about
            (:func:`~shapley_core.models.sampling.sampling_paths`).
        projection: P, on the network's device.
        seed: of the noise.
        n_timesteps: T' for single images.
        images_at_once: images of a block; None: 16 for small networks, one from 2^24 parameters on.
        timesteps_at_once: timesteps of a block.

    Raises:
        UserError: the schedule has fewer timesteps, or nothing in the network is trained.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        schedule: NoiseScheduleConfig,
        training: TrainingSamples,
        generated: TrainingSamples,
        paths: Callable[[], Iterable[SamplingPath]],
        projection: Projection,
        seed: int,
        n_timesteps: int = 100,
        images_at_once: int | None = None,
        timesteps_at_once: int = 10,
    ) -> None:
        if not 1 <= n_timesteps <= schedule.num_train_timesteps:
            raise UserError(
                f"{n_timesteps} timesteps cannot be chosen from the {schedule.num_train_timesteps} of noise_schedule"
            )
        self._network = network.eval()
        self._parameters = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
        if not self._parameters:
            raise UserError("the network has no parameter that is trained, so there are no gradients to look at")
        self._schedule = training_schedule(schedule)
        self._training, self._generated, self._paths = training, generated, paths
        self._projection, self._seed = projection, seed
        self._timesteps = torch.arange(n_timesteps) * schedule.num_train_timesteps // n_timesteps
        # Frozen parameters count, too: they have no gradients, but what a backward pass keeps grows with them.
        n_parameters = sum(parameter.numel() for parameter in network.parameters())
        fitting = min(max(1, _PARAMETERS_AT_ONCE // n_parameters), _MOST_IMAGES_AT_ONCE)
        self._images_at_once = images_at_once or fitting
        self._timesteps_at_once = timesteps_at_once
        self._kept: dict[tuple[str, Loss], Features] = {}

    def check(self, n_training: int, n_generated: int) -> None:
        """Raise :class:`UserError` where these are not gradients of so many images."""
        if (len(self._training), len(self._generated)) != (n_training, n_generated):
            raise UserError(
                f"there are gradients of {len(self._training)} training and {len(self._generated)} generated images, "
                f"and {n_training} and {n_generated} images"
            )

    def training(self, loss: Loss) -> Features:
        """(N, k) at the training images."""
        return self._once("training images", loss, len(self._training), lambda: self._at(self._training, loss))

    def generated(self, loss: Loss) -> Features:
        """(M, k) at the generated images."""
        return self._once("generated images", loss, len(self._generated), lambda: self._at(self._generated, loss))

    def journey(self) -> Features:
        """(M, k) of the simple loss at the noisy images on the ways of the generated ones, mean over each way."""
        return self._once("ways of generated images", "simple", len(self._generated), self._along)

    def _once(self, name: str, loss: Loss, n: int, blocks: Callable[[], Iterator[ProjectedGradients]]) -> Features:
        if (name, loss) not in self._kept:
            progress = Progress(logger, f"{loss} gradients at {name}", "image", n)
            parts = []
            for part in blocks():
                parts.append(part)
                progress.advance(len(part.ids))
            self._kept[name, loss] = in_order(parts, n)
        return self._kept[name, loss]

    def _at(self, samples: TrainingSamples, loss: Loss) -> Iterator[ProjectedGradients]:
        for ids in torch.arange(len(samples)).split(self._images_at_once):
            clean = samples.clean[ids]
            repeated = clean[:, None].expand(-1, len(self._timesteps), *clean.shape[1:])
            yield self._block(ids, repeated, self._timesteps, samples.told(ids), loss)

    def _along(self) -> Iterator[ProjectedGradients]:
        for path in self._paths():
            ids = path.first_index + torch.arange(len(path.noisy))
            for some, noisy in zip(
                ids.split(self._images_at_once), path.noisy.split(self._images_at_once), strict=True
            ):
                yield self._block(some, noisy, path.timesteps.cpu(), self._generated.told(some), "simple")

    def _block(
        self,
        ids: torch.Tensor,
        images: torch.Tensor,
        timesteps: torch.Tensor,
        told: tuple[torch.Tensor, ...],
        loss: Loss,
    ) -> ProjectedGradients:
        """Of the mean over timesteps (T',), at ``images`` (B, T', C, H, W), one for each timestep."""
        like = next(iter(self._parameters.values()))
        said = tuple(what.to(like) for what in told)
        total: torch.Tensor | float = 0.0
        for some, at_some in zip(
            timesteps.split(self._timesteps_at_once), images.split(self._timesteps_at_once, dim=1), strict=True
        ):
            noise = torch.stack([self._noise(int(t), images.shape[2:]) for t in some]).to(like)
            t = some.to(like.device)
            noisy = torch.stack([self._schedule.add_noise(image, noise, t) for image in at_some.to(like)])
            # vmap knows no other kind of attention, and would take its images one by one.
            with sdpa_kernel(SDPBackend.MATH):
                gradients = vmap(grad(self._sum_of_losses), in_dims=(None, 0, 0, None, None, None))(
                    self._parameters, noisy, said, noise, t, loss
                )
            total = total + self._projection(gradients.values())
        assert isinstance(total, torch.Tensor)  # there is a timestep
        return ProjectedGradients(ids, (total / len(timesteps)).cpu())

    def _sum_of_losses(
        self,
        parameters: dict[str, torch.Tensor],
        noisy: torch.Tensor,
        told: tuple[torch.Tensor, ...],
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        loss: Loss,
    ) -> torch.Tensor:
        """The losses of one image at some timesteps, noised by ``noise`` (t, C, H, W) to ``noisy``, added up."""
        repeated = [what.expand(len(timesteps), *what.shape) for what in told]
        predicted = functional_call(self._network, parameters, (noisy, timesteps, *repeated)).sample
        error: torch.Tensor = predicted - noise if loss == "simple" else predicted
        return error.square().sum()

    def _noise(self, timestep: int, shape: torch.Size) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "noise of gradients", timestep))
        return torch.randn(shape, generator=generator)
