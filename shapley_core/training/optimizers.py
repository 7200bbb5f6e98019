"""What turns gradients into steps: Adam in its kinds, and the learning rate over the steps of a run."""

import math
from collections.abc import Iterable
from importlib.util import find_spec

import torch
from torch.optim import Adam, AdamW

from shapley_core.config import TrainingConfig
from shapley_core.device import uncompiled
from shapley_core.errors import UserError


def build_optimizer(parameters: Iterable[torch.nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimiser of a run; its learning rate is set step by step (:func:`learning_rate`).

    Raises:
        UserError: as :func:`check_optimizer`.
    """
    rate, decay = config.learning_rate, config.weight_decay
    match config.optimizer:
        case None:
            return uncompiled(Adam)(parameters, lr=rate, weight_decay=decay, fused=True)
        case "adamw":
            return uncompiled(AdamW)(parameters, lr=rate, weight_decay=decay, fused=True)
        case "adam8bit":
            check_optimizer(config)
            from bitsandbytes.optim import Adam8bit  # here, because few have it

            optimizer: torch.optim.Optimizer = Adam8bit(parameters, lr=rate, weight_decay=decay)
            return optimizer


def check_optimizer(config: TrainingConfig) -> None:
    """Raise :class:`UserError` where this machine does not have what the optimiser needs."""
    if config.optimizer != "adam8bit":
        return
    instead = (
        "or choose adam or adamw, which run everywhere, for training.optimizer, pruning.finetuning.optimizer and "
        "finetuning.optimizer"
    )
    if not torch.cuda.is_available():
        raise UserError(
            f"the optimizer adam8bit needs a GPU with CUDA, and there is none here: run where there is one, {instead}"
        )
    if find_spec("bitsandbytes") is None:
        raise UserError(f"the optimizer adam8bit needs the package bitsandbytes: install it, {instead}")


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The rate of ``step`` (from 0): it rises from zero in equal parts over the warm-up, and then is constant or falls
    along half a cosine (arXiv 1608.03983, without restarts) to zero after the last step.

    As diffusers' schedulers have it. A warm-up that is longer than the run, as in the paper's fine-tuning on ArtBench,
    ends before the full rate.
    """
    warmup = config.warmup_steps or 0
    if step < warmup:
        return config.learning_rate * step / warmup
    if config.learning_rate_schedule is None:
        return config.learning_rate
    progress = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
