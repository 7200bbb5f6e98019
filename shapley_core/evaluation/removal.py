"""Removal methods: ways to make the model that the contributors outside a coalition have not touched (paper §3, D.4).

A method is what becomes of a starting model (``game.coalition_model`` of the configuration), and which model it starts
from: the full one, or the pruned one.
"""

from dataclasses import dataclass
from typing import Literal

#: Status of a coalition that nobody tried to measure.
NOT_MEASURED = "it was not measured"


@dataclass(frozen=True)
class RemovalMethod:
    """A way to take contributors out of a model.

    Attributes:
        coalition_model: the setting ``game.coalition_model``.
        start: the model it starts from; retraining starts from fresh weights of the full architecture.
        label: what people read.
    """

    coalition_model: Literal["sparsified_finetuning", "retraining", "gradient_ascent", "influence_unlearning"]
    start: Literal["full", "pruned"]
    label: str


REMOVAL_METHODS: dict[str, RemovalMethod] = {
    "retraining": RemovalMethod("retraining", "full", "Retraining"),
    "finetuning": RemovalMethod("sparsified_finetuning", "full", "Fine-tuning (FT)"),
    "sparsified_finetuning": RemovalMethod("sparsified_finetuning", "pruned", "Sparsified FT"),
    "gradient_ascent": RemovalMethod("gradient_ascent", "full", "Gradient ascent (GA)"),
    "sparsified_gradient_ascent": RemovalMethod("gradient_ascent", "pruned", "Sparsified GA"),
    "influence_unlearning": RemovalMethod("influence_unlearning", "full", "Influence unlearning (IU)"),
    "sparsified_influence_unlearning": RemovalMethod("influence_unlearning", "pruned", "Sparsified IU"),
}
