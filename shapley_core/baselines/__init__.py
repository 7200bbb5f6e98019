"""Baselines: the other attribution methods of the paper's Table 1, one file per family, and the number of images.

A baseline scores each training image and brings the scores of a contributor's images together. All are called alike,
``baseline(evidence) -> (n,) float64``, larger meaning more credit. Leave-one-out, which measures coalitions, is an
estimator (:mod:`shapley_core.estimators.leave_one_out`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from shapley_core.baselines.aggregation import Rule, aggregate
from shapley_core.baselines.embedding_distance import embedding_distance
from shapley_core.baselines.evidence import Evidence
from shapley_core.baselines.influence import d_trak, journey_trak, relative_influence, renormalised_influence, trak
from shapley_core.baselines.number_of_images import number_of_images
from shapley_core.baselines.property_of_images import property_of_images
from shapley_core.baselines.similarity import embedding_similarity, gradient_similarity, pixel_similarity
from shapley_core.errors import UserError, did_you_mean
from shapley_core.properties.base import Floats

__all__ = ["BASELINES", "Baseline", "Evidence", "get_baseline"]


@dataclass(frozen=True)
class Baseline:
    """An attribution method.

    Attributes:
        scores: tells (N,), a score for each training image.
        rule: makes one number of those of a contributor.
    """

    scores: Callable[[Evidence], Floats]
    rule: Rule

    def __call__(self, evidence: Evidence) -> Floats:
        """(n,), one number per contributor.

        Raises:
            UserError: the evidence lacks what the method looks at.
        """
        return aggregate(self.scores(evidence), evidence.owners, self.rule)


BASELINES: dict[str, Baseline] = {
    "pixel_similarity_average": Baseline(pixel_similarity, "average"),
    "pixel_similarity_maximum": Baseline(pixel_similarity, "maximum"),
    "embedding_distance_average": Baseline(embedding_distance, "average"),
    "embedding_distance_maximum": Baseline(embedding_distance, "maximum"),
    "embedding_similarity_average": Baseline(embedding_similarity, "average"),
    "embedding_similarity_maximum": Baseline(embedding_similarity, "maximum"),
    "gradient_similarity_average": Baseline(gradient_similarity, "average"),
    "gradient_similarity_maximum": Baseline(gradient_similarity, "maximum"),
    "property_average": Baseline(property_of_images, "average"),
    "property_maximum": Baseline(property_of_images, "maximum"),
    "relative_influence": Baseline(relative_influence, "sum"),
    "renormalised_influence": Baseline(renormalised_influence, "sum"),
    "trak": Baseline(trak, "sum"),
    "journey_trak": Baseline(journey_trak, "sum"),
    "d_trak": Baseline(d_trak, "sum"),
    "number_of_images": Baseline(number_of_images, "sum"),
}


def get_baseline(name: str) -> Baseline:
    """The baseline called ``name``.

    Raises:
        UserError: there is none of that name.
    """
    if name not in BASELINES:
        raise UserError(f"there is no baseline '{name}'; {did_you_mean(name, BASELINES)}")
    return BASELINES[name]
