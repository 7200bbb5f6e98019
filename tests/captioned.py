"""Digits with captions in a manifest, and a small Stable Diffusion model of one's own: the family lora in seconds."""

from pathlib import Path
from typing import Any

import networks
from PIL import Image
from sklearn.datasets import load_digits
from tiny import TINY

from shapley_core.config import ModelConfig, NoiseScheduleConfig, TextEncoderConfig
from shapley_core.models.autoencoder import AutoencoderKL, build_autoencoder
from shapley_core.models.stable_diffusion import StableDiffusion, build_text_to_image, learn_tokens

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEXT = {"hidden_size": 16, "n_layers": 1, "n_heads": 2, "n_tokens": 8, "vocabulary": 320}
BLOCKS: dict[str, Any] = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "add_attention": True,
}
AUTOENCODER = {"block_out_channels": [8, 16], "norm_num_groups": 4, "latent_channels": 4, "steps": 20}
RANK = 4
PROMPT = "a digit"


def write_manifest(folder: Path, digits: range, captions: bool = True, n: int = 300) -> Path:
    """The first ``n`` of scikit-learn's digits, those in ``digits``, as PNG files and a table; a class contributes."""
    folder.mkdir(parents=True)
    rows = ["path,contributor,caption" if captions else "path,contributor"]
    bunch = load_digits()
    for number, (pixels, digit) in enumerate(zip(bunch.images[:n], bunch.target[:n], strict=True)):
        if digit in digits:
            Image.fromarray((pixels * 15.9).astype("uint8")).save(folder / f"{number}.png")
            rows.append(f"{number}.png,{WORDS[digit]}" + (f",the digit {WORDS[digit]}" if captions else ""))
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder / "manifest.csv"


def lora_overrides(folder: Path) -> dict[str, Any]:
    """Five digits are valued; the base model is trained on the other five."""
    base = "model.lora.base"
    return (
        TINY
        | {f"model.{name}": value for name, value in BLOCKS.items()}
        | {f"model.autoencoder.{name}": value for name, value in AUTOENCODER.items()}
        | {f"{base}.text_encoder.{name}": value for name, value in TEXT.items()}
        | {
            "model.family": "lora",
            "model.lora.rank": RANK,
            "model.lora.prompt": PROMPT,
            f"{base}.data.source": "manifest",
            f"{base}.data.path": str(write_manifest(folder / "others", range(5, 10))),
            f"{base}.data.resolution": 8,
            f"{base}.data.mode": "L",
            f"{base}.training.steps": 20,
            f"{base}.training.batch_size": 8,
            "data.source": "manifest",
            "data.path": str(write_manifest(folder / "valued", range(5))),
            "generation.guidance_scale": 2.0,
            "training.random_flip": True,
            "game.n_coalitions": 12,
            "run.shard_size": 7,
        }
    )


def small_base(seed: int = 0, attention_head_dim: int = 4) -> StableDiffusion:
    """A Stable Diffusion model with random weights, of 4 x 4 latents."""
    networks.digit_images(1)
    model = ModelConfig.model_validate(
        BLOCKS
        | {
            "family": "lora",
            "attention_head_dim": attention_head_dim,
            "autoencoder": AUTOENCODER,
            "lora": {
                "rank": RANK,
                "prompt": PROMPT,
                "base": {
                    "data": {"source": "digits", "resolution": 8, "mode": "L"},
                    "text_encoder": TEXT,
                    "training": {"steps": 1},
                },
            },
        }
    )
    assert model.lora is not None and model.lora.base.data is not None and model.autoencoder is not None
    tokenizer = learn_tokens([f"the digit {word}" for word in WORDS], TextEncoderConfig(**TEXT))
    network = build_text_to_image(model, model.lora.base.text_encoder, tokenizer, (4, 4, 4), seed)
    autoencoder = build_autoencoder(model.autoencoder, model.lora.base.data, seed, AutoencoderKL)
    return StableDiffusion(network.unet.eval(), autoencoder.eval(), network.text_encoder.eval(), tokenizer)


def save_base(folder: Path, base: StableDiffusion | None = None) -> Path:
    """Write a base model with the usual schedule; returns the folder."""
    (base or small_base()).save(folder, NoiseScheduleConfig())
    return folder
