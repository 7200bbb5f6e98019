"""What a global model property is: a number for a set of generated images.

A property may need a reference made once per valuation (a classifier, clusters). ``fit`` makes it from the training
data and the full model's images and writes it to a folder; ``load`` reads it back, in another process, for every shard
of coalitions.
"""

from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset

#: Generated or training images: (N, H, W, C), C = 1 or 3.
Images = NDArray[np.uint8]


class Property(Protocol):
    """A global model property F (paper §2.2): maps a model's images to a scalar."""

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
