"""The utility store: all utilities ever measured of a game, in tables that are added and never rewritten.

Each table is one Parquet object named by the hash of its content. So several runs may write at once, a run
that is killed loses only the table it was writing, and what a bad disk or a hand has changed is noticed.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa

from shapley_core.errors import UserError
from shapley_core.games.utilities import merge_utilities, read_arrow, write_utilities
from shapley_core.storage import Store

#: Objects read at the same time: on S3 nearly all of the time is waiting.
_READERS = 16


class UtilityStore:
    """The utility tables of one game, under ``<game id>/`` in a store."""

    def __init__(self, store: Store, game_id: str) -> None:
        self._store = store
        self._game_id = game_id

    def append(self, table: pd.DataFrame) -> None:
        """Add a utility table (see :mod:`shapley_core.games.utilities`); an empty one leaves nothing."""
        if table.empty:
            return
        buffer = io.BytesIO()
        write_utilities(table, buffer)
        data = buffer.getvalue()
        self._store.write_new(f"{self._game_id}/{_content_hash(data)}.parquet", data)

    def load(self) -> pd.DataFrame:
        """Everything measured so far, one row per (key, property, seed).

        Raises:
            UserError: a table is damaged.
        """
        keys = [key for key in self._store.list(f"{self._game_id}/") if key.endswith(".parquet")]
        # Threads wait for the store; parsing, which computes, they would only do in each other's way.
        with ThreadPoolExecutor(_READERS) as readers:
            tables = [read_arrow(pa.BufferReader(data)) for data in readers.map(self._read, keys)]
        # Thousands of small tables become one before they become a data frame: that is most of the work.
        return merge_utilities([pa.concat_tables(tables).to_pandas()] if tables else [])

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Keep the facts that the game's id stands for beside its utilities, as ``game.json``, once."""
        text = json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False)
        self._store.write_new(f"{self._game_id}/game.json", text.encode())

    def _read(self, key: str) -> bytes:
        data = self._store.read(key)
        if data is None or _content_hash(data) != PurePosixPath(key).stem:
            raise UserError(
                f"the utility table {self._store.uri}/{key} is damaged. Delete it and run the same command "
                "again: only the coalitions in it are measured anew"
            )
        return data


def _content_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
