"""scikit-learn's digits as a contributor data set."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources import load_source
from shapley_core.errors import UserError


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


def dirichlet(**settings: float) -> ContributorDataset:
    return load_source(DataConfig(source="digits", resolution=8, mode="L", digits={"split": "dirichlet", **settings}))


def class_counts(dataset: ContributorDataset) -> np.ndarray:
    assert dataset.labels is not None
    by_fingerprint = sorted(dataset.contributors, key=lambda name: dataset.fingerprints[name])
    counts = np.zeros((len(by_fingerprint), 10), dtype=int)
    owners = np.repeat(np.arange(len(by_fingerprint)), [dataset.n_images[name] for name in by_fingerprint])
    np.add.at(counts, (owners, dataset.labels), 1)
    return counts


@pytest.mark.parametrize(("n", "concentration"), [(2, 0.1), (20, 0.1), (100, 1.0)])
def test_a_dirichlet_split_deals_every_image_to_one(n: int, concentration: float) -> None:
    dataset = dirichlet(n_contributors=n, concentration=concentration)
    width = len(str(n))
    assert dataset.contributors == tuple(f"contributor {i:0{width}d}" for i in range(1, n + 1))
    counts = class_counts(dataset)
    np.testing.assert_array_equal(counts.sum(axis=0), np.bincount(load_digits().target))
    assert counts.sum(axis=1).min() >= 10
    whole = load_source(DataConfig(source="digits", resolution=8, mode="L"))
    np.testing.assert_array_equal(in_order(dataset.images()), in_order(whole.images()))


def test_the_concentration_says_how_many_share_a_digit() -> None:
    # E[sum of squared shares] = (c + 1) / (n c + 1) of a symmetric Dirichlet distribution of n shares: 0.37 and 0.055.
    for concentration, expected, tolerance in ((0.1, 1.1 / 3, 0.1), (10.0, 11 / 201, 0.005)):
        counts = np.concatenate(
            [class_counts(dirichlet(concentration=concentration, seed=s)) for s in range(5)], axis=1
        )
        shares = counts / counts.sum(axis=0)
        assert abs((shares**2).sum(axis=0).mean() - expected) < tolerance


def test_a_dirichlet_split_is_as_its_seed_says() -> None:
    first, again, other = dirichlet(), dirichlet(), dirichlet(seed=1)
    assert first.fingerprints == again.fingerprints
    assert not set(first.fingerprints.values()) & set(other.fingerprints.values())


def test_a_dirichlet_split_that_leaves_somebody_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"each of 100 contributors 10 digits: lower data\.digits\.n_contributors"):
        dirichlet(n_contributors=100, concentration=0.01)


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
