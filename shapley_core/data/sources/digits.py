"""scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels, one contributor and label per digit
class."""

import numpy as np
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
    for grey, digit in zip(pixels, digits.target, strict=True):
        image = Image.fromarray(grey).convert(config.mode)
        # Pillow returns the very pixels where the size is already right.
        image = image.resize((config.resolution, config.resolution), Image.Resampling.BILINEAR)
        records.append(ImageRecord.encode(f"digit {digit}", image, label=str(digit)))
    return ContributorDataset.from_records(records, {"source": "digits", "origin": ORIGIN, "licence": LICENCE})
