"""Colourfulness of Hasler and Süsstrunk, "Measuring colourfulness in natural images" (2003), over a set of images.

Per image, with rg = R - G and yb = (R + G)/2 - B over its pixels (0..255):

    M = sqrt(std(rg)^2 + std(yb)^2) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2)

The property is a percentile of M over the images (90th by default): the paper's use case keeps the best images only.
"""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.properties.base import Images, PerImage


def image_colourfulness(images: Images) -> NDArray[np.float64]:
    """M of each image (N,); grey images have none."""
    red, green, blue = np.moveaxis(images.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    pixels = (1, 2)
    spread = np.hypot(rg.std(axis=pixels), yb.std(axis=pixels))
    shift = np.hypot(rg.mean(axis=pixels), yb.mean(axis=pixels))
    return np.asarray(spread + 0.3 * shift)


class Colourfulness:
    """A percentile of the images' colourfulness; needs no network and no reference."""

    quantity: ClassVar[str] = "colourfulness"

    def __init__(self, percentile: float) -> None:
        self.percentile = percentile

    @classmethod
    def fit(
        cls, dataset: ContributorDataset, generated: Images, config: PropertyConfig, seed: int, folder: Path
    ) -> dict[str, float]:
        """Nothing to make; tells the property of the training images."""
        per_image = image_colourfulness(dataset.images())
        return {"training_images": float(np.percentile(per_image, config.percentile))}

    @classmethod
    def load(cls, folder: Path, config: PropertyConfig) -> Self:
        """A property that needs only its percentile."""
        return cls(config.percentile)

    def score(self, images: Images) -> float:
        """The configured percentile of M over the images."""
        return float(np.percentile(self.per_image(images), self.percentile))

    def per_image(self, images: Images) -> PerImage:
        """M of each image."""
        return image_colourfulness(images)
