"""scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels, one label per digit class.

The file does not say who wrote what, so who is a contributor is a matter of ``data.digits.split``:

* ``by_digit``: each class is a contributor, or several that share it in equal parts. Contributors are of one size and
  one kind; those of one class are substitutes.
* ``dirichlet``: each class is dealt out to all contributors by shares from a Dirichlet distribution, as benchmarks of
  federated learning do (Yurochkin et al., arXiv 1905.12022; Li et al., arXiv 2102.02079). Contributors differ in size
  and in what they have, and overlap in part.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shapley_core.config import DataConfig, DigitsConfig
from shapley_core.data.dataset import ContributorDataset, ImageRecord
from shapley_core.errors import UserError
from shapley_core.seeds import derive_seed

ORIGIN = "scikit-learn, from UCI: Optical Recognition of Handwritten Digits"
LICENCE = "CC BY 4.0"

#: What everybody has at least of a ``dirichlet`` split, which is drawn again until then, as by Li et al.
_MIN_IMAGES = 10
_MAX_DRAWS = 1000


def load(config: DataConfig) -> ContributorDataset:
    """The digits at ``config.resolution`` (bilinear where it is not 8) and in ``config.mode``; values 0..16
    become 0..255.

    Raises:
        UserError: no draw of a ``dirichlet`` split gives everybody ten images.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    records = []
    if config.digits.split == "dirichlet":
        contributors = _dirichlet(digits.target, config.digits)
    else:
        contributors = _by_digit(digits.target, config.digits.contributors_per_digit)
    for grey, digit, contributor in zip(pixels, digits.target, contributors, strict=True):
        image = Image.fromarray(grey).convert(config.mode)
        # Pillow returns the very pixels where the size is already right.
        image = image.resize((config.resolution, config.resolution), Image.Resampling.BILINEAR)
        records.append(ImageRecord.encode(contributor, image, label=str(digit)))
    return ContributorDataset.from_records(records, {"source": "digits", "origin": ORIGIN, "licence": LICENCE})


def _by_digit(classes: NDArray[np.int64], per_digit: int) -> list[str]:
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


def _dirichlet(classes: NDArray[np.int64], config: DigitsConfig) -> list[str]:
    """Who each image is from: every class is cut into stretches of the file, as long as the contributors' shares."""
    n = config.n_contributors
    rng = np.random.default_rng(derive_seed(config.seed, "digits", "dirichlet"))
    owners = np.empty(len(classes), dtype=np.int64)
    for _ in range(_MAX_DRAWS):
        for digit in np.unique(classes):
            images = np.flatnonzero(classes == digit)
            shares = rng.dirichlet(np.full(n, config.concentration))
            ends = np.round(np.cumsum(shares)[:-1] * len(images)).astype(np.int64)
            for owner, stretch in enumerate(np.split(images, ends)):
                owners[stretch] = owner
        if np.bincount(owners, minlength=n).min() >= _MIN_IMAGES:
            width = len(str(n))
            return [f"contributor {owner + 1:0{width}d}" for owner in owners]
    raise UserError(
        f"none of {_MAX_DRAWS} draws gives each of {n} contributors {_MIN_IMAGES} digits: "
        "lower data.digits.n_contributors or raise data.digits.concentration."
    )
