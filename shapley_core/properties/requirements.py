"""What a property asks of the training data and of pretrained weights: looked at before any training.

Without what the property computes with, where that can be: only Inception v3 and a pickled state dict take torch.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.errors import UserError
from shapley_core.properties.aesthetic import read_head
from shapley_core.properties.embedder_weights import embedder_folder, projection_width
from shapley_core.weights import fetch_weights_file


def a_classifier(dataset: ContributorDataset, config: PropertyConfig) -> None:
    """Raise :class:`UserError` where the Inception Score cannot have its classifier."""
    if config.classifier == "data":
        two_classes(dataset)
    else:
        _inception(config)


def an_embedder(dataset: ContributorDataset, config: PropertyConfig) -> None:
    """Raise :class:`UserError` where images cannot be embedded."""
    if config.embedder == "classifier":
        two_classes(dataset)
    elif config.embedder == "inception":
        _inception(config)
    else:
        with _told_of("embedder_weights"):
            embedder_folder(config.embedder, config.embedder_weights)


def an_aesthetic_score(dataset: ContributorDataset, config: PropertyConfig) -> None:
    """Raise :class:`UserError` where CLIP or its head are not there, or do not fit each other."""
    with _told_of("aesthetic_clip"):
        width = projection_width(embedder_folder("clip", config.aesthetic_clip))
    with _told_of("aesthetic_head"):
        read_head(fetch_weights_file(config.aesthetic_head), width)


def colour_images(dataset: ContributorDataset, config: PropertyConfig) -> None:
    """Raise :class:`UserError` for grey images."""
    if dataset.mode != "RGB":
        raise UserError("colourfulness needs colour images: set data.mode=RGB, or choose another property")


def two_classes(dataset: ContributorDataset) -> None:
    """Raise :class:`UserError` where there is nothing to train a classifier on: a label for all, or one contributor."""
    n_classes = len(dataset.contributors) if dataset.labels is None else len({*dataset.labels.tolist()})
    if n_classes < 2:
        raise UserError(
            "the property needs a classifier, and that at least two classes, but every image has the same label: give "
            "labels, leave them out (the contributors are the classes then), or choose another property"
        )


def _inception(config: PropertyConfig) -> None:
    from shapley_core.properties.inception import load_inception  # here, because it takes torch

    with _told_of("inception_weights"):
        weights = fetch_weights_file(config.inception_weights)
    load_inception(weights)


@contextmanager
def _told_of(setting: str) -> Iterator[None]:
    """Begin a sentence about weights with the setting that names them."""
    try:
        yield
    except UserError as error:
        raise UserError(f"property.{setting}: {error}") from error
