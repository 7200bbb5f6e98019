"""A table, local or on S3, that names image files and their contributors.

A .csv (UTF-8, comma-separated) or .parquet file with the columns ``path`` and ``contributor`` and,
optionally, ``label`` and ``caption``; other columns are ignored. Relative paths are relative to the table's
folder.
"""

import io
import math
import posixpath
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources.image_folder import (
    ImageFile,
    check_contributors,
    dataset_from_files,
    shown,
)
from shapley_core.errors import UserError
from shapley_core.storage import open_store

REQUIRED = ("path", "contributor")
OPTIONAL = ("label", "caption")


def load(config: DataConfig) -> ContributorDataset:
    """Read the images that the table ``config.path`` names.

    Raises:
        UserError: the table cannot be read, lacks a column or a cell, or names fewer than two contributors;
            or (unless ``config.skip_bad_images``) images that are missing or cannot be read.
    """
    name = config.path
    if not name.lower().endswith((".csv", ".parquet")):
        raise UserError(f"the manifest {name} must be a .csv or .parquet file; check data.path.")
    if name.startswith("s3://"):
        folder, _, file_name = name.rpartition("/")
        store = open_store(folder)
        data = store.read(file_name)
        if data is None:
            raise UserError(f"there is no manifest {name}; check data.path.")
        columns = _columns(io.BytesIO(data), name)

        def reader(path: str) -> Callable[[], bytes | None]:
            return partial(store.read, _key(path, name))
    else:
        manifest = Path(name).expanduser()
        if not manifest.is_file():
            raise UserError(f"there is no manifest file {name}; check data.path.")
        columns = _columns(manifest, name)

        def reader(path: str) -> Callable[[], bytes | None]:
            return (manifest.parent / path).read_bytes

    paths, contributors = columns["path"], columns["contributor"]
    advice = "name each image's contributor in the column contributor"
    check_contributors(set(contributors), f"the manifest {name}", advice)
    labels = columns.get("label", [None] * len(paths))
    captions = columns.get("caption", [None] * len(paths))
    files = [
        ImageFile(contributor, path, reader(path), label, caption)
        for path, contributor, label, caption in zip(paths, contributors, labels, captions, strict=True)
    ]
    return dataset_from_files(files, config)


def _key(path: str, manifest: str) -> str:
    """A path from a table on S3 as a key beside it; keys know no ``..``."""
    key = posixpath.normpath(path)
    if key.startswith(("/", "../")) or key == "..":
        raise UserError(
            f"the manifest {manifest} names {shown(path)}, which is not under its own folder: move the image "
            "there (on S3 all paths must be relative)."
        )
    return key


def _columns(file: Path | io.BytesIO, name: str) -> dict[str, list[str]]:
    """The table's cells as text, by column; an optional column without any text is left out."""
    try:
        table = _read_csv(file, name) if name.lower().endswith(".csv") else _read_parquet(file, name)
        columns = {c: [_text(cell) for cell in table[c].to_pylist()] for c in _wanted(table.column_names)}
    except UnicodeDecodeError as error:
        cell = error.object.decode(errors="surrogateescape")
        raise UserError(
            f"the manifest {name} holds {shown(cell)}, which is not valid UTF-8: save the table as UTF-8."
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"the manifest {name} cannot be read ({error}): it must be a .csv (UTF-8, comma-separated, with "
            "a header) or .parquet file."
        ) from error
    columns = {c: cells for c, cells in columns.items() if c in REQUIRED or any(cells)}
    for column in columns.keys() - {"caption"}:
        empty = [row for row, cell in enumerate(columns[column], start=1) if not cell.strip()]
        if empty:
            more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
            hint = ", or leave the column out" if column in OPTIONAL else ""
            raise UserError(
                f"the manifest {name} has no {column} in row {empty[0]:,}{more} (not counting the header): "
                f"fill it in{hint}."
            )
    return columns


def _read_csv(file: Path | io.BytesIO, name: str) -> pa.Table:
    cells = dict.fromkeys((*REQUIRED, *OPTIONAL), pa.binary())  # not text, so that the error is ours and shows the cell
    table = pa.csv.read_csv(
        file,
        read_options=pa.csv.ReadOptions(use_threads=False),  # then errors name the row
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(column_types=cells),
    )
    _check_columns(table.column_names, name)
    return table


def _read_parquet(file: Path | io.BytesIO, name: str) -> pa.Table:
    with pa.parquet.ParquetFile(file) as parquet:
        names = parquet.schema_arrow.names
        _check_columns(names, name)
        return parquet.read(columns=_wanted(names))


def _wanted(names: list[str]) -> list[str]:
    return [name for name in (*REQUIRED, *OPTIONAL) if name in names]


def _check_columns(names: list[str], manifest: str) -> None:
    wrong = [c for c in REQUIRED if names.count(c) != 1] + [c for c in OPTIONAL if names.count(c) > 1]
    if wrong:
        raise UserError(
            f"the manifest {manifest} must have exactly one column {' and one column '.join(wrong)}; its "
            f"columns are {', '.join(shown(name) for name in names)}."
        )


def _text(cell: object) -> str:
    """A cell as text: missing is empty, and a whole number has no decimal point."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bytes):
        return cell.decode()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
