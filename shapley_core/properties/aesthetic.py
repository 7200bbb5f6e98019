"""Aesthetic quality: a percentile of LAION's aesthetic score over a set of images (paper §4.1: the 90th, of 50 images).

    s(x) = w · e(x) / |e(x)| + b

e is the image embedding of CLIP ViT-L/14, and w, b the linear head that LAION fitted to people's ratings from 0 to 10
(its repository aesthetic-predictor, ``sa_0_4_vit_l_14_linear.pth``, a state dict of ``weight`` and ``bias``).
"""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.errors import UserError
from shapley_core.properties.base import Embedder, Floats, Images, PerImage
from shapley_core.properties.embedder_weights import embedder_folder, projection_width
from shapley_core.properties.pinned import check_pinned, pin_weights
from shapley_core.weights import fetch_weights_file, read_tensors

_CLIP, _HEAD = "clip", "head"


def read_head(path: Path, width: int) -> tuple[Floats, float]:
    """w (``width``,) and b of a linear head.

    Raises:
        UserError: it is damaged, no linear head, or of another width.
    """
    tensors = read_tensors(path)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if shapes.keys() != {"weight", "bias"} or shapes["bias"] != (1,):
        raise UserError(f"{path} is not the head of the aesthetic score: it must hold weight (1, d) and bias (1) alone")
    if shapes["weight"] != (1, width):
        raise UserError(
            f"the head {path} is for embeddings of {shapes['weight'][-1]} dimensions, and those of property."
            f"aesthetic_clip have {width}: each CLIP has a head of its own"
        )
    return tensors["weight"][0].astype(np.float64), float(tensors["bias"][0])


class Aesthetic:
    """A percentile of the images' aesthetic scores.

    Args:
        clip: embeds images as points of length one.
        weight: (d,) of the head.
        bias: of the head.
        percentile: 0..100.
    """

    quantity: ClassVar[str] = "aesthetic score"

    def __init__(self, clip: Embedder, weight: Floats, bias: float, percentile: float) -> None:
        self.clip = clip
        self.weight = weight
        self.bias = bias
        self.percentile = percentile

    @classmethod
    def fit(
        cls, dataset: ContributorDataset, generated: Images, config: PropertyConfig, seed: int, folder: Path
    ) -> dict[str, float]:
        """Note in ``folder`` which CLIP and head see; tells the property of the training images."""
        clip, head = aesthetic_weights(config)
        pin_weights(folder, _CLIP, clip)
        pin_weights(folder, _HEAD, head)
        return {"training_images": cls.load(folder, config).score(dataset.images())}

    @classmethod
    def load(cls, folder: Path, config: PropertyConfig) -> Self:
        """Read CLIP and the head."""
        from shapley_core.properties.vision_transformers import VisionTransformer  # here: checking needs no torch

        clip, head = aesthetic_weights(config)
        check_pinned(folder, _CLIP, clip)
        check_pinned(folder, _HEAD, head)
        return cls(VisionTransformer("clip", clip), *read_head(head, projection_width(clip)), config.percentile)

    def score(self, images: Images) -> float:
        """The configured percentile of the images' scores."""
        return float(np.percentile(self.per_image(images), self.percentile))

    def per_image(self, images: Images) -> PerImage:
        """The aesthetic score of each image."""
        return self.clip.embeddings(images) @ self.weight + self.bias


def aesthetic_weights(config: PropertyConfig) -> tuple[Path, Path]:
    """The folder of CLIP and the file of the head, after fetching them where need be."""
    return embedder_folder("clip", config.aesthetic_clip), fetch_weights_file(config.aesthetic_head)
