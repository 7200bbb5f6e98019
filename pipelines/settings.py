"""Settings as they are given on the command line, for runs here and in a cluster."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.prepare.inputs import source_of
from shapley_core.errors import UserError


def as_overrides(settings: list[str], data: str, seed: int | None, skip_bad_images: bool) -> dict[str, Any]:
    """The command line's options as dotted settings to values.

    Raises:
        UserError: an item of ``settings`` is not KEY=VALUE with a value in YAML.
    """
    overrides: dict[str, Any] = {}
    if data:
        overrides |= source_of(data if "://" in data else str(Path(data).absolute()))
    if skip_bad_images:
        overrides["data.skip_bad_images"] = True
    if seed is not None:
        overrides["seed"] = seed
    return overrides | parsed(settings)


def parsed(settings: list[str]) -> dict[str, Any]:
    """What stands behind ``--set``, as dotted settings to values.

    Raises:
        UserError: an item is not KEY=VALUE with a value in YAML.
    """
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator or not key:
            raise UserError(f"--set {setting}: write KEY=VALUE, e.g. --set finetuning.steps=50")
        try:
            overrides[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none, a number without end
            raise UserError(
                f"--set {setting}: the value is not YAML; write a number, a word, a list like [16,32], or put "
                "other text into quotes"
            ) from error
    return overrides


def check_can_be_told(settings: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` for a setting that cannot be handed to the tasks, which are told in JSON and UTF-8."""
    for name, value in settings.items():
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{name} is {value!r}, which is not valid UTF-8: rename the file or folder, or choose another"
            ) from error
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{name} is {value!r}: give a finite number, a word, or a list of these; put other text into quotes"
            ) from error
