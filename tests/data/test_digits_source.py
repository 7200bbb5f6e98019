"""scikit-learn's digits as a contributor data set."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources import load_source


def test_digits_are_all_there_and_lossless(tmp_path: Path) -> None:
    load_source(DataConfig(source="digits", resolution=8, mode="L")).save(tmp_path)
    dataset = ContributorDataset.load(tmp_path)
    digits = load_digits()
    assert dataset.contributors == tuple(f"digit {d}" for d in range(10))
    assert dataset.label_names == tuple("0123456789")
    assert dataset.n_images == {f"digit {d}": int((digits.target == d).sum()) for d in range(10)}
    for digit in range(10):
        original = digits.images[digits.target == digit].reshape(-1, 64)
        images = dataset.images([f"digit {digit}"])
        assert images.shape[1:] == (8, 8, 1)
        # 16 levels are far apart in 256, so the original values can be had back.
        restored = np.round(images.reshape(-1, 64) / 255 * 16)
        np.testing.assert_array_equal(
            restored[np.lexsort(restored.T)], original[np.lexsort(original.T)], err_msg=f"digit {digit}"
        )
    everybody = dataset.images()
    assert (everybody.min(), everybody.max(), len(everybody)) == (0, 255, 1797)


def test_labels_go_with_the_contributors() -> None:
    dataset = load_source(DataConfig(source="digits", resolution=8, mode="L"))
    by_fingerprint = sorted(dataset.contributors, key=lambda name: dataset.fingerprints[name])
    expected = [int(name.split()[1]) for name in by_fingerprint for _ in range(dataset.n_images[name])]
    assert dataset.labels is not None
    assert dataset.labels.tolist() == expected


def test_digits_in_another_resolution_and_mode() -> None:
    small = load_source(DataConfig(source="digits", resolution=8, mode="L"))
    large = load_source(DataConfig(source="digits", resolution=16, mode="RGB"))
    images = large.images()
    assert images.shape == (1797, 16, 16, 3)
    assert (images == images[..., :1]).all()
    assert abs(images.mean() - small.images().mean()) < 1
    assert not set(large.fingerprints.values()) & set(small.fingerprints.values())
