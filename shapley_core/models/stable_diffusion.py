"""Stable Diffusion (arXiv 2112.10752): a UNet that denoises latents and is told what a text encoder says of a prompt.

A base model is read from, and written to, a folder in diffusers' layout (``unet``, ``vae``, ``text_encoder``,
``tokenizer``, ``scheduler``). A small one of one's own is built here; UNet and text encoder are trained together, as
:class:`TextToImage`, the way latent diffusion trained its first text encoder (there §4.3.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTokenizer
from transformers.models.clip.modeling_clip import CLIPTextModel

from shapley_core.config import ModelConfig, NoiseScheduleConfig, TextEncoderConfig
from shapley_core.errors import UserError
from shapley_core.models.ddpm import unet_settings

_PROMPTS_AT_ONCE = 64


@dataclass(frozen=True)
class StableDiffusion:
    """The parts of a Stable Diffusion model."""

    unet: UNet2DConditionModel
    autoencoder: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer

    @classmethod
    def load(cls, folder: Path) -> "StableDiffusion":
        """Read a model in diffusers' layout; only safetensors, because a pickle runs what it holds.

        Raises:
            UserError: a part is missing or broken.
        """
        return cls(
            _part(UNet2DConditionModel, folder / "unet"),
            _part(AutoencoderKL, folder / "vae"),
            _part(CLIPTextModel, folder / "text_encoder"),
            _part(CLIPTokenizer, folder / "tokenizer"),
        )

    def save(self, folder: Path, schedule: NoiseScheduleConfig) -> None:
        """Write the model for diffusers' ``StableDiffusionPipeline.from_pretrained``."""
        from diffusers import StableDiffusionPipeline  # here, because it takes seconds to import

        StableDiffusionPipeline(
            vae=self.autoencoder,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=DDIMScheduler(**schedule.model_dump(), clip_sample=False, steps_offset=1),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)

    @torch.inference_mode()
    def embed(self, prompts: Sequence[str]) -> torch.Tensor:
        """(P, T, D) float32, what the text encoder says of each prompt."""
        tokens = tokenize(self.tokenizer, prompts).to(self.text_encoder.device)
        parts = [self.text_encoder(part).last_hidden_state.float() for part in tokens.split(_PROMPTS_AT_ONCE)]
        return torch.cat(parts).cpu()


class TextToImage(torch.nn.Module):
    """UNet and text encoder as one network, which is told the tokens (B, T) of a caption."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, tokens: torch.Tensor) -> Any:
        """What the UNet returns for samples (B, C, H, W)."""
        return self.unet(sample, timestep, self.text_encoder(tokens).last_hidden_state)


def load_base_unet(folder: Path) -> UNet2DConditionModel:
    """Read a UNet by itself.

    Raises:
        UserError: the folder holds none, or a broken one.
    """
    unet: UNet2DConditionModel = _part(UNet2DConditionModel, folder)
    return unet


def learn_tokens(captions: Sequence[str], config: TextEncoderConfig) -> CLIPTokenizer:
    """A tokenizer whose byte pairs are learnt from the captions."""
    empty = CLIPTokenizer(model_max_length=config.n_tokens)
    tokenizer: CLIPTokenizer = empty.train_new_from_iterator(captions, config.vocabulary, show_progress=False)
    return tokenizer


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> torch.Tensor:
    """(P, T) int64, the tokens of texts, filled up and cut to the tokenizer's length."""
    ids = tokenizer(list(texts), padding="max_length", truncation=True, max_length=tokenizer.model_max_length)
    return torch.tensor(ids["input_ids"])


def build_text_to_image(
    model: ModelConfig,
    text: TextEncoderConfig,
    tokenizer: CLIPTokenizer,
    sample_shape: tuple[int, int, int],
    seed: int,
) -> TextToImage:
    """UNet and text encoder with random weights drawn from ``seed``, for latents (C, H, W) of that shape."""
    head = model.attention_head_dim
    # What diffusers calls attention_head_dim is the number of heads here (huggingface/diffusers issue 2011).
    heads = tuple(max(1, width // head) if head else 1 for width in model.block_out_channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            **unet_settings(model, sample_shape),
            mid_block_type="UNetMidBlock2DCrossAttn" if model.add_attention else "UNetMidBlock2D",
            attention_head_dim=heads,
            cross_attention_dim=text.hidden_size,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=text.hidden_size,
                intermediate_size=4 * text.hidden_size,
                num_hidden_layers=text.n_layers,
                num_attention_heads=text.n_heads,
                max_position_embeddings=text.n_tokens,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    # Positions stay as drawn, which serves as well as learning them (arXiv 1706.03762 §3.5): they are looked up once
    # for all rows, so that networks trained as one must share them.
    text_encoder.embeddings.position_embedding.requires_grad_(False)
    return TextToImage(unet, text_encoder)


def _part(kind: Any, folder: Path) -> Any:
    weights = {} if kind is CLIPTokenizer else {"use_safetensors": True}
    try:
        return kind.from_pretrained(folder, local_files_only=True, **weights)
    except Exception as error:
        raise UserError(
            f"{folder} holds no {kind.__name__} that can be read: {type(error).__name__}: {error}"
        ) from error
