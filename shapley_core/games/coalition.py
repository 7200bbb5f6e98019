"""The key of a coalition: the same data give the same key, whatever the contributors are called."""

import hashlib
from collections.abc import Iterable


def coalition_key(fingerprints: Iterable[str]) -> str:
    """32 hex digits that name a coalition by its members' data.

    The first half of SHA-256 over the sorted fingerprints joined by newlines. The fingerprints are a
    multiset: two members with identical data count twice. Names, order and the contributors outside the
    coalition play no part, so a key keeps its meaning when somebody joins.
    """
    return hashlib.sha256("\n".join(sorted(fingerprints)).encode()).hexdigest()[:32]
