"""Global model properties, one file each, by name."""

from importlib import import_module

from shapley_core.errors import UserError, did_you_mean
from shapley_core.properties.base import Property

# By module path, so that scoring one property does not import what another needs.
_PROPERTIES = {
    "inception_score": "shapley_core.properties.inception_score:InceptionScore",
    "colourfulness": "shapley_core.properties.colourfulness:Colourfulness",
    "diversity": "shapley_core.properties.diversity:Diversity",
}


def check_property(name: str) -> None:
    """Raise :class:`UserError` with the nearest name where there is no such property."""
    if name not in _PROPERTIES:
        raise UserError(f"there is no property '{name}'; {did_you_mean(name, _PROPERTIES)}")


def get_property(name: str) -> type[Property]:
    """The property's class."""
    check_property(name)
    module, _, attribute = _PROPERTIES[name].partition(":")
    found: type[Property] = getattr(import_module(module), attribute)
    return found
