"""Diversity: the entropy of generated images over clusters of what the full model generates (paper §4.1, eq. 8).

    H = - sum_k p_k ln p_k

p_k is the share of the images in cluster k. The clusters are made once, by Ward's method on the embeddings of the full
model's images, and are part of the game; an image belongs to the cluster whose members are nearest to it on average.
H lies between 0 (all images in one cluster) and the logarithm of the number of clusters.

The paper embeds faces by BLIP-VQA. By default, the embedding is the last layer of a classifier trained on the data.
"""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist, pdist
from scipy.stats import entropy

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.properties.base import Embedder, Floats, Images, PerImage
from shapley_core.properties.embedders import fit_embedder, load_embedder

_FILE = "clusters.safetensors"


class Clusters:
    """A partition of reference points, to which new points are assigned.

    Args:
        points: (M, d) embeddings of the reference images.
        members: (K, M) bool, the members of each cluster.
    """

    def __init__(self, points: Floats, members: NDArray[np.bool_]) -> None:
        self.points = points
        self.members = members

    @classmethod
    def ward(cls, points: Floats, n_clusters: int) -> Self:
        """Ward's method, cut at ``n_clusters``; fewer where the points are not that many different ones."""
        labels = fcluster(linkage(pdist(points), method="ward"), n_clusters, criterion="maxclust")
        return cls(points, labels == np.unique(labels)[:, None])

    def nearest(self, points: Floats) -> NDArray[np.intp]:
        """(N,) the cluster 0..K-1 of each of ``points`` (N, d): the one whose members are nearest on average."""
        mean_distance = cdist(points, self.points) @ (self.members / self.members.sum(axis=1, keepdims=True)).T
        return np.asarray(mean_distance.argmin(axis=1))

    def shares(self, points: Floats) -> Floats:
        """(K,) share of ``points`` (N, d) in each cluster."""
        return np.asarray(np.bincount(self.nearest(points), minlength=len(self.members)) / len(points))


class Diversity:
    """The entropy over fitted clusters, in nats."""

    quantity: ClassVar[str] = "cluster"

    def __init__(self, embedder: Embedder, clusters: Clusters) -> None:
        self.embedder = embedder
        self.clusters = clusters

    @classmethod
    def fit(
        cls, dataset: ContributorDataset, generated: Images, config: PropertyConfig, seed: int, folder: Path
    ) -> dict[str, float]:
        """Make the embedder and cluster the full model's images; tells the entropy of the training images."""
        embedder = fit_embedder(dataset, config, seed, folder)
        clusters = Clusters.ward(embedder.embeddings(generated), config.n_clusters)
        save_file({"points": clusters.points, "members": clusters.members}, folder / _FILE)
        return {
            "training_images": cls(embedder, clusters).score(dataset.images()),
            "clusters": len(clusters.members),
        }

    @classmethod
    def load(cls, folder: Path, config: PropertyConfig) -> Self:
        """Read the embedder and the clusters."""
        kept = load_file(folder / _FILE)
        return cls(load_embedder(folder, config), Clusters(kept["points"], kept["members"]))

    def score(self, images: Images) -> float:
        """Entropy of the images over the clusters, in nats."""
        return float(entropy(self.clusters.shares(self.embedder.embeddings(images))))

    def per_image(self, images: Images) -> PerImage:
        """The cluster 0..K-1 of each image, integers."""
        return self.clusters.nearest(self.embedder.embeddings(images))
