"""ArtBench-10 (Liao et al., arXiv 2206.11404): paintings of one style, one contributor per artist.

The paper (appendix A) values the 258 artists of the 5,000 training images of post-impressionism. Read from the
published image folders at 256 pixels, ``artbench-10-imagefolder-split/train/<style>/<artist>_<title>.jpg``. The artist
is what stands before the first ``_``; where the published table ``ArtBench-10.csv`` (columns ``name``, ``artist``,
``label``, ``split`` and others) lies in the folder too, its column ``artist`` is taken.
"""

import csv
import io
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources.image_folder import (
    ImageFile,
    check_contributors,
    dataset_from_files,
    image_keys,
    open_folder,
    shown,
)
from shapley_core.errors import UserError

ORIGIN = "https://github.com/liaopeiyuan/artbench"
LICENCE = "fair use, as its authors state it; some of the paintings are not in the public domain"

TABLE = "ArtBench-10.csv"

#: Training images of each style.
N_IMAGES = 5_000


def load(config: DataConfig) -> ContributorDataset:
    """The training images of the style ``config.artbench.style``; artists as the files or the table write them, in
    Unicode's composed form.

    Raises:
        UserError: images are missing or too many, or an image does not tell its artist.
    """
    style = config.artbench.style
    keys, read = open_folder(config.path, "the folder artbench-10-imagefolder-split")
    images = [key for key in image_keys(keys) if PurePosixPath(key).parts[:-1] == ("train", style)]
    if len(images) != N_IMAGES:
        raise UserError(
            f"{config.path} holds {len(images):,} images in train/{style}, and ArtBench-10 has {N_IMAGES:,}: give the "
            f"folder artbench-10-imagefolder-split, whole, from {ORIGIN}."
        )
    artists = _listed_artists(read, config.path) if TABLE in keys else None
    files = [ImageFile(_artist(key, artists), key, partial(read, key)) for key in images]
    check_contributors(
        {file.contributor for file in files}, f"{config.path}/train/{style}", "the file names tell artists"
    )
    return dataset_from_files(files, config, origin=ORIGIN, licence=LICENCE)


def _artist(key: str, artists: dict[str, str] | None) -> str:
    """The artist of an image; the same name may have come through file systems that compose letters differently."""
    name = PurePosixPath(key).name
    if artists is not None:
        artist = artists.get(unicodedata.normalize("NFC", name)) or ""
        where = f"has no artist in {TABLE}"
    else:
        artist, separator, _ = name.partition("_")
        artist = artist if separator else ""
        where = "is not called <artist>_<title>"
    if not artist.strip():
        raise UserError(
            f"the image {shown(key)} {where}, so nobody can be credited for it: get the data from {ORIGIN}."
        )
    return unicodedata.normalize("NFC", artist.strip())


def _listed_artists(read: Callable[[str], bytes | None], path: str) -> dict[str, str]:
    """Artist by file name, from the published table."""
    try:
        rows = csv.DictReader(io.StringIO((read(TABLE) or b"").decode("utf-8-sig")))
        if not {"name", "artist"} <= {*(rows.fieldnames or ())}:
            raise ValueError("it has other columns")
        return {unicodedata.normalize("NFC", row["name"]): row["artist"] for row in rows}
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path}/{TABLE} is not the table that was published (UTF-8, with the columns name and artist): get it "
            f"again from {ORIGIN}, or remove it."
        ) from error
