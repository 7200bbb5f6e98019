"""Sources of training images and their contributors, by the name that ``data.source`` gives them."""

from collections.abc import Callable

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources import (
    artbench,
    celebahq,
    cifar100,
    digits,
    hugging_face,
    image_folder,
    manifest,
    openmoji,
)

#: One entry per source; each raises UserError for anything wrong with what the user gave.
SOURCES: dict[str, Callable[[DataConfig], ContributorDataset]] = {
    "artbench": artbench.load,
    "celebahq": celebahq.load,
    "cifar100": cifar100.load,
    "digits": digits.load,
    "hugging_face": hugging_face.load,
    "image_folder": image_folder.load,
    "manifest": manifest.load,
    "openmoji": openmoji.load,
}


def load_source(config: DataConfig) -> ContributorDataset:
    """Bring in the images that the configuration names.

    Raises:
        UserError: they cannot be valued as they are; the message says what is wrong, where, and what to do.
    """
    return SOURCES[config.source](config)
