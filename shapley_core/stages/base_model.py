"""The base model of a LoRA adapter before anything is trained: is a given one usable, what is an own one trained on."""

import json
from pathlib import Path
from typing import Any

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources import load_source
from shapley_core.errors import UserError
from shapley_core.weights import fetch_weights

#: The parts of a model in diffusers' layout, and the classes that can be used.
_PARTS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}


def check_base(settings: ValuationConfig) -> None:
    """Look at the files of the base model that the configuration names, if it names one, without loading it.

    Raises:
        UserError: it is not there, is not whole, is of another architecture, or was trained with another schedule.
    """
    if settings.model.lora is None or not settings.model.lora.base.weights:
        return
    reference = settings.model.lora.base.weights
    folder = fetch_weights(reference)
    for part, wanted in _PARTS.items():
        config = _described(folder / part / "config.json", reference)
        kind = config.get("_class_name") or next(iter(config.get("architectures") or []), "nothing")
        if kind != wanted:
            raise UserError(
                f"the base model {reference} is of another architecture: its {part} is {kind}, not {wanted}"
            )
        if not [*(folder / part).glob("*.safetensors")]:
            raise UserError(f"the base model {reference} has no weights for its {part}: put safetensors into {part}/")
    _check_schedule(_described(folder / "scheduler" / "scheduler_config.json", reference), settings, reference)
    halvings = sum(
        len(_described(folder / part / "config.json", reference)["block_out_channels"]) - 1 for part in ("vae", "unet")
    )
    if settings.data.resolution % 2**halvings:
        raise UserError(
            f"data.resolution {settings.data.resolution} must be a multiple of {2**halvings}: the base model "
            f"{reference} halves the image {halvings} times"
        )


def _described(path: Path, reference: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"the base model {reference} has no readable {path.parent.name}/{path.name}: give a Stable Diffusion model "
            "in diffusers' layout (unet, vae, text_encoder, tokenizer, scheduler)"
        ) from error
    if not isinstance(config, dict):
        raise UserError(f"{path.name} of the base model {reference} holds no settings")
    return config


def _check_schedule(config: dict[str, Any], settings: ValuationConfig, reference: str) -> None:
    if config.get("prediction_type", "epsilon") != "epsilon":
        raise UserError(
            f"the base model {reference} predicts {config['prediction_type']}, and this loss is for models that "
            "predict the noise (epsilon)"
        )
    for name, ours in settings.noise_schedule.model_dump().items():
        if (theirs := config.get(name, ours)) != ours:
            raise UserError(
                f"the base model {reference} was trained with {name} {theirs}, and noise_schedule.{name} is {ours}: "
                f"set it to {theirs}"
            )


def base_images(settings: ValuationConfig) -> ContributorDataset | None:
    """The images that an own base model is trained on; None where there is no own base.

    Raises:
        UserError: they cannot be read, or have no captions.
    """
    source = settings.model.lora.base.data if settings.model.lora else None
    if source is None:
        return None
    data = load_source(source)
    if data.captions is None:
        raise UserError("the images of model.lora.base.data have no captions, and a base model is trained with them")
    return data
