"""scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels, one label per digit class, and a contributor for
each class or for each of ``data.digits.contributors_per_digit`` parts of it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset, ImageRecord

ORIGIN = "scikit-learn, from UCI: Optical Recognition of Handwritten Digits"
LICENCE = "CC BY 4.0"


def load(config: DataConfig) -> ContributorDataset:
    """The digits at ``config.resolution`` (bilinear where it is not 8) and in ``config.mode``; values 0..16
    become 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    records = []
    contributors = _contributors(digits.target, config.digits.contributors_per_digit)
    for grey, digit, contributor in zip(pixels, digits.target, contributors, strict=True):
        image = Image.fromarray(grey).convert(config.mode)
        # Pillow returns the very pixels where the size is already right.
        image = image.resize((config.resolution, config.resolution), Image.Resampling.BILINEAR)
        records.append(ImageRecord.encode(contributor, image, label=str(digit)))
    return ContributorDataset.from_records(records, {"source": "digits", "origin": ORIGIN, "licence": LICENCE})


def _contributors(classes: NDArray[np.int64], per_digit: int) -> list[str]:
    """Who each image is from: of every class the first images of the file are part 1's, the next part 2's.

    Parts of a class differ by one image at most.
    """
    if per_digit == 1:
        return [f"digit {digit}" for digit in classes]
    contributors = np.empty(len(classes), dtype=object)
    for digit in np.unique(classes):
        for part, images in enumerate(np.array_split(np.flatnonzero(classes == digit), per_digit), start=1):
            contributors[images] = f"digit {digit}, part {part}"
    return list(contributors)
