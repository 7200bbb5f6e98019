"""Data sets that properties are fitted to."""

import numpy as np
import pytest
from PIL import Image

from shapley_core.config import resolve
from shapley_core.data.dataset import ContributorDataset, ImageRecord
from shapley_core.data.sources import load_source


@pytest.fixture(scope="session")
def digits():
    return load_source(resolve("digits").data)


@pytest.fixture(scope="session")
def make_dataset():
    """A data set of noisy flat images: colour, label (or None) and number of images of each contributor."""

    def make(mode="L", **contributors):
        rng, records = np.random.default_rng(0), []
        for name, (colour, label, n_images) in contributors.items():
            for _ in range(n_images):
                shape = (8, 8) if mode == "L" else (8, 8, 3)
                pixels = np.clip(rng.normal(colour, 10, shape), 0, 255).astype(np.uint8)
                records.append(ImageRecord.encode(name, Image.fromarray(pixels), label=label))
        return ContributorDataset.from_records(records, {})

    return make
