"""Named seeds: every random draw of a valuation descends from the one seed in its configuration.

A draw is named by what it is for and what it belongs to (a coalition, an image index, a step), never by when it
happens, so that neither the order of the work nor the size of a shard or batch changes it.
"""

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on ``seed`` and the ``names`` alone.

    Distinct names give independent streams for all practical purposes (SHA-256). The value fits torch's and
    numpy's generators and a signed 64-bit Parquet column.
    """
    text = "\x1f".join([str(seed), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
