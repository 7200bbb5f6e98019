"""scikit-learn's digits as a contributor data set."""

from pathlib import Path

import numpy as np
import pytest
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


@pytest.mark.parametrize("parts", [2, 7, 50])
def test_several_contributors_share_a_digit(parts: int) -> None:
    whole = load_source(DataConfig(source="digits", resolution=8, mode="L"))
    split = load_source(DataConfig(source="digits", resolution=8, mode="L", digits={"contributors_per_digit": parts}))
    assert len(split.contributors) == 10 * parts
    for digit in range(10):
        names = [f"digit {digit}, part {part}" for part in range(1, parts + 1)]
        sizes = [split.n_images[name] for name in names]
        assert sum(sizes) == whole.n_images[f"digit {digit}"] and max(sizes) - min(sizes) <= 1
        together = np.concatenate([split.images([name]) for name in names])
        np.testing.assert_array_equal(in_order(together), in_order(whole.images([f"digit {digit}"])))
    assert split.label_names == whole.label_names


def in_order(images: np.ndarray) -> np.ndarray:
    rows = images.reshape(len(images), -1)
    return rows[np.lexsort(rows.T)]


def test_digits_in_another_resolution_and_mode() -> None:
    small = load_source(DataConfig(source="digits", resolution=8, mode="L"))
    large = load_source(DataConfig(source="digits", resolution=16, mode="RGB"))
    images = large.images()
    assert images.shape == (1797, 16, 16, 3)
    assert (images == images[..., :1]).all()
    assert abs(images.mean() - small.images().mean()) < 1
    assert not set(large.fingerprints.values()) & set(small.fingerprints.values())
