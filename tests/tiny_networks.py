"""Small networks with random weights, saved as the published ones are: in transformers' layout, as safetensors."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from transformers import (
    BlipConfig,
    BlipForQuestionAnswering,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedModel,
    ViTConfig,
    ViTModel,
)
from transformers.utils import logging

logging.disable_progress_bar()

_VIT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
_TEXT = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 16,
    "bos_token_id": 1,
    "pad_token_id": 0,
    "eos_token_id": 2,
}
_CLIP_COLOURS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_IMAGENET_COLOURS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_STEPS = {"do_resize": True, "do_normalize": True, "resample": 3}

#: preprocessor_config.json as on the hub, old names and all, at 32 pixels instead of 224 or 384.
PREPROCESSING: dict[str, dict[str, Any]] = {
    "blip_vqa": {
        **_STEPS,
        **_CLIP_COLOURS,
        "image_processor_type": "BlipImageProcessor",
        "size": {"height": 32, "width": 32},
    },
    "clip": {
        **_STEPS,
        **_CLIP_COLOURS,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "do_center_crop": True,
        "crop_size": 32,
        "size": 32,
    },
    "dino": {
        **_STEPS,
        **_IMAGENET_COLOURS,
        "image_processor_type": "BitImageProcessor",
        "do_center_crop": True,
        "do_convert_rgb": True,
        "crop_size": {"height": 32, "width": 32},
        "size": {"shortest_edge": 36},
    },
    "dino_v1": {**_STEPS, **_IMAGENET_COLOURS, "feature_extractor_type": "ViTFeatureExtractor", "size": 32},
}


def network(name: str, seed: int = 0) -> PreTrainedModel:
    """BLIP for question answering, CLIP, DINOv2 or the first DINO, with 32 dimensions (CLIP: 16)."""
    torch.manual_seed(seed)
    if name == "blip_vqa":
        text = _TEXT | {"encoder_hidden_size": 32, "sep_token_id": 2}
        model: PreTrainedModel = BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=_VIT))
    elif name == "clip":
        model = CLIPModel(CLIPConfig(text_config=_TEXT, vision_config=_VIT, projection_dim=16))
    elif name == "dino":
        model = Dinov2Model(Dinov2Config(**{key: value for key, value in _VIT.items() if key != "intermediate_size"}))
    else:
        model = ViTModel(ViTConfig(**_VIT), add_pooling_layer=False)
    with torch.no_grad():
        for parameter in model.parameters():  # as they come, one image is as good as another
            parameter.normal_(0, 0.2)
    return model.eval()


def save_network(name: str, folder: Path, seed: int = 0) -> Path:
    """``folder``, with the network and its preprocessing."""
    network(name, seed).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING[name]))
    return folder


class TinyInception(nn.Module):
    """What stands in for torchvision's Inception v3, which does not load beside torch for the CPU."""

    def __init__(self, aux_logits: bool) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = nn.Conv2d(3, 8, 3, stride=8)
        if aux_logits:
            self.AuxLogits = nn.Linear(8, 5)
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.dropout(self.Conv2d_1a_3x3(x).relu().mean(dim=(2, 3))))
        return logits


def inception_v3(*, weights: None, aux_logits: bool, transform_input: bool, init_weights: bool) -> TinyInception:
    """torchvision's function of this name, as far as it is called."""
    assert weights is None and not transform_input
    return TinyInception(aux_logits)


def torchvision_models() -> ModuleType:
    """A module for ``sys.modules["torchvision.models"]``."""
    module = ModuleType("torchvision.models")
    module.inception_v3 = inception_v3  # type: ignore[attr-defined]
    return module
