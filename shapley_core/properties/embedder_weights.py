"""Where an embedder's weights stand, and whether they are its: looked at before any training, without torch."""

import json
from dataclasses import dataclass
from pathlib import Path

from shapley_core.errors import UserError
from shapley_core.weights import fetch_weights, tensor_shapes


@dataclass(frozen=True)
class Published:
    """How the weights of an embedder are known.

    Attributes:
        name: of the published ones, on the Hugging Face hub.
        model_types: what ``config.json`` calls the architecture.
        tensor: one that the embedding needs.
    """

    name: str
    model_types: tuple[str, ...]
    tensor: str


PUBLISHED = {
    "blip_vqa": Published("Salesforce/blip-vqa-base", ("blip",), "vision_model.post_layernorm.weight"),
    "clip": Published("openai/clip-vit-large-patch14", ("clip",), "visual_projection.weight"),
    "dino": Published("facebook/dinov2-base", ("vit", "dinov2"), "embeddings.cls_token"),
}


def embedder_folder(network: str, reference: str) -> Path:
    """The folder with the weights of ``network`` in transformers' layout; an empty reference means the published ones.

    Raises:
        UserError: they cannot be had, are incomplete or damaged, or belong to another architecture.
    """
    published = PUBLISHED[network]
    folder = fetch_weights(reference or published.name)
    _check_architecture(network, folder)
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        raise UserError(f"{folder} lacks preprocessor_config.json, which says how {network} wants its images")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"{folder} has no *.safetensors (pickled weights are not read): save the model as safetensors")
    if not any(published.tensor in tensor_shapes(file) for file in files):
        raise UserError(f"the weights in {folder} are not those of {network}: they lack {published.tensor}")
    return folder


def projection_width(folder: Path) -> int:
    """The number of dimensions of a CLIP's image embedding."""
    for file in folder.glob("*.safetensors"):
        if shape := tensor_shapes(file).get(PUBLISHED["clip"].tensor):
            return shape[0]
    raise KeyError(PUBLISHED["clip"].tensor)


def _check_architecture(network: str, folder: Path) -> None:
    published = PUBLISHED[network]
    try:
        config = json.loads((folder / "config.json").read_text())
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} lacks config.json: {network} needs a folder in transformers' layout, such as {published.name}"
        ) from error
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} is damaged: {error}") from error
    if (found := config.get("model_type")) not in published.model_types:
        wanted = " or ".join(published.model_types)
        raise UserError(f"{folder} holds a model of type {found}, and {network} needs {wanted}, as {published.name}")
