"""Training with the paper's loss: one loop for the full model, the pruned model and every coalition.

The loss is eq. 1 of the paper, the squared error of the predicted noise, with antithetic timesteps and gradient
clipping; optimisers and rates stand in :mod:`shapley_core.training.optimizers`. Sampling uses an exponential moving
average of the weights. The average starts anew with every run: carried over from the model before, it would keep much
of the weights that a coalition's fine-tuning is to replace (the authors' code keeps 42 % of them on CIFAR-20).

Several runs can be trained as one network (:mod:`shapley_core.models.stacked`): each has its own images, draws,
gradient norm, optimiser state and average, and ends where it would have ended alone. Weights that are frozen (the base
of a LoRA) are shared by all of them, and neither trained, averaged nor kept.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

from shapley_core.config import NoiseScheduleConfig, TrainingConfig
from shapley_core.device import precision, speed_up
from shapley_core.models.ddpm import training_schedule
from shapley_core.models.stacked import stack
from shapley_core.progress import Progress
from shapley_core.training.draws import Batch, draw_ahead
from shapley_core.training.optimizers import build_optimizer, learning_rate
from shapley_core.training.samples import TrainingSamples

logger = logging.getLogger(__name__)

_CURVE_POINTS = 200
#: Steps whose draws are made, and moved to the device, at once.
_AHEAD = 16
#: Between a parameter's number and a name of its optimiser's state, in the file of an interrupted run.
_OPTIMIZER = ".optimizer."


class DivergedError(Exception):
    """The loss or the weights stopped being finite numbers."""


@dataclass(frozen=True)
class TrainingRun:
    """One training run.

    Attributes:
        network: what it starts from; left as it is.
        rows: (n,) int64, the training samples that it sees; one that stands there twice is seen twice as often.
        seed: seed of all its draws.
    """

    network: torch.nn.Module
    rows: torch.Tensor
    seed: int

    @classmethod
    def on_all(cls, samples: TrainingSamples, network: torch.nn.Module, seed: int) -> "TrainingRun":
        """A run on all of the samples."""
        return cls(network, torch.arange(len(samples)), seed)


class DiffusionTrainer:
    """K training runs side by side: weights, optimiser, moving averages and step, to be saved and taken up again.

    Args:
        runs: K runs of one architecture.
        samples: what they learn from, on the networks' device.
        config: steps, batch size, rates.
        schedule: the forward process.
        compile: compile the network first.
        ascend: raise the loss instead of lowering it: forget the samples.

    Attributes:
        network: the K networks as one.
        step: steps done.
        losses: (K,) losses of each step, on the device.
    """

    def __init__(
        self,
        runs: Sequence[TrainingRun],
        samples: TrainingSamples,
        config: TrainingConfig,
        schedule: NoiseScheduleConfig,
        compile: bool = False,
        ascend: bool = False,
    ) -> None:
        self._sign = -1.0 if ascend else 1.0
        self.network = stack([run.network for run in runs]).train()
        speed_up(self.network, compile)
        self.samples = samples
        self._subsets = [(run.rows, run.seed) for run in runs]
        self.config = config
        self.step = 0
        self.losses: list[torch.Tensor] = []
        self._drawn: tuple[int, Batch] | None = None
        self._parameters = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        self._schedule: DDPMScheduler = training_schedule(schedule)
        self._optimizer = build_optimizer(self._parameters.values(), config)
        self._average = [parameter.detach().clone() for parameter in self._parameters.values()]

    def run(self, until: int | None = None, label: str = "") -> None:
        """Train up to step ``until`` (default: all of them), with progress lines under ``label`` if there is one.

        Raises:
            DivergedError: no run has a finite loss.
        """
        until = self.config.steps if until is None else until
        progress = Progress(logger, label, "step", self.config.steps, self.step) if label else None
        while self.step < until:
            self._train_step()
            if progress:
                progress.advance()
        if self.losses and not torch.isfinite(self.losses[-1]).any():
            raise DivergedError(f"the loss is {float(self.losses[-1][0])} after {self.step} steps")

    def _train_step(self) -> None:
        losses = self._add_gradients(self._batch())
        parameters = list(self._parameters.values())
        clip_gradients(parameters, self.config.gradient_clip)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        self._optimizer.step()
        self._optimizer.zero_grad()
        decay = ema_decay(self.step, self.config.ema_decay)
        torch._foreach_lerp_(self._average, [parameter.detach() for parameter in parameters], 1 - decay)
        self.losses.append(losses)
        self.step += 1

    def _batch(self) -> Batch:
        first = self.step - self.step % _AHEAD
        if self._drawn is None or self._drawn[0] != first:
            steps = range(first, min(first + _AHEAD, self.config.steps))
            n_timesteps, clean = self._schedule.config.num_train_timesteps, self.samples.clean
            batch = draw_ahead(self._subsets, steps, self.config.batch_size, n_timesteps, clean.shape[1:], clean.device)
            self._drawn = first, batch
        return self._drawn[1].step(self.step - first)

    def _add_gradients(self, batch: Batch) -> torch.Tensor:
        """(K,) losses of a step, whose gradients are added up over the parts of the batch that fit into memory."""
        k, size = len(self._subsets), self.config.batch_size
        at_once = self.config.micro_batch_size or size
        losses = []
        for start in range(0, size, at_once):
            stop = min(start + at_once, size)
            part = self._losses(batch.rows(k * start, k * stop)) * ((stop - start) / size)
            (self._sign * part.sum()).backward()
            losses.append(part.detach())
        return torch.stack(losses).sum(dim=0)

    def _losses(self, batch: Batch) -> torch.Tensor:
        clean = self.samples.batch(batch.indices, batch.flips if self.config.random_flip else None)
        noisy = self._schedule.add_noise(clean, batch.noise, batch.timesteps)
        if len(self._subsets) == 1:  # a tenth faster; grouped convolutions want it the other way
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        with precision(noisy.device, self.config.precision):
            predicted = self.network(noisy, batch.timesteps, *self.samples.told(batch.indices)).sample
        error: torch.Tensor = predicted.float() - batch.noise
        k = len(self._subsets)
        return error.square().reshape(len(error) // k, k, -1).mean(dim=(0, 2))

    def average(self, k: int) -> dict[str, torch.Tensor]:
        """The averaged trained weights of run ``k``, named as in its network: to sample from, and to keep.

        Raises:
            DivergedError: its loss or its weights are not finite.
        """
        loss = float(self.losses[-1][k]) if self.losses else 0.0
        state = {name: average[k].clone() for name, average in zip(self._parameters, self._average, strict=True)}
        if not torch.isfinite(torch.tensor(loss)):
            raise DivergedError(f"the loss is {loss} after {self.step} steps")
        if not all(bool(torch.isfinite(weight).all()) for weight in state.values()):
            raise DivergedError(f"the weights are not finite after {self.step} steps")
        return state

    def curve(self) -> dict[str, list[float]]:
        """Mean loss ("value") over at most 200 consecutive stretches of steps, at the last step ("step") of each."""
        losses = torch.stack(self.losses).float().mean(dim=1).cpu()
        stretches = losses.split(-(-len(losses) // _CURVE_POINTS))
        ends = torch.tensor([len(stretch) for stretch in stretches]).cumsum(0)
        return {"step": ends.tolist(), "value": [float(stretch.mean()) for stretch in stretches]}

    def save(self, path: Path) -> None:
        """Write everything that :meth:`restore` needs, as safetensors."""
        tensors = {
            "step": torch.tensor(self.step),
            "losses": torch.stack(self.losses),
        }
        for i, (parameter, average) in enumerate(zip(self._parameters.values(), self._average, strict=True)):
            tensors[f"{i}.weight"] = parameter.detach()
            tensors[f"{i}.average"] = average
            for name, value in self._optimizer.state[parameter].items():
                # A copy: bitsandbytes has tables that all parameters share.
                tensors[f"{i}{_OPTIMIZER}{name}"] = torch.as_tensor(value).to("cpu", copy=True)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)

    def restore(self, path: Path) -> None:
        """Take up the run that :meth:`save` wrote, at its step."""
        tensors = load_file(path)
        self.step = int(tensors["step"])
        self.losses = list(tensors["losses"].to(self.samples.clean.device))
        with torch.no_grad():
            for i, (parameter, average) in enumerate(zip(self._parameters.values(), self._average, strict=True)):
                parameter.copy_(tensors[f"{i}.weight"])
                average.copy_(tensors[f"{i}.average"])
        states: dict[int, dict[str, Any]] = defaultdict(dict)
        for key, value in tensors.items():
            number, _, name = key.partition(_OPTIMIZER)
            if name:
                # bitsandbytes counts steps in a plain number, torch in a float32 tensor.
                states[int(number)][name] = value.item() if value.dtype == torch.int64 else value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": dict(states)})


def ema_decay(step: int, limit: float) -> float:
    """Decay of the moving average after step ``step`` (from 0): nothing of the start is kept, then (1 + k) / (10 + k).

    The rule of diffusers' ``EMAModel``, whose module takes seconds to import.
    """
    return min((1 + step) / (10 + step), limit) if step else 0.0


def clip_gradients(parameters: Sequence[torch.nn.Parameter], largest: float) -> None:
    """Scale the gradient of each of K stacked copies down to the norm ``largest`` where it is longer.

    What ``torch.nn.utils.clip_grad_norm_`` does for one network, without a copy's norm touching another's.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    scale = (largest / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))
