"""A folder, local or on S3, with one sub-folder of image files per contributor; and how image files are read.

Image files may have any size, format and mode that Pillow reads (:func:`decode` says what becomes of them).
Hidden files and files that are no images are ignored and counted.
"""

import io
import logging
import os
import reprlib
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset, ImageRecord
from shapley_core.errors import UserError
from shapley_core.storage import open_store

_log = logging.getLogger(__name__)

#: How many of several offenders an error names.
_NAMED = 5

#: Files read at once: reading from S3 is waiting, and Pillow decodes without Python's lock.
_THREADS = 4

_names = reprlib.Repr()
_names.maxstring = 120
#: A name from outside for an error sentence: quoted, control characters escaped, shortened.
shown: Callable[[str], str] = _names.repr


@dataclass(frozen=True)
class ImageFile:
    """An image file that somebody contributed.

    Attributes:
        name: what the user knows the file by.
        read: its bytes, or None where there is no such file.
    """

    contributor: str
    name: str
    read: Callable[[], bytes | None]
    label: str | None = None
    caption: str | None = None


def load(config: DataConfig) -> ContributorDataset:
    """Read the folder ``config.path``: each sub-folder is a contributor, with all images in it at any depth.

    Raises:
        UserError: the folder cannot be listed, holds fewer than two contributors or one without images, or
            (unless ``config.skip_bad_images``) images that cannot be read.
    """
    keys, read = open_folder(
        config.path,
        "a folder with one sub-folder of images per contributor, or set data.source=manifest for a .csv or .parquet "
        "file",
    )
    images = [key for key in image_keys(keys) if "/" in key]
    files = [ImageFile(key.split("/")[0], key, partial(read, key)) for key in images]
    contributors = {key.split("/")[0] for key in keys if "/" in key and not _hidden(key.rpartition("/")[0])}
    # A key that ends with a slash stands for a folder.
    n_ignored = sum(not key.endswith("/") for key in keys) - len(images)

    where = f"the folder {config.path}"
    check_contributors(contributors, where, "put the images of each contributor into a sub-folder of their own")
    without = sorted(contributors - {file.contributor for file in files})
    if without:
        raise UserError(
            f"{_some(without)} in {where} {'has' if len(without) == 1 else 'have'} no images: "
            "add images (any format Pillow reads) or remove the sub-folder."
        )
    return dataset_from_files(files, config, n_ignored_files=n_ignored)


def open_folder(path: str, wanted: str) -> tuple[list[str], Callable[[str], bytes | None]]:
    """The keys of all files under a local folder or s3:// prefix, and what reads one.

    Args:
        path: the folder.
        wanted: what the user should give instead, where it is no folder.

    Raises:
        UserError: it cannot be listed.
    """
    if path.startswith("s3://"):
        store = open_store(path)
        return store.list(), store.read
    folder = Path(path).expanduser()
    return _local_keys(folder, wanted), partial(_read_local, folder)


def image_keys(keys: Iterable[str]) -> list[str]:
    """Those of ``keys`` that are image files by their extension, without hidden files and those in hidden folders."""
    extensions = image_extensions()
    return [key for key in keys if Path(key).suffix.lower() in extensions and not _hidden(key)]


def _hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))


def _local_keys(folder: Path, wanted: str) -> list[str]:
    """Every file under ``folder`` and, ending with a slash, every folder directly in it, as S3 would list
    them."""
    if not folder.exists():
        raise UserError(f"there is no folder {folder}; check data.path.")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give {wanted}.")

    def stop(error: OSError) -> None:
        raise error

    try:
        keys = []
        for child in sorted(folder.iterdir()):
            keys.append(f"{child.name}/" if child.is_dir() else child.name)
            for parent, _, names in os.walk(child, onerror=stop) if child.is_dir() else ():
                keys += [(Path(parent) / name).relative_to(folder).as_posix() for name in names]
        return keys
    except OSError as error:
        raise UserError(
            f"cannot list {shown(str(error.filename))}: {error.strerror}; check its permissions."
        ) from error


def _read_local(folder: Path, key: str) -> bytes:
    return (folder / key).read_bytes()


def image_extensions() -> set[str]:
    """The file name extensions that Pillow registers, without those of formats it only writes (such as
    .pdf)."""
    readable = {"MPO"}  # opened by the JPEG reader
    extensions = Image.registered_extensions()
    readable.update(Image.OPEN)
    return {extension for extension, format_ in extensions.items() if format_ in readable}


def check_contributors(names: Iterable[str], where: str, advice: str) -> None:
    """Raise UserError unless there are two contributors or more, with names that can be stored."""
    names = sorted(names)
    if len(names) < 2:
        found = f"only {shown(names[0])} was found" if names else "none was found"
        raise UserError(f"{where} must hold images of at least two contributors, but {found}: {advice}.")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"the contributor name {shown(name)} in {where} is not valid UTF-8: rename it.") from error


def dataset_from_files(files: list[ImageFile], config: DataConfig, **facts: int | str) -> ContributorDataset:
    """Read, convert and encode all files.

    Raises:
        UserError: images that cannot be read, all of them in one error; with ``config.skip_bad_images`` only
            if a contributor has no other.
    """
    with ThreadPoolExecutor(_THREADS) as pool, warnings.catch_warnings():
        # Pillow only warns of an image that may be made to fill the memory.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        results = list(
            track(
                pool.map(partial(_encode, config=config), files),
                description="Reading images",
                total=len(files),
                console=Console(stderr=True),
                transient=True,
            )
        )

    records = [result for result in results if isinstance(result, ImageRecord)]
    bad = [
        f"{shown(file.name)} ({result})" for file, result in zip(files, results, strict=True) if isinstance(result, str)
    ]
    if bad and not config.skip_bad_images:
        raise UserError(
            f"{len(bad):,} of {len(files):,} images cannot be read: {_listed(bad)}; mend or remove them, or "
            "leave them out with --skip-bad-images."
        )
    lost = sorted({file.contributor for file in files} - {record.contributor for record in records})
    if lost:
        raise UserError(
            f"no image of {_some(lost)} can be read (unreadable images: {_listed(bad)}): mend the images or "
            "remove the contributor."
        )
    for description in bad:
        _log.warning("skipped %s", description)
    source = {"source": config.source, "path": config.path, **facts}
    return ContributorDataset.from_records(records, source, n_skipped=len(bad))


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - _NAMED:,} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more


def _some(contributors: list[str]) -> str:
    plural = "s" if len(contributors) > 1 else ""
    return f"contributor{plural} {_listed([shown(name) for name in contributors])}"


def _encode(file: ImageFile, config: DataConfig) -> ImageRecord | str:
    """The record of a file, or the reason why it cannot be read."""
    try:
        data = file.read()
        if data is None:
            return "there is no such file"
        image = decode(data, config.mode, config.resolution)
    except UserError:
        raise  # the store, not the image
    except FileNotFoundError:
        return "there is no such file"
    except UnidentifiedImageError:
        return "not an image that Pillow can read"
    except Exception as error:  # Pillow's readers raise nearly anything when a file is damaged
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ImageRecord.encode(file.contributor, image, file.label, file.caption)


def decode(data: bytes, mode: str, resolution: int) -> Image.Image:
    """Decode an image file and bring it to a square of ``resolution`` pixels in ``mode`` (L or RGB).

    The first frame of an animation is taken, the EXIF orientation applied, transparency laid on white, the
    centre square cut out and resized with Pillow's Lanczos filter, which averages over the area when it
    makes an image smaller. An image that has the size and mode already keeps its pixels. 16-bit grey (also
    when Pillow holds it in 32 bits) is scaled to 8; floating point images count as 0..1 if no pixel
    exceeds 1, and else as 0..255.

    Raises:
        Exception: of nearly any type, if the data are no image, damaged, or a decompression bomb.
    """
    image: Image.Image = Image.open(io.BytesIO(data))
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    # Cut out before it is resized: ImageOps.fit would let the pixels around the square into its edge.
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bit(image)
    elif image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode).resize((resolution, resolution), Image.Resampling.LANCZOS)


def _eight_bit(image: Image.Image) -> Image.Image:
    values: np.ndarray = np.asarray(image, np.float32)
    if image.mode != "F":
        values = values / 257  # 65,535 becomes 255
    elif np.nanmax(values) <= 1:
        values = values * 255
    return Image.fromarray(np.round(np.nan_to_num(values).clip(0, 255)).astype(np.uint8))
