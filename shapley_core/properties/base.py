"""What a global model property is: a number for a set of generated images.

A property may need a reference made once per valuation (a classifier, clusters). ``fit`` makes it from the training
data and the full model's images and writes it to a folder; ``load`` reads it back, in another process, for every shard
of coalitions.
"""

from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset

#: Generated or training images: (N, H, W, C), C = 1 or 3.
Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
#: A number for each image (N,): a score, or, where they are integers, the group that it belongs to.
PerImage = Floats | NDArray[np.intp]


class Property(Protocol):
    """A global model property F (paper §2.2): maps a model's images to a scalar.

    Attributes:
        quantity: what :meth:`per_image` tells, in a few words.
    """

    quantity: ClassVar[str]

    @classmethod
    def fit(
        cls, dataset: ContributorDataset, generated: Images, config: PropertyConfig, seed: int, folder: Path
    ) -> dict[str, float]:
        """Make the reference from the training data and what the full model generates, and write it to ``folder``.

        Returns facts about it: the property of the ``training_images``, the accuracy of a classifier.
        """

    @classmethod
    def load(cls, folder: Path, config: PropertyConfig) -> Self:
        """Read the reference back."""

    def score(self, images: Images) -> float:
        """The property of these images."""

    def per_image(self, images: Images) -> PerImage:
        """What the property sees in each image by itself (paper §4.5 looks at contributors by it)."""


class Embedder(Protocol):
    """A network that sees an image as a point."""

    def embeddings(self, images: Images) -> Floats:
        """(N, d) features of images (N, H, W, C)."""


class ImageClassifier(Protocol):
    """A network that sees an image as probabilities of classes."""

    def probabilities(self, images: Images) -> Floats:
        """(N, K) softmax for images (N, H, W, C)."""
