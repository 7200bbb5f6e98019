"""A Hugging Face data set: one saved by ``save_to_disk``, or by its name on the hub.

Which columns hold the image, its contributor and, optionally, label and caption is configured
(``data.hugging_face``). Images are decoded as image files are, not by ``datasets``.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapley_core.config import DataConfig, HuggingFaceConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources.image_folder import ImageFile, check_contributors, dataset_from_files
from shapley_core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset


def load(config: DataConfig) -> ContributorDataset:
    """The images of the split ``config.hugging_face.split`` of the data set ``config.path``.

    Raises:
        UserError: the data set cannot be had, has no such split or column, or a row has no image or contributor.
    """
    import datasets

    settings = config.hugging_face
    dataset = _open(config.path, settings.split)
    _check_columns(dataset, settings, config.path)
    if not isinstance(dataset.features[settings.image], datasets.Image):
        raise UserError(
            f"the column {settings.image} of {config.path} holds no images: set data.hugging_face.image to one "
            "that does."
        )
    images = dataset.cast_column(settings.image, datasets.Image(decode=False))
    contributors = _texts(dataset, settings.contributor, config.path)
    labels = _texts(dataset, settings.label, config.path) if settings.label else [None] * len(dataset)
    captions = _texts(dataset, settings.caption, config.path) if settings.caption else [None] * len(dataset)
    check_contributors(
        set(contributors), f"the data set {config.path}", "choose the column with data.hugging_face.contributor"
    )
    files = [
        ImageFile(contributor, f"row {row}", partial(_read, images, row, settings.image), label, caption)
        for row, (contributor, label, caption) in enumerate(zip(contributors, labels, captions, strict=True))
    ]
    return dataset_from_files(
        files,
        config,
        origin=dataset.info.homepage or config.path,
        licence=dataset.info.license or "not stated in the data set",
        split=settings.split,
    )


def _open(path: str, split: str) -> "Dataset":
    """A split from disk, where there is such a folder, or from the hub or its cache."""
    import datasets

    datasets.disable_progress_bars()
    local = Path(path).expanduser()
    try:
        found = datasets.load_from_disk(str(local)) if local.is_dir() else datasets.load_dataset(path)
    except Exception as error:  # of nearly any type: it may be the hub, the network, the cache or a damaged file
        reason = " ".join(str(error).split())
        raise UserError(
            f"cannot open the data set {path} ({reason}): data.path must be a folder written by save_to_disk, or, with "
            "access to the Hugging Face hub, a name there."
        ) from error
    if isinstance(found, datasets.Dataset):
        return found  # saved as one split
    if split not in found:
        raise UserError(f"the data set {path} has no split '{split}'; {did_you_mean(split, found)}")
    return found[split]


def _check_columns(dataset: "Dataset", settings: HuggingFaceConfig, path: str) -> None:
    for setting in ("image", "contributor", "label", "caption"):
        column = getattr(settings, setting)
        if column and column not in dataset.column_names:
            raise UserError(
                f"the data set {path} has no column '{column}' (data.hugging_face.{setting}); "
                f"{did_you_mean(column, dataset.column_names)}"
            )


def _texts(dataset: "Dataset", column: str, path: str) -> list[str]:
    """A column as text; the numbers of classes as their names."""
    feature, cells = dataset.features[column], dataset[column][:]
    names = getattr(feature, "names", None)
    texts = ["" if cell is None else names[cell] if names else str(cell) for cell in cells]
    empty = next((row for row, text in enumerate(texts) if not text.strip()), None)
    if empty is not None:
        raise UserError(
            f"the column {column} of {path} is empty in row {empty:,}: fill it in, or choose another column."
        )
    return texts


def _read(images: "Dataset", row: int, column: str) -> bytes | None:
    cell: dict[str, Any] | None = images[row][column]
    if cell is None:
        return None
    data: bytes | None = cell["bytes"]
    return Path(cell["path"]).read_bytes() if data is None else data
