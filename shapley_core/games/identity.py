"""The identity of a game: two valuations share measured utilities exactly when they play the same game."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: To be put among a game's facts; raised whenever a change of code changes what a coalition's value is.
GAME_VERSION = 2


def game_id(facts: Mapping[str, Any]) -> str:
    """16 hex digits that name a game by everything that decides a coalition's value.

    Args:
        facts: JSON values (numbers must be finite): base model, settings, :data:`GAME_VERSION`. The order of
            the keys is of no account.
    """
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
