"""The files of a removal method in an evaluation; shared by the stages that write them and those that read them."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shapley_core.evaluation.coalitions import COLUMNS
from shapley_core.games.utilities import UTILITY_SCHEMA

_SCHEMA = pa.schema(
    [
        pa.field("purpose", pa.string(), nullable=False),
        pa.field("set", pa.int64(), nullable=False),
        pa.field("share", pa.float64()),
        pa.field("attribution", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("members", pa.list_(pa.int32()), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
    ]
)
assert tuple(_SCHEMA.names) == COLUMNS
_OF_UTILITIES = [field for field in UTILITY_SCHEMA if field.name not in ("key", "seed", "property")]
#: The purposes with the utility of the valued property, and ``fid``: to the images of the same coalition retrained, NaN
#: for other purposes than ``compared``.
_MEASURED_SCHEMA = pa.schema([*_SCHEMA, *_OF_UTILITIES, pa.field("fid", pa.float64())])


def write_purposes(table: pd.DataFrame, path: Path) -> None:
    """Keep what coalitions are measured for (:mod:`shapley_core.evaluation.coalitions`)."""
    pq.write_table(pa.Table.from_pandas(table, _SCHEMA, preserve_index=False), path)


def write_measured(table: pd.DataFrame, path: Path) -> None:
    """Keep the same table with what was measured: the columns of a utility table but ``property``, and ``fid``."""
    pq.write_table(pa.Table.from_pandas(table, _MEASURED_SCHEMA, preserve_index=False), path)


def read_purposes(path: Path) -> pd.DataFrame:
    """What :func:`write_purposes` or :func:`write_measured` kept."""
    stored = pq.read_table(path)
    table: pd.DataFrame = stored.to_pandas()
    table["members"] = pd.Series(stored["members"].to_pylist(), dtype=object)  # of no rows, too
    return table
