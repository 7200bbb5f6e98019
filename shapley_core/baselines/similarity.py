"""Similarity of training images to generated ones: pixels, embeddings, gradients (paper §4.3, appendix C, eq. 12).

    s_j = 1/M  sum_m  <u_j, v_m> / (|u_j| |v_m|)

u_j represents training image j, v_m generated image m. The mean over generated images comes first, the average or
maximum over a contributor's images after it. Something of length zero is similar to nothing: its cosines count as 0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapley_core.baselines.evidence import Evidence, needed
from shapley_core.properties.base import Floats

_GREY = 127.5
#: Numbers that are turned into float64 at once.
_AT_ONCE = 2**24


def pixel_similarity(evidence: Evidence) -> Floats:
    """(N,) by pixels, seen from medium grey as the network and the authors' code see them (-1..1)."""
    return mean_cosine(evidence.training, evidence.generated, origin=_GREY)


def embedding_similarity(evidence: Evidence) -> Floats:
    """(N,) by embeddings; the paper's CLIP similarity where the embedder is CLIP."""
    return mean_cosine(evidence.training_embeddings, evidence.generated_embeddings)


def gradient_similarity(evidence: Evidence) -> Floats:
    """(N,) by projected gradients of the diffusion loss (Charpiat et al. 2019; eq. 12)."""
    gradients = needed(evidence.gradients, "gradients")
    return mean_cosine(gradients.training("simple"), gradients.generated("simple"))


def mean_cosine(training: NDArray[Any], generated: NDArray[Any], origin: float = 0.0) -> Floats:
    """(N,), the mean over ``generated`` (M, ...) of the cosines that each of ``training`` (N, ...) makes with them.

    Vectors lead from a point whose coordinates are all ``origin``.
    """
    direction = np.sum([units.sum(axis=0) for units in _unit_vectors(generated, origin)], axis=0) / len(generated)
    return np.concatenate([units @ direction for units in _unit_vectors(training, origin)])


def _unit_vectors(rows: NDArray[Any], origin: float) -> Iterator[Floats]:
    """Blocks (B, d) of ``rows`` as vectors of length one, or zero."""
    size = max(1, _AT_ONCE // rows[0].size)
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        vectors = block.reshape(len(block), -1).astype(np.float64) - origin
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        yield np.divide(vectors, lengths, out=vectors, where=lengths > 0)
