"""What is told of each contributor besides the value: a few of their images, and facts about all of them.

Made where the images and what scores them are loaded, read where the values are solved for; imports nothing heavy.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_THUMBNAILS = "thumbnails"
_LABELS = b"labels"


@dataclass(frozen=True)
class Label:
    """How a column of facts is shown to people.

    Attributes:
        text: what it is called.
        kind: a count, a number, a share of 1, or whether something is so.
    """

    text: str
    kind: Literal["count", "number", "share", "truth"]


@dataclass(frozen=True, eq=False)
class ContributorFacts:
    """The contributors' images and facts.

    Attributes:
        table: one row per contributor: ``contributor`` (name), ``n_images``, further facts, and ``thumbnails``, a list
            of small WebP files.
        labels: column to how it is shown, for every column that is.
    """

    table: pd.DataFrame
    labels: Mapping[str, Label]

    @property
    def thumbnails(self) -> dict[str, list[bytes]]:
        """Contributor to small WebP files of their first images."""
        return {
            name: list(files) for name, files in zip(self.table["contributor"], self.table[_THUMBNAILS], strict=True)
        }

    @property
    def facts(self) -> pd.DataFrame:
        """The table without the images."""
        return self.table.drop(columns=_THUMBNAILS)

    def save(self, path: Path) -> None:
        """Write one Parquet file; the labels stand in its schema's metadata."""
        table = pa.Table.from_pandas(self.table, preserve_index=False)
        labels = json.dumps({column: asdict(label) for column, label in self.labels.items()})
        pq.write_table(table.replace_schema_metadata({_LABELS: labels.encode()}), path)

    @classmethod
    def load(cls, path: Path) -> "ContributorFacts":
        """Read what :meth:`save` wrote."""
        table = pq.read_table(path)
        labels = json.loads(table.schema.metadata[_LABELS])
        return cls(table.to_pandas(), {column: Label(**label) for column, label in labels.items()})
