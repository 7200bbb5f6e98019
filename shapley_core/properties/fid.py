"""Fréchet distance between the features of two sets of images (FID; Heusel et al., arXiv 1706.08500).

    d² = |m_1 - m_2|² + Tr( S_1 + S_2 - 2 (S_1 S_2)^(1/2) )

for normal distributions with the means m and covariances S of the features. The property is d² between generated and
training images: **lower is better**, so a contributor who makes the model better has a negative value.

No matrix root is taken. With any A such that S = AᵀA, the eigenvalues of S_1 S_2 that are not zero are the squared
singular values of A_1 A_2ᵀ, so the trace of the root is the sum of these: real and not negative whatever the rank,
where a root of S_1 S_2 loses half of the digits and may turn complex.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from safetensors.numpy import load_file, save_file

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.properties.base import Embedder, Floats, Images, PerImage
from shapley_core.properties.embedders import fit_embedder, load_embedder

_FILE = "training_images.safetensors"


@dataclass(frozen=True)
class Normal:
    """A normal distribution in d dimensions.

    Attributes:
        mean: (d,).
        factor: (r, d), A of the covariance AᵀA; r is at most d.
    """

    mean: Floats
    factor: Floats

    @classmethod
    def of(cls, points: Floats) -> Self:
        """Mean and covariance (divided by N - 1) of points (N, d), N at least 2."""
        mean = points.mean(axis=0)
        return cls(mean, np.asarray(np.linalg.qr((points - mean) / np.sqrt(len(points) - 1), mode="r")))


def frechet_distance(a: Normal, b: Normal) -> float:
    """The squared Fréchet (2-Wasserstein) distance of two normal distributions."""
    root = np.linalg.svd(a.factor @ b.factor.T, compute_uv=False).sum()
    spread = (a.factor**2).sum() + (b.factor**2).sum() - 2 * root
    return float(((a.mean - b.mean) ** 2).sum() + max(spread, 0.0))


def fid(a: Images, b: Images, embedder: Embedder) -> float:
    """FID between two sets of images as ``embedder`` sees them."""
    return frechet_distance(Normal.of(embedder.embeddings(a)), Normal.of(embedder.embeddings(b)))


class FID:
    """The Fréchet distance of images to the training images."""

    quantity: ClassVar[str] = "distance to the mean of the training images"

    def __init__(self, embedder: Embedder, training: Normal) -> None:
        self.embedder = embedder
        self.training = training

    @classmethod
    def fit(
        cls, dataset: ContributorDataset, generated: Images, config: PropertyConfig, seed: int, folder: Path
    ) -> dict[str, float]:
        """Make the embedder and see the training images with it; tells the number of dimensions."""
        training = Normal.of(fit_embedder(dataset, config, seed, folder).embeddings(dataset.images()))
        save_file({"mean": training.mean, "factor": training.factor}, folder / _FILE)
        return {"feature_dimensions": len(training.mean)}

    @classmethod
    def load(cls, folder: Path, config: PropertyConfig) -> Self:
        """Read the embedder and the distribution of the training images."""
        return cls(load_embedder(folder, config), Normal(**load_file(folder / _FILE)))

    def score(self, images: Images) -> float:
        """d² to the training images; 0 is the best."""
        return frechet_distance(Normal.of(self.embedder.embeddings(images)), self.training)

    def per_image(self, images: Images) -> PerImage:
        """Distance of each image's features to the mean of the training images'."""
        return np.asarray(np.linalg.norm(self.embedder.embeddings(images) - self.training.mean, axis=1))
