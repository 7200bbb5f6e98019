"""The property of each training image by itself: the paper's aesthetic score (§4.3), or what another property tells.

The number is taken as the property tells it (``Property.quantity``): where it is large for bad images, as the entropy
of a classifier's prediction or the distance to the mean of the training images are, so is the score.
"""

import numpy as np

from shapley_core.baselines.evidence import Evidence, needed
from shapley_core.errors import UserError
from shapley_core.properties.base import Floats


def property_of_images(evidence: Evidence) -> Floats:
    """(N,), the property's number for each training image.

    Raises:
        UserError: the property tells the group of an image, which is no quantity.
    """
    measure = needed(evidence.measure, "a property")
    seen = np.asarray(measure.per_image(evidence.training))
    if np.issubdtype(seen.dtype, np.integer):
        raise UserError(
            f"the property tells the {measure.quantity} of an image, which has no average: this baseline needs a "
            "property that gives each image a score"
        )
    return seen.astype(np.float64)
