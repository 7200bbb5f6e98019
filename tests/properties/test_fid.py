"""FID against closed forms and against the definition with scipy's matrix root."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from shapley_core.config import PropertyConfig, resolve
from shapley_core.errors import UserError
from shapley_core.properties import get_property
from shapley_core.properties.fid import FID, Normal, fid, frechet_distance

RNG = np.random.default_rng(0)


def by_the_definition(a, b):
    """Means, covariances and a matrix root, as the formula says."""
    root = sqrtm(np.cov(a.T) @ np.cov(b.T))
    gap = a.mean(0) - b.mean(0)
    return gap @ gap + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root.real)


def normal(mean, covariance):
    return Normal(np.asarray(mean, float), np.linalg.cholesky(np.asarray(covariance, float)).T)


@pytest.mark.parametrize(("n_a", "n_b", "d"), [(50, 70, 5), (200, 40, 30), (31, 400, 30)])
def test_points_of_full_rank_by_the_definition(n_a, n_b, d):
    a = RNG.normal(size=(n_a, d)) @ RNG.normal(size=(d, d))
    b = RNG.normal(size=(n_b, d)) @ RNG.normal(size=(d, d)) + RNG.normal(size=d)
    assert frechet_distance(Normal.of(a), Normal.of(b)) == pytest.approx(by_the_definition(a, b), rel=1e-9)


@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.parametrize("n", [2, 5, 20])
def test_fewer_points_than_dimensions(n):
    """A covariance without full rank: the definition's root is only as good as half of the digits."""
    a, b = RNG.normal(size=(n, 20)), RNG.normal(size=(n + 3, 20)) + 1
    found = frechet_distance(Normal.of(a), Normal.of(b))
    assert len(Normal.of(a).factor) == n
    assert found == pytest.approx(by_the_definition(a, b), abs=1e-5)


def test_in_one_dimension():
    # (m1 - m2)² + (s1 - s2)²
    assert frechet_distance(normal([3], [[4]]), normal([-1], [[25]])) == pytest.approx(4**2 + (2 - 5) ** 2)


def test_covariances_that_commute():
    rotation = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    first, second = np.array([1.0, 4, 9, 16]), np.array([9.0, 1, 25, 4])
    a, b = (normal(np.zeros(4), rotation * variances @ rotation.T) for variances in (first, second))
    assert frechet_distance(a, b) == pytest.approx(((np.sqrt(first) - np.sqrt(second)) ** 2).sum())


def test_two_by_two_in_closed_form():
    # Tr (S1 S2)^(1/2) = sqrt(Tr(S1 S2) + 2 sqrt(det S1 S2)) for two dimensions.
    s1, s2 = np.array([[2, 1], [1, 3]]), np.array([[5, -2], [-2, 1]])
    root = np.sqrt(np.trace(s1 @ s2) + 2 * np.sqrt(np.linalg.det(s1 @ s2)))
    assert frechet_distance(normal([0, 0], s1), normal([0, 0], s2)) == pytest.approx(np.trace(s1 + s2) - 2 * root)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 6), st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_it_is_a_distance_that_moves_and_turns_do_not_change(n_a, n_b, d, seed, log_scale):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n_a, d)), rng.normal(size=(n_b, d)) * 10**log_scale
    distance = frechet_distance(Normal.of(a), Normal.of(b))
    size = frechet_distance(Normal.of(a), Normal.of(np.zeros((2, d)))) + (b**2).sum()
    assert distance >= 0
    assert frechet_distance(Normal.of(a), Normal.of(a)) <= 1e-9
    assert frechet_distance(Normal.of(b), Normal.of(a)) == pytest.approx(distance, abs=1e-9 * size)
    rotation, move = np.linalg.qr(rng.normal(size=(d, d)))[0], rng.normal(size=d)
    turned = frechet_distance(Normal.of(a @ rotation + move), Normal.of(b @ rotation + move))
    assert turned == pytest.approx(distance, abs=1e-9 * size)
    assert frechet_distance(Normal.of(a), Normal.of(a + move)) == pytest.approx(move @ move)


class Pixels:
    """An embedder that sees the pixels as they are."""

    def embeddings(self, images):
        return images.reshape(len(images), -1).astype(np.float64)


def test_between_two_sets_of_images():
    a, b = RNG.integers(0, 256, (90, 3, 3, 1), dtype=np.uint8), RNG.integers(50, 200, (60, 3, 3, 1), dtype=np.uint8)
    expected = by_the_definition(a.reshape(90, 9).astype(float), b.reshape(60, 9).astype(float))
    assert fid(a, b, Pixels()) == pytest.approx(expected)
    assert fid(a, a[::-1], Pixels()) == pytest.approx(0, abs=1e-6)


def test_the_property_is_the_distance_to_the_training_images(digits, tmp_path):
    config = PropertyConfig(name="fid", classifier_steps=100)
    facts = FID.fit(digits, digits.images()[:9], config, 0, tmp_path)
    assert get_property("fid") is FID
    first, second = (FID.load(tmp_path, config) for _ in range(2))
    images = digits.images()
    embedder = first.embedder
    assert facts == {"feature_dimensions": embedder.embeddings(images[:2]).shape[1]}
    half = images[::2]
    assert first.score(half) == second.score(half) == pytest.approx(fid(half, images, embedder), rel=1e-9)
    # Nearest to the training images: they themselves; then half of them; one class; noise.
    noise = RNG.integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    scores = [first.score(some) for some in (images, half, images[digits.labels == 3], noise)]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(0, abs=1e-6 * scores[-1])
    assert scores[1] < 0.1 * scores[2]


def test_nobody_is_paid_for_a_distance():
    assert resolve("digits", {"property.name": "fid"}).payout.pool is None
    resolve("digits", {"property.also": ["fid"], "payout.pool": 100})
    with pytest.raises(UserError, match=r"payout\.pool cannot be shared out by fid: the lower, the better"):
        resolve("digits", {"property.name": "fid", "payout.pool": 100})


def test_each_image_has_its_distance_to_the_training_images(digits, tmp_path):
    config = PropertyConfig(name="fid", classifier_steps=30)
    FID.fit(digits, digits.images()[:9], config, 0, tmp_path)
    measured = FID.load(tmp_path, config)
    points = measured.embedder.embeddings(digits.images())
    expected = [np.sqrt(((point - points.mean(0)) ** 2).sum()) for point in points[:20]]
    assert measured.per_image(digits.images()[:20]) == pytest.approx(expected)
