"""The utility table: one measured property of one coalition per row."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

logger = logging.getLogger(__name__)

#: ``key`` and ``seed`` are those of the plan; ``status`` is "ok" or the reason why there is no value;
#: ``device`` is where it was measured. A value that is missing is null in the file and NaN in a data frame.
UTILITY_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("property", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("training_seconds", pa.float64()),
        pa.field("sampling_seconds", pa.float64()),
        pa.field("scoring_seconds", pa.float64()),
        pa.field("device", pa.string()),
    ]
)


def write_utilities(table: pd.DataFrame, path: Path | IO[bytes]) -> None:
    """Write a utility table as Parquet; its columns must be those of :data:`UTILITY_SCHEMA`, in any order."""
    pq.write_table(pa.Table.from_pandas(table, UTILITY_SCHEMA, preserve_index=False), path)


def read_utilities(path: Path | IO[bytes]) -> pd.DataFrame:
    """Read a table written by :func:`write_utilities`.

    Raises:
        pa.ArrowInvalid: the file is not Parquet, or is damaged.
    """
    table: pd.DataFrame = read_arrow(path).to_pandas()
    return table


def read_arrow(path: Path | IO[bytes] | pa.BufferReader) -> pa.Table:
    """What :func:`read_utilities` reads, not yet as a data frame: several times faster for many small tables."""
    with pq.ParquetFile(path) as file:
        table = file.read(use_threads=False)
    # A file of ours is of the schema as it is.
    return table if table.schema.equals(UTILITY_SCHEMA) else table.select(UTILITY_SCHEMA.names).cast(UTILITY_SCHEMA)


def merge_utilities(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One row per (key, property, seed), sorted by them.

    A row with status "ok" wins over a failed one; among equals the first stays, in the order of the tables. Two runs
    may have measured a coalition at once, on devices that round differently; where their values differ, that is logged.
    """
    parts = [table for table in tables if len(table)]
    if not parts:
        empty: pd.DataFrame = UTILITY_SCHEMA.empty_table().to_pandas()
        return empty
    rows = pd.concat(parts, ignore_index=True)
    measured_first = rows.iloc[(rows["status"] != "ok").to_numpy().argsort(kind="stable")]
    identity = ["key", "property", "seed"]
    ok = rows[rows["status"] == "ok"]
    values = ok[ok.duplicated(identity, keep=False)].groupby(identity)["value"].agg(["nunique", "min", "max"])
    if len(contradicting := values[values["nunique"] > 1]):
        (key, name, _), (_, low, high) = contradicting.index[0], contradicting.iloc[0]
        logger.warning(
            "more than one value was measured of %d coalitions, and the first is taken; of %s, %s is from %.6g to %.6g",
            len(contradicting),
            key,
            name,
            low,
            high,
        )
    return measured_first.drop_duplicates(identity).sort_values(identity, ignore_index=True)
