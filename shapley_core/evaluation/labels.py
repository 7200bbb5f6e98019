"""What people read for the attributions and removal methods of an evaluation, and in which order."""

from collections.abc import Iterable

from shapley_core.evaluation.removal import REMOVAL_METHODS
from shapley_core.evaluation.result import BY_FINETUNING, BY_RETRAINING, LEAVE_ONE_OUT, NUMBER_OF_IMAGES, OURS

#: The seventeen rows of Table 1 in its order.
TABLE_1_LABELS: dict[str, str] = {
    "pixel_similarity_average": "Pixel similarity (average)",
    "pixel_similarity_maximum": "Pixel similarity (max)",
    "embedding_distance_average": "Embedding distance (average)",
    "embedding_distance_maximum": "Embedding distance (max)",
    "embedding_similarity_average": "Embedding similarity (average)",
    "embedding_similarity_maximum": "Embedding similarity (max)",
    "gradient_similarity_average": "Gradient similarity (average)",
    "gradient_similarity_maximum": "Gradient similarity (max)",
    "property_average": "Property of images (average)",
    "property_maximum": "Property of images (max)",
    "relative_influence": "Relative IF",
    "renormalised_influence": "Renormalised IF",
    "trak": "TRAK",
    "journey_trak": "Journey-TRAK",
    "d_trak": "D-TRAK",
    LEAVE_ONE_OUT: "Leave-one-out (LOO)",
    OURS: "Sparsified-FT Shapley (ours)",
}

#: Its other methods.
OTHERS = tuple(name for name in TABLE_1_LABELS if name != OURS)

_LABELS = {
    **TABLE_1_LABELS,
    NUMBER_OF_IMAGES: "Number of images",
    BY_RETRAINING: "Retraining Shapley",
    BY_FINETUNING: "FT Shapley",
}


def attribution_label(name: str) -> str:
    """The attribution as people read it; a name that is not known stays as it is."""
    return _LABELS.get(name, name)


def method_label(name: str) -> str:
    """The removal method as people read it; a name that is not known stays as it is."""
    return REMOVAL_METHODS[name].label if name in REMOVAL_METHODS else name


def in_order(names: Iterable[str], registry: Iterable[str]) -> list[str]:
    """Names, each once, in the order of ``registry``; at the end those that it does not know."""
    places = {name: place for place, name in enumerate(registry)}
    return sorted(dict.fromkeys(names), key=lambda name: places.get(name, len(places)))


def action_label(action: str, share: float) -> str:
    """What a counterfactual does with the top contributors, as people read it."""
    return f"top {100 * share:g} % {'removed' if action == 'remove' else 'kept alone'}"
