"""Global model properties, one file each, by name."""

from collections.abc import Callable
from importlib import import_module

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.errors import UserError, did_you_mean
from shapley_core.properties.base import Property
from shapley_core.properties.requirements import a_classifier, an_aesthetic_score, an_embedder, colour_images

# By module path, so that neither checking the data nor scoring one property imports what another needs.
_PROPERTIES = {
    "inception_score": "shapley_core.properties.inception_score:InceptionScore",
    "colourfulness": "shapley_core.properties.colourfulness:Colourfulness",
    "diversity": "shapley_core.properties.diversity:Diversity",
    "aesthetic": "shapley_core.properties.aesthetic:Aesthetic",
    "fid": "shapley_core.properties.fid:FID",
}
_REQUIREMENTS: dict[str, Callable[[ContributorDataset, PropertyConfig], None]] = {
    "inception_score": a_classifier,
    "colourfulness": colour_images,
    "diversity": an_embedder,
    "aesthetic": an_aesthetic_score,
    "fid": an_embedder,
}


def check_property(name: str) -> None:
    """Raise :class:`UserError` with the nearest name where there is no such property."""
    if name not in _PROPERTIES:
        raise UserError(f"there is no property '{name}'; {did_you_mean(name, _PROPERTIES)}")


def check_requirements(name: str, dataset: ContributorDataset, config: PropertyConfig) -> None:
    """Raise :class:`UserError` where the data or the pretrained weights cannot support the property."""
    check_property(name)
    _REQUIREMENTS[name](dataset, config)


def get_property(name: str) -> type[Property]:
    """The property's class."""
    check_property(name)
    module, _, attribute = _PROPERTIES[name].partition(":")
    found: type[Property] = getattr(import_module(module), attribute)
    return found
