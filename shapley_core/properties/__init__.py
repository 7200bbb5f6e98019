"""Global model properties, one file each, by name."""

from collections.abc import Callable
from importlib import import_module

from shapley_core.data.dataset import ContributorDataset
from shapley_core.errors import UserError, did_you_mean
from shapley_core.properties.base import Property
from shapley_core.properties.requirements import colour_images, two_classes

# By module path, so that neither checking the data nor scoring one property imports what another needs.
_PROPERTIES = {
    "inception_score": "shapley_core.properties.inception_score:InceptionScore",
    "colourfulness": "shapley_core.properties.colourfulness:Colourfulness",
    "diversity": "shapley_core.properties.diversity:Diversity",
}
_REQUIREMENTS: dict[str, Callable[[ContributorDataset], None]] = {
    "inception_score": two_classes,
    "colourfulness": colour_images,
    "diversity": two_classes,
}


def check_property(name: str) -> None:
    """Raise :class:`UserError` with the nearest name where there is no such property."""
    if name not in _PROPERTIES:
        raise UserError(f"there is no property '{name}'; {did_you_mean(name, _PROPERTIES)}")


def check_data(name: str, dataset: ContributorDataset) -> None:
    """Raise :class:`UserError` where the data cannot support the property."""
    check_property(name)
    _REQUIREMENTS[name](dataset)


def get_property(name: str) -> type[Property]:
    """The property's class."""
    check_property(name)
    module, _, attribute = _PROPERTIES[name].partition(":")
    found: type[Property] = getattr(import_module(module), attribute)
    return found
