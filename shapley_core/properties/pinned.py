"""Pretrained weights in a property's reference: not the weights, which may be gigabytes, but their digest.

So the game's id, which hashes the reference, says which weights it was played with, wherever they stood; and a task
that finds others where these were does not mix two games.
"""

import json
from pathlib import Path

from shapley_core.errors import UserError
from shapley_core.weights import weights_digest


def pin_weights(folder: Path, network: str, weights: Path) -> None:
    """Write to ``folder`` that ``network`` has these weights (a file, or a folder)."""
    _record(folder, network).write_text(json.dumps({"network": network, "sha256": weights_digest(weights)}))


def check_pinned(folder: Path, network: str, weights: Path) -> None:
    """Raise :class:`UserError` where these are not the weights that :func:`pin_weights` saw."""
    pinned = json.loads(_record(folder, network).read_text())["sha256"]
    found = weights_digest(weights)
    if found != pinned:
        raise UserError(
            f"the weights of {network} in {weights} are not those that this game was begun with (SHA-256 "
            f"{found[:12]}… instead of {pinned[:12]}…): put the old ones back, or start a new run"
        )


def _record(folder: Path, network: str) -> Path:
    return folder / f"{network}.json"
