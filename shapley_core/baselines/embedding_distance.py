"""Nearness of training images to the reference clusters of diversity (paper §4.3, appendix C).

    s_j = - 1/K  sum_k  | e_j - c_k |

e_j is the embedding of training image j and c_k the mean embedding of cluster k. The paper names the distance as the
score and does not say of which cluster. Here nearer means more credit, as with similarity, so the distance is negative;
and all clusters count alike, however many images they have, because the entropy over them does not prefer one either.
"""

import numpy as np
from scipy.spatial.distance import cdist

from shapley_core.baselines.evidence import Evidence, needed
from shapley_core.properties.base import Floats


def embedding_distance(evidence: Evidence) -> Floats:
    """(N,), minus the mean distance of each training image to the clusters' means."""
    clusters = needed(evidence.clusters, "reference clusters")
    means = clusters.members @ clusters.points / clusters.members.sum(axis=1, keepdims=True)
    return -np.asarray(cdist(evidence.training_embeddings, means).mean(axis=1))
