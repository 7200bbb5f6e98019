"""Training with the paper's loss: one loop for the full model, the pruned model and every coalition.

The loss is eq. 1 of the paper, the squared error of the predicted noise, with antithetic timesteps, gradient clipping
and Adam. Sampling uses an exponential moving average of the weights. The average starts anew with every call: carried
over from the model before, it would keep much of the weights that a coalition's fine-tuning is to replace (the
authors' code keeps 42 % of them on CIFAR-20).
"""

import logging
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch.nn import functional

from shapley_core.config import NoiseScheduleConfig, TrainingConfig
from shapley_core.models.ddpm import training_schedule
from shapley_core.progress import Progress
from shapley_core.training.draws import Batch, draw_batch

logger = logging.getLogger(__name__)

_CURVE_POINTS = 200


class DivergedError(Exception):
    """The loss stopped being a finite number."""


class DiffusionTrainer:
    """One training run: weights, optimiser, moving average and step, which can be saved and taken up again.

    Args:
        unet: the network, changed in place.
        images: (N, C, H, W) float32 in -1..1, on the network's device.
        config: steps, batch size, rates.
        schedule: the forward process.
        seed: seed of all draws of this run.

    Attributes:
        step: steps done.
        losses: loss of each step, on the device.
        residual_weight: share of the moving average that still comes from the weights before the first step.
    """

    def __init__(
        self,
        unet: UNet2DModel,
        images: torch.Tensor,
        config: TrainingConfig,
        schedule: NoiseScheduleConfig,
        seed: int,
    ) -> None:
        self.unet = unet
        self.images = images
        self.config = config
        self.seed = seed
        self.step = 0
        self.losses: list[torch.Tensor] = []
        self.residual_weight = 1.0
        self._parameters = list(unet.parameters())
        self._schedule: DDPMScheduler = training_schedule(schedule)
        self._optimizer = torch.optim.Adam(
            self._parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._ema = EMAModel(self._parameters, decay=config.ema_decay, foreach=True)

    def run(self, until: int | None = None, label: str = "") -> None:
        """Train up to step ``until`` (default: all of them), with progress lines under ``label`` if there is one.

        Raises:
            DivergedError: the loss is not finite.
        """
        until = self.config.steps if until is None else until
        progress = Progress(logger, label, "step", self.config.steps, self.step) if label else None
        self.unet.train()
        while self.step < until:
            self._train_step()
            if progress:
                progress.advance()
        if self.losses and not torch.isfinite(self.losses[-1]):
            raise DivergedError(f"the loss is {float(self.losses[-1])} after {self.step} steps")

    def _train_step(self) -> None:
        n_images, *shape = self.images.shape
        n_timesteps = self._schedule.config.num_train_timesteps
        batch = draw_batch(self.seed, self.step, n_images, self.config.batch_size, n_timesteps, shape)
        loss = self._loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, self.config.gradient_clip, foreach=True)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._ema.step(self._parameters)
        self.residual_weight *= self._ema.cur_decay_value
        self.losses.append(loss.detach())
        self.step += 1

    def _loss(self, batch: Batch) -> torch.Tensor:
        device = self.images.device
        clean = self.images[batch.indices.to(device)]
        if self.config.random_flip:
            clean = torch.where(batch.flips.to(device)[:, None, None, None], clean.flip(-1), clean)
        noise, timesteps = batch.noise.to(device), batch.timesteps.to(device)
        noisy = self._schedule.add_noise(clean, noise, timesteps)
        return functional.mse_loss(self.unet(noisy, timesteps).sample, noise)

    def use_average(self) -> None:
        """Put the moving average into the network: the weights to sample from, and to keep."""
        self._ema.copy_to(self._parameters)

    def curve(self) -> dict[str, list[float]]:
        """Mean loss ("value") over at most 200 consecutive stretches of steps, at the last step ("step") of each."""
        losses = torch.stack(self.losses).float().cpu()
        stretches = losses.split(-(-len(losses) // _CURVE_POINTS))
        ends = torch.tensor([len(stretch) for stretch in stretches]).cumsum(0)
        return {"step": ends.tolist(), "value": [float(stretch.mean()) for stretch in stretches]}

    def save(self, path: Path) -> None:
        """Write everything that :meth:`restore` needs, as safetensors."""
        tensors = {
            "step": torch.tensor(self.step),
            "residual_weight": torch.tensor(self.residual_weight, dtype=torch.float64),
            "ema_step": torch.tensor(self._ema.optimization_step),
            "losses": torch.stack(self.losses),
        }
        optimizer = self._optimizer.state_dict()["state"]
        for i, (parameter, shadow) in enumerate(zip(self._parameters, self._ema.shadow_params, strict=True)):
            tensors[f"{i}.weight"] = parameter.detach()
            tensors[f"{i}.average"] = shadow
            for name, value in optimizer[i].items():
                tensors[f"{i}.optimizer.{name}"] = value
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)

    def restore(self, path: Path) -> None:
        """Take up the run that :meth:`save` wrote, at its step."""
        tensors = load_file(path)
        self.step = int(tensors["step"])
        self.losses = list(tensors["losses"].to(self.images.device))
        self.residual_weight = float(tensors["residual_weight"])
        self._ema.optimization_step = int(tensors["ema_step"])
        state = self._optimizer.state_dict()
        names = {key.split(".", 2)[2] for key in tensors if ".optimizer." in key}
        with torch.no_grad():
            for i, (parameter, shadow) in enumerate(zip(self._parameters, self._ema.shadow_params, strict=True)):
                parameter.copy_(tensors[f"{i}.weight"])
                shadow.copy_(tensors[f"{i}.average"])
                state["state"][i] = {name: tensors[f"{i}.optimizer.{name}"] for name in names}
        self._optimizer.load_state_dict(state)
