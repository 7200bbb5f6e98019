"""The Inception Score: its formula, and its classifier on real images."""

import networks
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shapley_core.config import PropertyConfig, resolve
from shapley_core.errors import UserError
from shapley_core.properties import check_requirements, classifier
from shapley_core.properties.diversity import Diversity
from shapley_core.properties.fid import FID
from shapley_core.properties.inception_score import InceptionScore, inception_score

STEPS = 300


def config(steps=STEPS):
    return PropertyConfig(classifier_steps=steps)


@pytest.mark.parametrize("n_classes", [1, 2, 10])
def test_every_class_for_certain_and_equally_often_scores_the_number_of_classes(n_classes):
    assert inception_score(np.tile(np.eye(n_classes), (3, 1))) == pytest.approx(n_classes)


def test_a_model_of_one_image_scores_one():
    assert inception_score(np.tile([[0.2, 0.5, 0.3]], (7, 1))) == pytest.approx(1)
    assert inception_score(np.tile([[0.0, 1.0, 0.0]], (7, 1))) == pytest.approx(1)


def test_two_images_by_hand():
    # p(y) = (1/2, 1/2), and each KL is 3/4 ln(3/2) + 1/4 ln(1/2) = ln(27/16) / 4.
    assert inception_score(np.array([[3, 1], [1, 3]]) / 4) == pytest.approx((27 / 16) ** 0.25)
    # p(y) = (3/4, 1/4); the KLs are ln(4/3) and 1/2 ln(2/3) + 1/2 ln(2) = 1/2 ln(4/3).
    assert inception_score(np.array([[2, 0], [1, 1]]) / 2) == pytest.approx((4 / 3) ** 0.75)


def test_classes_of_unequal_frequency_score_less():
    # Certain of the class each time, three of one and one of the other: the exponential of the entropy of (3/4, 1/4).
    rows = np.eye(2)[[0, 0, 0, 1]]
    assert inception_score(rows) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))


probabilities = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 8), st.integers(1, 6)), elements=st.floats(0.01, 1)
).map(lambda p: p / p.sum(axis=1, keepdims=True))


@given(probabilities, st.randoms(use_true_random=False))
def test_it_lies_between_one_and_the_classes_and_has_no_order(p, random):
    score = inception_score(p)
    assert 1 - 1e-9 <= score <= min(p.shape) + 1e-9
    rows, columns = list(range(p.shape[0])), list(range(p.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    assert inception_score(p[rows][:, columns]) == pytest.approx(score)
    assert inception_score(np.concatenate([p, p])) == pytest.approx(score)
    # exp(H(p(y)) - E H(p(y|x))): the mutual information of image and class.
    entropy = -(p.mean(0) * np.log(p.mean(0))).sum() + (p * np.log(p)).sum(axis=1).mean()
    assert score == pytest.approx(np.exp(entropy))


@pytest.fixture(scope="module")
def fitted(digits, tmp_path_factory):
    """The classifier of the digits: its facts and its folder."""
    folder = tmp_path_factory.mktemp("classifier")
    return InceptionScore.fit(digits, digits.images(), config(), 0, folder), folder


def test_the_classifier_knows_the_digits(fitted):
    assert resolve("digits").property.classifier_steps >= STEPS
    facts, _ = fitted
    assert facts["classifier_accuracy"] > 0.95
    assert facts["classifier_classes"] == 10


def test_real_digits_score_near_ten_a_single_class_near_one_and_noise_in_between(fitted, digits):
    facts, folder = fitted
    measured = InceptionScore.load(folder, config())
    images, labels = digits.images(), digits.labels
    assert 9.3 < measured.score(images) <= 10
    assert facts["training_images"] == measured.score(images)
    for digit in range(10):
        assert 1 <= measured.score(images[labels == digit]) < 1.2
    assert measured.score(images[labels < 5]) == pytest.approx(5, abs=0.4)
    noise = np.random.default_rng(0).integers(0, 256, (500, 8, 8, 1), dtype=np.uint8)
    assert measured.score(noise) < 6
    # IS = exp(H(p(y)) - mean over the images of H(p(y|x))): real digits are certain, noise is not.
    marginal = measured.classifier.probabilities(noise).mean(axis=0)
    certainty = measured.per_image(noise)
    assert np.exp(-(marginal * np.log(marginal)).sum() - certainty.mean()) == pytest.approx(measured.score(noise))
    assert measured.per_image(images).mean() < 0.1 < certainty.mean()


def test_the_classifier_is_right_about_images_it_gets_from_elsewhere(fitted):
    # Labels and images straight from scikit-learn: neither the order of the data set nor its labels can hide a mistake.
    from sklearn.datasets import load_digits

    measured = InceptionScore.load(fitted[1], config())
    images = torch.from_numpy(networks.digit_images()).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        predicted = measured.classifier(images).argmax(1).numpy()
    assert (predicted == load_digits().target).mean() > 0.95


def test_another_process_reads_the_same_property(fitted, digits):
    images = digits.images()[::3]
    first, second = (InceptionScore.load(fitted[1], config()) for _ in range(2))
    assert first.score(images) == second.score(images)
    assert first.score(images) == pytest.approx(first.score(images[::-1].copy()), rel=1e-9)
    assert [path.name for path in fitted[1].iterdir()] == ["classifier.safetensors"]


def test_a_fit_is_a_function_of_its_seed(make_dataset, tmp_path):
    scores = []
    for folder, seed in (("first", 1), ("second", 1), ("third", 2)):
        (tmp_path / folder).mkdir()
        data = make_dataset(a=(60, None, 9), b=(90, None, 11))
        state = torch.get_rng_state()
        scores.append(InceptionScore.fit(data, data.images(), config(5), seed, tmp_path / folder)["training_images"])
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(len(scores))
    assert scores[0] == scores[1] != scores[2]


def test_properties_of_one_reference_see_with_one_classifier(make_dataset, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(classifier, "uncompiled", lambda adam: trained.append(adam) or adam)
    data = make_dataset(a=(60, None, 9), b=(90, None, 11))
    contents = set()
    for measured in (InceptionScore, Diversity, FID):
        folder = tmp_path / measured.__name__
        folder.mkdir()
        measured.fit(data, data.images(), config(5), 0, folder)
        contents.add((folder / "classifier.safetensors").read_bytes())
    assert len(contents) == len(trained) == 1
    InceptionScore.fit(data, data.images(), config(6), 0, tmp_path)
    InceptionScore.fit(data, data.images(), config(6), 1, tmp_path)
    InceptionScore.fit(make_dataset(a=(60, None, 9), b=(80, None, 9)), data.images(), config(6), 1, tmp_path)
    assert len(trained) == 4


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_without_labels_the_contributors_are_the_classes(mode, make_dataset, tmp_path):
    data = make_dataset(mode, dark=(40, None, 20), light=(200, None, 20), medium=(120, None, 20))
    assert data.labels is None
    check_requirements("inception_score", data, config())
    facts = InceptionScore.fit(data, data.images(), config(60), 0, tmp_path)
    assert facts["classifier_classes"] == 3
    assert facts["classifier_accuracy"] == 1
    measured = InceptionScore.load(tmp_path, config())
    assert measured.score(data.images()) == pytest.approx(3, abs=0.3)
    for name in data.contributors:
        assert measured.score(data.images([name])) == pytest.approx(1, abs=0.1)


def test_labels_come_before_contributors(make_dataset, tmp_path):
    # Three contributors, two labels that cut across them.
    data = make_dataset(a=(40, "dark", 15), b=(50, "dark", 15), c=(200, "light", 30))
    facts = InceptionScore.fit(data, data.images(), config(60), 0, tmp_path)
    assert facts["classifier_classes"] == 2
    assert facts["training_images"] == pytest.approx(2, abs=0.1)


def test_one_class_cannot_be_scored(make_dataset):
    data = make_dataset(a=(40, "digit", 3), b=(200, "digit", 3))
    with pytest.raises(UserError, match=r"at least two classes.*choose another property"):
        check_requirements("inception_score", data, config())
    check_requirements("inception_score", make_dataset(a=(40, "one", 3), b=(200, "two", 3)), config())


def test_two_images_are_enough_to_be_fitted(make_dataset, tmp_path):
    data = make_dataset(a=(40, None, 1), b=(200, None, 1))
    facts = InceptionScore.fit(data, data.images(), config(2), 0, tmp_path)
    assert np.isfinite(list(facts.values())).all()
