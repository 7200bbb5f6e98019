"""The contributor data set: training images, who provided each of them, and what identifies them.

On disk it is a Hugging Face ``datasets`` folder (Arrow; any tool opens it with ``datasets.load_from_disk``)
plus ``contributors.json``. Two hashes name the data and nothing else, neither file names nor the order of
files:

* an *image hash* is the SHA-256 of mode, size, label, caption and pixels;
* a contributor's *fingerprint* is the SHA-256 of their sorted image hashes. It does not contain their name,
  so two contributors with the same images have the same fingerprint, and a contributor who joins changes
  nobody else's.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from shapley_core.errors import UserError, unwritable

if TYPE_CHECKING:
    from datasets import Features
    from PIL.Image import Image

#: Written last: a folder without it is incomplete.
INDEX_FILE = "contributors.json"

#: Images per Arrow batch; keeps a batch of the largest images (2048 x 2048 RGB) under Arrow's 2 GiB.
_BATCH = 100


@dataclass(frozen=True)
class ImageRecord:
    """One training image as it is stored: lossless PNG without metadata, and the hash that identifies it."""

    contributor: str
    hash: str
    png: bytes
    mode: str
    size: tuple[int, int]
    label: str | None = None
    caption: str | None = None

    @classmethod
    def encode(
        cls, contributor: str, image: "Image", label: str | None = None, caption: str | None = None
    ) -> "ImageRecord":
        """Encode a Pillow image of mode L or RGB; only its pixels are kept (no EXIF, no colour profile)."""
        from PIL import Image

        pixels = image.tobytes()
        buffer = io.BytesIO()
        # The fastest compression: a fifth of the default's time for files a sixth larger.
        Image.frombytes(image.mode, image.size, pixels).save(buffer, "PNG", compress_level=1)
        # A JSON array ends where it ends, so what stands before the pixels cannot be mistaken for pixels.
        identity = json.dumps([image.mode, *image.size, label, caption]).encode()
        digest = hashlib.sha256(identity + pixels).hexdigest()
        return cls(contributor, digest, buffer.getvalue(), image.mode, image.size, label, caption)


@dataclass(frozen=True)
class Contributor:
    """A contributor's name (data: never used as a file name), fingerprint and number of images."""

    name: str
    fingerprint: str
    n_images: int


@dataclass(frozen=True, eq=False)
class ContributorDataset:
    """Images and their contributors, in canonical order: contributors by name, a contributor's images by
    hash.

    Attributes:
        table: Arrow table with the columns ``image`` (struct of PNG bytes and an unused path),
            ``contributor`` and, where the source has them, ``label`` (class id) and ``caption``.
        entries: one per contributor, by name; their images are consecutive rows of ``table``.
        mode: Pillow mode of every image, ``L`` or ``RGB``.
        size: width and height of every image in pixels.
        label_names: names of the class ids, sorted (by value if all are whole numbers); empty without labels.
        source: facts about where the images came from.
        n_skipped: unreadable images that were left out on demand.
    """

    table: pa.Table
    entries: tuple[Contributor, ...]
    mode: str
    size: tuple[int, int]
    label_names: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    n_skipped: int = 0

    @classmethod
    def from_records(
        cls, records: Iterable[ImageRecord], source: Mapping[str, Any], n_skipped: int = 0
    ) -> "ContributorDataset":
        """Put the images of a source into canonical order.

        Raises:
            ValueError: no images, images of several sizes or modes, or labels or captions on only some of
                them.
        """
        ordered = sorted(records, key=lambda record: (record.contributor, record.hash))
        if len({(r.mode, r.size, r.label is None, r.caption is None) for r in ordered}) != 1:
            raise ValueError("images must agree in mode, size and whether they have a label and a caption")
        entries = []
        for name, group in groupby(ordered, key=lambda record: record.contributor):
            hashes = [record.hash for record in group]
            entries.append(Contributor(name, _sha256_of_lines(hashes), len(hashes)))
        names = _sorted_labels({record.label for record in ordered if record.label is not None})
        return cls(
            table=_arrow_table(ordered, names),
            entries=tuple(entries),
            mode=ordered[0].mode,
            size=ordered[0].size,
            label_names=names,
            source=dict(source),
            n_skipped=n_skipped,
        )

    @property
    def contributors(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(entry.name for entry in self.entries)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint by contributor name."""
        return {entry.name: entry.fingerprint for entry in self.entries}

    @property
    def n_images(self) -> dict[str, int]:
        """Number of images by contributor name."""
        return {entry.name: entry.n_images for entry in self.entries}

    @property
    def digest(self) -> str:
        """SHA-256 over all fingerprints, sorted: equal data sets under other names have equal digests."""
        return _sha256_of_lines(sorted(entry.fingerprint for entry in self.entries))

    def images(self, contributors: Iterable[str] | None = None) -> np.ndarray:
        """Decode the images of some contributors, or of all.

        Contributors are taken in the order of their fingerprints, whatever order they are given in, so that
        the result is a function of the set of data alone.

        Returns:
            uint8 array of shape (N, H, W, C), C = 1 for mode L and 3 for RGB.

        Raises:
            KeyError: a contributor that is not in the data set.
        """
        from PIL import Image

        blocks = self._blocks(contributors)
        width, height = self.size
        channels = len(self.mode)
        pixels = np.empty((sum(n for _, n in blocks), height, width, channels), np.uint8)
        encoded = (cell for start, n in blocks for cell in self.table["image"].slice(start, n))
        for row, cell in zip(pixels, encoded, strict=True):
            image = Image.open(io.BytesIO(cell["bytes"].as_py()), formats=["PNG"])
            row[:] = np.asarray(image).reshape(row.shape)
        return pixels

    def only(self, contributors: Iterable[str]) -> "ContributorDataset":
        """The data set of these contributors alone: the very one (:attr:`digest`, classes) that it is without the rest.

        Raises:
            KeyError: a contributor that is not in the data set.
        """
        place = {entry.name: (entry, start) for entry, start in zip(self.entries, self._starts, strict=False)}
        chosen = [place[name] for name in sorted(set(contributors))]
        table = pa.concat_tables([self.table.slice(start, entry.n_images) for entry, start in chosen])
        names = self.label_names
        if names:
            ids = table["label"].to_numpy()
            present, renumbered = np.unique(ids, return_inverse=True)
            names = tuple(names[i] for i in present)
            at = table.column_names.index("label")
            table = table.set_column(at, "label", pa.array(renumbered.astype(np.int64)))
        return replace(self, table=table, entries=tuple(entry for entry, _ in chosen), label_names=names)

    @property
    def contributor_ids(self) -> np.ndarray:
        """Which of :attr:`contributors` each image belongs to, int64 of shape (N,), in the order of :meth:`images`
        of everybody; picking rows by it gives a coalition's images without decoding them again."""
        owner = np.repeat(np.arange(len(self.entries)), [entry.n_images for entry in self.entries])
        return np.concatenate([owner[start : start + n] for start, n in self._blocks()])

    @property
    def labels(self) -> np.ndarray | None:
        """Class ids, int64 of shape (N,), in the order of :meth:`images` of everybody; None without
        labels."""
        if "label" not in self.table.column_names:
            return None
        ids: np.ndarray = self._column("label").to_numpy()
        return ids

    @property
    def captions(self) -> tuple[str, ...] | None:
        """Captions in the order of :meth:`images` of everybody; None where the source has none."""
        return tuple(self._column("caption").to_pylist()) if "caption" in self.table.column_names else None

    def _blocks(self, contributors: Iterable[str] | None = None) -> list[tuple[int, int]]:
        """First row and number of rows of each wanted contributor, in the order of fingerprints."""
        place = {entry.name: (entry, start) for entry, start in zip(self.entries, self._starts, strict=False)}
        wanted = [place[name] for name in set(self.contributors if contributors is None else contributors)]
        # Equal fingerprints are equal images, so it does not matter which of them comes first.
        wanted.sort(key=lambda pair: (pair[0].fingerprint, pair[0].name))
        return [(start, entry.n_images) for entry, start in wanted]

    @property
    def _starts(self) -> list[int]:
        """The first row of each contributor, and the number of rows."""
        starts: list[int] = np.cumsum([0, *(entry.n_images for entry in self.entries)]).tolist()
        return starts

    def _column(self, name: str) -> pa.ChunkedArray:
        chunks = [self.table[name].slice(start, n).combine_chunks() for start, n in self._blocks()]
        return pa.chunked_array(chunks)

    def save(self, folder: Path) -> None:
        """Write the data set; ``contributors.json`` comes last, so a killed save is never taken for a whole
        one.

        Raises:
            UserError: the disk is full or the folder may not be written to.
        """
        import datasets

        datasets.disable_progress_bars()
        info = datasets.DatasetInfo(features=_features(self.table.column_names, self.label_names))
        index = folder / INDEX_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            index.unlink(missing_ok=True)
            # Removed rather than overwritten: this very table may be mapped to them.
            for former in folder.glob("data-*.arrow"):
                former.unlink()
            datasets.Dataset(self.table, info=info).save_to_disk(folder)
            content = {
                "contributors": [asdict(entry) for entry in self.entries],
                "mode": self.mode,
                "size": self.size,
                "label_names": self.label_names,
                "source": self.source,
                "n_skipped": self.n_skipped,
                "files": {path.name: path.stat().st_size for path in sorted(folder.glob("data-*.arrow"))},
            }
            unfinished = index.with_suffix(".tmp")
            unfinished.write_text(json.dumps(content, indent=1))
            unfinished.replace(index)
        except OSError as error:
            # The error of a full disk names no file.
            if (refusal := unwritable(OSError(error.errno, error.strerror, str(folder)))) is not None:
                raise refusal from error
            raise

    @classmethod
    def load(cls, folder: Path) -> "ContributorDataset":
        """Open a saved data set: images stay on disk, memory-mapped, until :meth:`images` decodes them.

        Arrow files are read with pyarrow itself, which spares every task the second that importing
        ``datasets`` takes.

        Raises:
            UserError: the folder does not hold a complete data set.
        """
        try:
            index = json.loads((folder / INDEX_FILE).read_text())
            parts = []
            for name, n_bytes in index["files"].items():
                if (folder / name).stat().st_size != n_bytes:
                    raise ValueError(f"{name} does not have the {n_bytes:,} bytes it was written with")
                parts.append(pa.ipc.open_stream(pa.memory_map(str(folder / name))).read_all())
            dataset = cls(
                table=pa.concat_tables(parts),
                entries=tuple(Contributor(**entry) for entry in index["contributors"]),
                mode=index["mode"],
                size=tuple(index["size"]),
                label_names=tuple(index["label_names"]),
                source=index["source"],
                n_skipped=index["n_skipped"],
            )
            if dataset.table.num_rows != sum(dataset.n_images.values()):
                raise ValueError(f"there are {dataset.table.num_rows} images but {INDEX_FILE} lists others")
        except FileNotFoundError as error:
            raise UserError(
                f"{folder} does not hold a complete contributor data set ({Path(error.filename).name} is "
                "missing): check the folder, or prepare the data again."
            ) from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(
                f"the contributor data set in {folder} is damaged ({error}): prepare the data again."
            ) from error
        return dataset


def _sha256_of_lines(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sorted_labels(names: set[str]) -> tuple[str, ...]:
    """Sorted by value where all of them are whole numbers, as text otherwise."""
    try:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(names))


def _features(columns: Iterable[str], label_names: tuple[str, ...]) -> "Features":
    """The columns in the terms of ``datasets``."""
    import datasets

    features = {
        "image": datasets.Image(),
        "contributor": datasets.Value("string"),
        "label": datasets.ClassLabel(names=list(label_names)),
        "caption": datasets.Value("string"),
    }
    return datasets.Features({name: features[name] for name in columns})


def _arrow_table(records: list[ImageRecord], label_names: tuple[str, ...]) -> pa.Table:
    fields = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("contributor", pa.string()),
    ]
    if records[0].label is not None:
        fields.append(("label", pa.int64()))
    if records[0].caption is not None:
        fields.append(("caption", pa.string()))
    schema = pa.schema(fields)
    ids = {name: number for number, name in enumerate(label_names)}
    batches = []
    for start in range(0, len(records), _BATCH):
        rows = [
            {
                "image": {"bytes": record.png, "path": None},
                "contributor": record.contributor,
                "label": ids.get(record.label or ""),
                "caption": record.caption,
            }
            for record in records[start : start + _BATCH]
        ]
        batches.append(pa.RecordBatch.from_pylist(rows, schema=schema))
    return pa.Table.from_batches(batches)
