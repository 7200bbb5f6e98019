"""stratified: all sizes alike, without repetition, each coalition for itself (arXiv 1306.4265; 2302.00736).

The strata are the sizes. They are filled in rounds, as in ``leverage``, but without complements: coalitions of a
size are a simple random sample, which is what the estimator ``stratified`` has its unbiasedness and its standard
errors from. Weights as in ``leverage``.
"""

import itertools

import numpy as np

from shapley_core.games.designs.base import Design, check_size, no_pairs
from shapley_core.games.designs.by_size import in_rounds, kernel_weight_by_size, subsets


def stratified(n: int, n_coalitions: int, seed: int) -> Design:
    """Evenly over the sizes; at least two of each, ``2 (n - 1)``."""
    check_size(n, n_coalitions, needed=2 * (n - 1), design="stratified")
    streams = [subsets(n, size, seed) for size in range(1, n)]
    membership = np.array(list(itertools.islice(in_rounds(streams, [1] * len(streams), seed), n_coalitions)))
    return Design(membership, kernel_weight_by_size(membership), no_pairs(membership))
