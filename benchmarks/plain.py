"""The plain way to measure a coalition: diffusers' own training loop and pipeline, as its documentation writes them.

One coalition after another, a DataLoader, an Accelerator, AdamW, a learning-rate schedule, EMAModel, DDIMPipeline:
what one would write first, and what this project is compared with. Kept as it is; nothing here is used by the project.
"""

import copy

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler, UNet2DModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from shapley_core.config import GenerationConfig, TrainingConfig


class Images(Dataset[torch.Tensor]):
    """Images (N, H, W, C) uint8, brought to -1..1 when they are asked for."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.pixels[index].transpose(2, 0, 1)).float() / 127.5 - 1


def finetune(
    start: UNet2DModel, pixels: NDArray[np.uint8], config: TrainingConfig, mixed_precision: str = "no"
) -> UNet2DModel:
    """The network ``start`` fine-tuned on some images, with accelerate's ``mixed_precision``; its averaged weights."""
    model = copy.deepcopy(start).train()
    accelerator = Accelerator(mixed_precision=mixed_precision)
    loader = DataLoader(Images(pixels), batch_size=config.batch_size, shuffle=True)
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    rate = get_scheduler("constant", optimizer)
    model, optimizer, loader, rate = accelerator.prepare(model, optimizer, loader, rate)
    ema = EMAModel(model.parameters(), decay=config.ema_decay)
    step = 0
    while step < config.steps:
        for clean in loader:
            noise = torch.randn(clean.shape)
            timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (len(clean),), dtype=torch.int64)
            noisy = scheduler.add_noise(clean, noise, timesteps)
            with accelerator.accumulate(model):
                loss = functional.mse_loss(model(noisy, timesteps, return_dict=False)[0], noise)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), config.gradient_clip)
                optimizer.step()
                rate.step()
                optimizer.zero_grad()
            ema.step(model.parameters())
            step += 1
            if step == config.steps:
                break
    ema.copy_to(model.parameters())
    return accelerator.unwrap_model(model, keep_fp32_wrapper=False)


def generate(unet: UNet2DModel, config: GenerationConfig, seed: int) -> NDArray[np.uint8]:
    """Images of a fine-tuned network."""
    pipeline = DDIMPipeline(unet=unet, scheduler=DDIMScheduler(num_train_timesteps=1000))
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for start in range(0, config.n_images, config.batch_size):
        size = min(config.batch_size, config.n_images - start)
        images = pipeline(
            batch_size=size, generator=generator, num_inference_steps=config.n_steps, output_type="np"
        ).images
        batches.append(np.round(images * 255).astype(np.uint8))
    return np.concatenate(batches)
