"""What a property asks of the training data: looked at before any training, without what the property computes with."""

from shapley_core.data.dataset import ContributorDataset
from shapley_core.errors import UserError


def two_classes(dataset: ContributorDataset) -> None:
    """Raise :class:`UserError` where there is nothing to train a classifier on: a label for all, or one contributor."""
    n_classes = len(dataset.contributors) if dataset.labels is None else len({*dataset.labels.tolist()})
    if n_classes < 2:
        raise UserError(
            "the property needs a classifier, and that at least two classes, but every image has the same label: give "
            "labels, leave them out (the contributors are the classes then), or choose another property"
        )


def colour_images(dataset: ContributorDataset) -> None:
    """Raise :class:`UserError` for grey images."""
    if dataset.mode != "RGB":
        raise UserError("colourfulness needs colour images: set data.mode=RGB, or choose another property")
