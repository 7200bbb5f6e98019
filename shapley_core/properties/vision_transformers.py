"""Images as points: BLIP-VQA (arXiv 2201.12086), CLIP (2103.00020) and DINO (2104.14294, 2304.07193) of transformers.

Each is read from a folder in transformers' layout, safetensors alone, with the preprocessing that stands beside the
weights. It is done by Pillow always: torchvision, where it is installed, resizes a little differently.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from PIL import Image
from torch.nn import functional
from transformers import AutoImageProcessor, AutoModel, BlipForQuestionAnswering, CLIPModel
from transformers.utils import logging

from shapley_core.errors import UserError
from shapley_core.properties.base import Floats, Images

_BATCH = 64


def _blip_vqa(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The paper's (appendix A): the image encoder's class token after its last normalisation."""
    embedding: torch.Tensor = model.vision_model(pixels).pooler_output
    return embedding


def _clip(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The point on the sphere that CLIP compares with texts."""
    return functional.normalize(model.visual_projection(model.vision_model(pixels).pooler_output), dim=-1)


def _dino(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The class token after the last normalisation."""
    token: torch.Tensor = model(pixels).last_hidden_state[:, 0]
    return token


_NETWORKS: dict[str, tuple[Any, Callable[[Any, torch.Tensor], torch.Tensor]]] = {
    "blip_vqa": (BlipForQuestionAnswering, _blip_vqa),
    "clip": (CLIPModel, _clip),
    "dino": (AutoModel, _dino),
}


class VisionTransformer:
    """The embedding of one network.

    Args:
        network: blip_vqa, clip or dino.
        folder: its weights, from :func:`~shapley_core.properties.embedder_weights.embedder_folder`.

    Raises:
        UserError: some of the network's weights are not there.
    """

    def __init__(self, network: str, folder: Path) -> None:
        architecture, self.embed = _NETWORKS[network]
        self.device = PartialState().device
        self.preprocess = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        logging.disable_progress_bar()
        try:
            model, loaded = architecture.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
        except RuntimeError as error:  # tensors of other shapes than config.json says
            raise UserError(f"the weights in {folder} do not fit their config.json") from error
        # DINO was published without the pooling that ViTModel has, and nothing here uses it.
        missing = [name for name in loaded["missing_keys"] if not name.startswith("pooler.")]
        if missing:
            raise UserError(f"the weights in {folder} are not whole: they lack {', '.join(sorted(missing)[:3])}")
        self.model = model.to(self.device).eval()

    @torch.inference_mode()
    def embeddings(self, images: Images) -> Floats:
        """(N, d) float64 of images (N, H, W, C)."""
        batches = (images[i : i + _BATCH] for i in range(0, len(images), _BATCH))
        return torch.cat([self._embed(batch) for batch in batches]).double().numpy(force=True)

    def _embed(self, batch: Images) -> torch.Tensor:
        pictures = [Image.fromarray(pixels.squeeze()).convert("RGB") for pixels in batch]
        pixels = self.preprocess(images=pictures, return_tensors="pt")["pixel_values"]
        return self.embed(self.model, pixels.to(self.device))
