"""ImageNet's Inception v3: preprocessing by hand, weights, and what to do without torchvision.

The network itself is a small one in torchvision's place: torchvision does not load beside torch for the CPU.
"""

import sys
from types import ModuleType

import numpy as np
import pytest
import tiny_networks
import torch
from safetensors.torch import save_file
from torch.nn import functional

from shapley_core.config import PropertyConfig
from shapley_core.errors import UserError
from shapley_core.properties import check_requirements
from shapley_core.properties.diversity import Diversity
from shapley_core.properties.inception import load_inception, prepare_input
from shapley_core.properties.inception_score import InceptionScore, inception_score
from shapley_core.stages.keeping import folder_digest

RNG = np.random.default_rng(0)
IMAGES = np.clip(RNG.normal(RNG.integers(0, 256, (70, 1, 1, 3)), 30, (70, 12, 12, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def torchvision(monkeypatch):
    """torchvision with a small network of that name."""
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", tiny_networks.torchvision_models())


def save_weights(path, seed=0):
    """Weights as published, those of the auxiliary classifier among them."""
    torch.manual_seed(seed)
    network = tiny_networks.TinyInception(aux_logits=True)
    with torch.no_grad():
        network.fc.weight.mul_(9)
    torch.save(network.state_dict(), path)
    return network.eval()


def config(weights, **settings):
    return PropertyConfig(classifier="imagenet", inception_weights=str(weights), **settings)


def grown(pixels, size=299):
    """Bilinear enlargement of (h, w), by the definition: a sample between the middles of its neighbours."""
    for axis in (0, 1):
        n = pixels.shape[axis]
        place = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
        low = np.minimum(place.astype(int), n - 2)
        weight = np.expand_dims(place - low, 1 - axis)
        pixels = np.take(pixels, low, axis) * (1 - weight) + np.take(pixels, low + 1, axis) * weight
    return pixels


def test_images_are_enlarged_bilinearly_and_lie_between_minus_one_and_one():
    found = prepare_input(torch.from_numpy(IMAGES[:2])).numpy()
    assert found.shape == (2, 3, 299, 299)
    for image, channels in zip(IMAGES[:2], found, strict=True):
        for c in range(3):
            np.testing.assert_allclose(channels[c], grown(image[..., c] / 127.5 - 1), atol=1e-5)


def test_ends_of_the_scale_grey_and_images_that_shrink():
    ends = prepare_input(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 320, 320, 1))
    assert ends.shape == (2, 3, 299, 299)
    torch.testing.assert_close(ends.amin((1, 2, 3)), torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(ends.amax((1, 2, 3)), torch.tensor([-1.0, 1.0]))
    # A chessboard of pixels at a fifth of its size is grey, and not a moiré of black and white.
    board = torch.from_numpy((np.indices((1495, 1495)).sum(0) % 2 * 255).astype(np.uint8))[None, :, :, None]
    assert prepare_input(board)[..., 5:-5, 5:-5].abs().max() < 0.15


def test_it_is_what_imagenets_normalisation_becomes_by_transform_input():
    """torchvision normalises pixels by ImageNet's mean and spread, and ``transform_input`` undoes that to -1..1."""
    mean, spread = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = (IMAGES[:1, :1, :1] / 255 - mean) / spread
    transformed = normalised * (spread / 0.5) + (mean - 0.5) / 0.5  # what Inception3._transform_input computes
    flat = torch.from_numpy(IMAGES[:1, :1, :1]).expand(1, 4, 4, 3)
    np.testing.assert_allclose(prepare_input(flat)[0, :, 0, 0], transformed.ravel(), atol=1e-6)


def test_features_and_probabilities_are_the_networks(torchvision, tmp_path):
    network = save_weights(tmp_path / "net.pth")
    inception = load_inception(tmp_path / "net.pth")
    with torch.inference_mode():
        x = prepare_input(torch.from_numpy(IMAGES))
        expected = functional.softmax(network(x).double(), dim=1).numpy()
        features = network.Conv2d_1a_3x3(x).relu().mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(inception.probabilities(IMAGES), expected, atol=1e-6)
    np.testing.assert_allclose(inception.embeddings(IMAGES), features, atol=1e-6)
    assert inception.probabilities(IMAGES).dtype == inception.embeddings(IMAGES).dtype == np.float64


def test_safetensors_without_the_auxiliary_classifier_are_the_same(torchvision, tmp_path):
    network = save_weights(tmp_path / "net.pth")
    kept = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("AuxLogits")}
    save_file(kept, tmp_path / "net.safetensors")
    first, second = (load_inception(tmp_path / name).probabilities(IMAGES) for name in ("net.pth", "net.safetensors"))
    np.testing.assert_array_equal(first, second)


def test_the_inception_score_of_imagenets_classes(torchvision, make_dataset, tmp_path):
    (tmp_path / "reference").mkdir()
    network = save_weights(tmp_path / "net.pth")
    data = make_dataset("RGB", a=([200, 0, 0], None, 9), b=([0, 200, 0], None, 9), c=([0, 0, 200], None, 9))
    check_requirements("inception_score", data, config(tmp_path / "net.pth"))
    facts = InceptionScore.fit(data, IMAGES, config(tmp_path / "net.pth"), 0, tmp_path / "reference")
    measured = InceptionScore.load(tmp_path / "reference", config(tmp_path / "net.pth"))
    with torch.inference_mode():
        p = network(prepare_input(torch.from_numpy(IMAGES))).double().softmax(1).numpy()
    assert measured.score(IMAGES) == pytest.approx(inception_score(p), rel=1e-6)
    assert measured.score(IMAGES) > 1.05
    assert measured.per_image(IMAGES) == pytest.approx(-(p * np.log(p)).sum(axis=1), rel=1e-4)
    assert facts == {"training_images": measured.score(data.images())}
    assert [path.name for path in (tmp_path / "reference").iterdir()] == ["inception.json"]


def test_one_class_is_enough_for_imagenets_classifier(torchvision, make_dataset, tmp_path):
    save_weights(tmp_path / "net.pth")
    data = make_dataset(a=(40, "digit", 3), b=(200, "digit", 3))
    check_requirements("inception_score", data, config(tmp_path / "net.pth"))
    with pytest.raises(UserError, match="at least two classes"):
        check_requirements("inception_score", data, PropertyConfig())


def test_other_weights_are_another_game(torchvision, make_dataset, tmp_path):
    data = make_dataset("RGB", a=([200, 0, 0], None, 4), b=([0, 0, 200], None, 4))
    digests = []
    for seed in (0, 1):
        save_weights(tmp_path / f"net{seed}.pth", seed)
        (tmp_path / f"reference{seed}").mkdir()
        InceptionScore.fit(data, IMAGES, config(tmp_path / f"net{seed}.pth"), 0, tmp_path / f"reference{seed}")
        digests.append(folder_digest(tmp_path / f"reference{seed}"))
    assert digests[0] != digests[1]
    with pytest.raises(UserError, match=r"weights of inception in .*net1\.pth are not those"):
        InceptionScore.load(tmp_path / "reference0", config(tmp_path / "net1.pth"))


def test_inceptions_features_as_an_embedder(torchvision, make_dataset, tmp_path):
    save_weights(tmp_path / "net.pth")
    data = make_dataset("RGB", a=([200, 0, 0], None, 4), b=([0, 0, 200], None, 4))
    settings = config(tmp_path / "net.pth", embedder="inception", n_clusters=2)
    check_requirements("diversity", data, settings)
    (tmp_path / "reference").mkdir()
    facts = Diversity.fit(data, data.images(), settings, 0, tmp_path / "reference")
    measured = Diversity.load(tmp_path / "reference", settings)
    assert facts["training_images"] == measured.score(data.images()) == pytest.approx(np.log(2))


def test_weights_of_another_network_are_told(torchvision, make_dataset, tmp_path):
    torch.save({"conv1.weight": torch.ones(2)}, tmp_path / "resnet.pth")
    with pytest.raises(UserError, match=r"resnet\.pth does not hold the weights of torchvision's Inception v3: it has"):
        check_requirements("inception_score", make_dataset(a=(40, None, 3)), config(tmp_path / "resnet.pth"))
    with pytest.raises(UserError, match=r"property\.inception_weights: there is no file .*missing\.pth with weights"):
        check_requirements("inception_score", make_dataset(a=(40, None, 3)), config(tmp_path / "missing.pth"))


def test_without_torchvision_one_is_told_which_to_install(monkeypatch, make_dataset, tmp_path):
    for name in ("torchvision", "torchvision.models"):
        monkeypatch.setitem(sys.modules, name, None)
    save_weights(tmp_path / "net.pth")
    for settings in ({"name": "inception_score"}, {"name": "fid", "embedder": "inception"}):
        with pytest.raises(UserError, match=r"needs torchvision, which is not installed beside torch 2\.\S+: install"):
            check_requirements(
                settings["name"], make_dataset(a=(40, None, 3)), config(tmp_path / "net.pth", **settings)
            )


def test_a_torchvision_that_does_not_load_is_told(monkeypatch, tmp_path):
    """What PyPI's torchvision does beside torch for the CPU, in the words of torch."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    save_weights(tmp_path / "net.pth")
    with pytest.raises(UserError, match="needs torchvision, which does not load beside torch"):
        load_inception(tmp_path / "net.pth")
