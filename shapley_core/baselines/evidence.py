"""What the baselines look at: training images with their owners, what the full model generates, and means to compare.

Every part is there once, and what is expensive is computed when a method first asks for it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from shapley_core.errors import UserError
from shapley_core.properties.base import Embedder, Floats, Images, Property

if TYPE_CHECKING:  # both bring torch along, which the methods themselves do without
    from shapley_core.baselines.gradients import Gradients
    from shapley_core.properties.diversity import Clusters

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence about contributors 0..n-1.

    Attributes:
        owners: (N,) which contributor each training image belongs to, as ``ContributorDataset.contributor_ids``.
        training: (N, H, W, C), the training images in that order.
        generated: (M, H, W, C), images of the full model, those that the property is measured on.
        embedder: sees images as points; for embedding similarity and distance.
        clusters: the property's reference, in the same embedding; for embedding distance.
        measure: the property; for the methods that look at it image by image.
        gradients: of the full model at the same images; for the gradient methods.
        damping: lambda of the influence methods, in units of squared gradients (docs/baselines.md); the paper's.

    Raises:
        UserError: no image was generated, owners and images are not equally many, a contributor has none, or lambda is
            not positive.
    """

    owners: NDArray[np.int64]
    training: Images
    generated: Images
    embedder: Embedder | None = None
    clusters: "Clusters | None" = None
    measure: Property | None = None
    gradients: "Gradients | None" = None
    damping: float = 0.5

    def __post_init__(self) -> None:
        if len(self.owners) != len(self.training):
            raise UserError(f"there are {len(self.training)} training images and owners of {len(self.owners)}")
        if not len(self.generated):
            raise UserError("there is no generated image to attribute to the contributors")
        if not np.array_equal(np.unique(self.owners), np.arange(self.owners.max(initial=0) + 1)):
            raise UserError("every contributor must have a training image")
        if not self.damping > 0:
            raise UserError(f"the damping of influence must be positive, and is {self.damping}")
        if self.gradients is not None:
            self.gradients.check(len(self.training), len(self.generated))

    @cached_property
    def training_embeddings(self) -> Floats:
        """(N, d)."""
        return needed(self.embedder, "an embedder").embeddings(self.training)

    @cached_property
    def generated_embeddings(self) -> Floats:
        """(M, d)."""
        return needed(self.embedder, "an embedder").embeddings(self.generated)


def needed(part: Part | None, name: str) -> Part:
    """``part``; a :class:`UserError` where it is not there."""
    if part is None:
        raise UserError(f"this baseline needs {name}, which the evidence does not have")
    return part
