"""Diversity: clusters and entropy by hand, and on real digits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shapley_core.config import PropertyConfig, resolve
from shapley_core.errors import UserError
from shapley_core.properties import check_requirements
from shapley_core.properties.diversity import Clusters, Diversity

CONFIG = PropertyConfig(name="diversity", classifier_steps=300, n_clusters=10)
#: Three clouds of points on a line, of two, three and one.
LINE = np.array([[0.0], [1.0], [10.0], [11.0], [12.0], [40.0]])


def test_wards_method_finds_the_clouds():
    clusters = Clusters.ward(LINE, 3)
    assert {tuple(np.flatnonzero(row)) for row in clusters.members} == {(0, 1), (2, 3, 4), (5,)}


def test_a_point_belongs_to_the_cluster_whose_members_are_nearest_on_average():
    clusters = Clusters(LINE, np.array([[1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1]], dtype=bool))
    # Mean distances of 22: to the five (22 + 21 + 12 + 11 + 10) / 5 = 15.2, to the one 18; of 25 they are 18.2 and 15.
    points = np.array([[22.0], [22.0], [25.0], [22.0]])
    assert clusters.nearest(points).tolist() == [0, 0, 1, 0]
    assert clusters.shares(points) == pytest.approx([0.75, 0.25])


def test_fewer_different_points_than_clusters_give_fewer_clusters():
    assert len(Clusters.ward(np.repeat(LINE[:2], 4, axis=0), 5).members) == 2


points = hnp.arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 3)), elements=st.floats(-9, 9, width=16))


@given(points, st.integers(1, 12))
def test_clusters_are_a_partition_and_shares_sum_to_one(cloud, n_clusters):
    clusters = Clusters.ward(cloud, n_clusters)
    assert (clusters.members.sum(axis=0) == 1).all()
    assert 1 <= len(clusters.members) <= max(n_clusters, 1)
    assert clusters.members.any(axis=1).all()
    shares = clusters.shares(cloud)
    assert shares.sum() == pytest.approx(1)
    assert clusters.shares(cloud[::-1]) == pytest.approx(shares)


@pytest.fixture(scope="module")
def fitted(digits, tmp_path_factory):
    """Clusters of the digits themselves, as if a perfect model had made them: facts and folder."""
    folder = tmp_path_factory.mktemp("clusters")
    return Diversity.fit(digits, digits.images()[::3], CONFIG, 0, folder), folder


def test_all_digits_are_more_diverse_than_some_and_some_more_than_one(fitted, digits):
    facts, folder = fitted
    measured = Diversity.load(folder, CONFIG)
    images, labels = digits.images(), digits.labels
    everything, half = measured.score(images), measured.score(images[labels < 5])
    assert facts["training_images"] == everything
    assert facts["clusters"] == CONFIG.n_clusters
    assert everything == pytest.approx(np.log(10), abs=0.15)
    assert half < everything - 0.4
    # The score is the entropy of how often each cluster is told.
    ids = measured.per_image(images)
    assert np.issubdtype(ids.dtype, np.integer)
    p = np.unique_counts(ids).counts / len(images)
    assert -(p * np.log(p)).sum() == pytest.approx(everything)
    assert max(measured.score(images[labels == digit]) for digit in range(10)) < half


def test_another_process_reads_the_same_clusters(fitted, digits):
    images = digits.images()[::5]
    first, second = (Diversity.load(fitted[1], CONFIG) for _ in range(2))
    assert first.score(images) == second.score(images)
    # Images of one kind only: certain, so no entropy.
    assert first.score(np.repeat(images[:1], 7, axis=0)) == 0


def test_it_needs_two_classes_and_as_many_images_as_clusters(make_dataset):
    with pytest.raises(UserError, match="at least two classes"):
        check_requirements("diversity", make_dataset(a=(40, "digit", 3), b=(200, "digit", 3)), CONFIG)
    with pytest.raises(UserError, match=r"property\.n_clusters 20 must not exceed the 16 images generated"):
        resolve("digits", {"property.also": ["diversity"], "generation.n_images": 16})
    with pytest.raises(UserError, match="named twice in diversity, diversity"):
        resolve("digits", {"property.name": "diversity", "property.also": ["diversity"]})
