"""A small classifier trained on the data itself: the yardstick of properties where no pretrained network can be had.

Its softmax gives the Inception Score its classes, its last layer before that the diversity its embeddings.

The classes are the data's labels; data without labels is classified by contributor. In that case an image that
nobody but its contributor could have made counts as a class of its own: read the values with this in mind.
"""

import logging
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from shapley_core.data.dataset import ContributorDataset
from shapley_core.device import uncompiled
from shapley_core.properties.base import Floats, Images
from shapley_core.seeds import derive_seed

logger = logging.getLogger(__name__)

_FILE = "classifier.safetensors"
_BATCH = 128
_HELD_OUT = 0.2


class Classifier(nn.Module):
    """A small convolutional classifier for images of any size: three convolutions, mean pooling, one linear layer."""

    def __init__(self, channels: int, n_classes: int, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(8 * width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, n_classes) for images (N, C, H, W) in -1..1."""
        logits: torch.Tensor = self.head(self.features(x))
        return logits

    @torch.inference_mode()
    def probabilities(self, images: Images) -> Floats:
        """Softmax (N, n_classes) of images (N, H, W, C), float64."""
        return torch.cat([self(batch) for batch in _batches(images)]).double().softmax(dim=1).numpy()

    @torch.inference_mode()
    def embeddings(self, images: Images) -> Floats:
        """What the last layer sees (N, 8·width) of images (N, H, W, C), float64."""
        return torch.cat([self.features(batch) for batch in _batches(images)]).double().numpy()


def fit_classifier(dataset: ContributorDataset, steps: int, seed: int, folder: Path) -> tuple[Classifier, float]:
    """Train a classifier on four fifths of the training data and keep it in ``folder``.

    Returns:
        The classifier, and its accuracy on the rest of the data.
    """
    classifier, accuracy = _trained(dataset, steps, seed)
    save_file(classifier.state_dict(), folder / _FILE)
    return classifier, accuracy


@lru_cache(maxsize=1)  # several properties of one reference see with the same classifier
def _trained(dataset: ContributorDataset, steps: int, seed: int) -> tuple[Classifier, float]:
    x = _to_tensor(dataset.images())
    y, n_classes = _classes(dataset)
    generator = torch.Generator().manual_seed(derive_seed(seed, "classifier"))
    order = torch.randperm(len(x), generator=generator)
    n_held_out = max(1, round(_HELD_OUT * len(x)))
    held_out, train = order[:n_held_out], order[n_held_out:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "classifier weights"))
        classifier = Classifier(x.shape[1], n_classes)
    optimizer = uncompiled(torch.optim.Adam)(classifier.parameters(), lr=2e-3)
    for _ in range(steps):
        rows = train[torch.randint(len(train), (min(_BATCH, len(train)),), generator=generator)]
        optimizer.zero_grad()
        functional.cross_entropy(classifier(x[rows]), y[rows]).backward()
        optimizer.step()
    with torch.inference_mode():
        accuracy = float((classifier(x[held_out]).argmax(1) == y[held_out]).float().mean())
    logger.info("classifier of %d classes: accuracy %.3f on held-out images", n_classes, accuracy)
    return classifier.eval(), accuracy


def load_classifier(folder: Path) -> Classifier:
    """Read the classifier; its shape is that of its weights."""
    weights = load_file(folder / _FILE)
    classifier = Classifier(weights["features.0.weight"].shape[1], len(weights["head.bias"]))
    classifier.load_state_dict(weights)
    return classifier.eval()


def _batches(images: Images) -> Iterator[torch.Tensor]:
    yield from _to_tensor(images).split(_BATCH)


def _to_tensor(images: Images) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def _classes(dataset: ContributorDataset) -> tuple[torch.Tensor, int]:
    """Class ids (N,) in the order of ``dataset.images()``: the labels, or the contributors where there are none."""
    if dataset.labels is not None:
        return torch.from_numpy(dataset.labels), len(dataset.label_names)
    return torch.from_numpy(dataset.contributor_ids), len(dataset.contributors)
