"""From a score for each training image to one for each contributor (paper §4.3)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: The sum of a contributor's images for influence, which adds up (Koh et al. 2019); one of the others for the rest.
Rule = Literal["average", "maximum", "sum"]


def aggregate(scores: Floats, owners: NDArray[np.int64], rule: Rule) -> Floats:
    """(n,) float64, one number per contributor, from ``scores`` (N,) of images whose ``owners`` (N,) are 0..n-1."""
    if rule == "maximum":
        largest = np.full(owners.max() + 1, -np.inf)
        np.maximum.at(largest, owners, scores)
        return largest
    sums = np.bincount(owners, weights=scores).astype(np.float64)
    return sums if rule == "sum" else sums / np.bincount(owners)
