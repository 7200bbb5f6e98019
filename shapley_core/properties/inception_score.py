"""Inception Score (Salimans et al., arXiv 1606.03498; paper eq. 7) with a classifier trained on the data itself.

    IS = exp( E_x KL( p(y|x) || p(y) ) )

p(y|x) is the classifier's softmax for a generated image, p(y) its mean over the images; one split. It lies between 1
and the number of classes: high when every image is clearly of one class and all classes are equally common.

The classes are the data's labels; data without labels is classified by contributor. In that case an image that
nobody but its contributor could have made counts as diversity: read the values with this in mind.
"""

import logging
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.errors import UserError
from shapley_core.properties.base import Images
from shapley_core.seeds import derive_seed

logger = logging.getLogger(__name__)

_FILE = "classifier.safetensors"
_BATCH = 128
_HELD_OUT = 0.2


def inception_score(probabilities: NDArray[np.float64]) -> float:
    """IS of class probabilities (N, K); rows sum to one."""
    p = np.clip(probabilities, 1e-16, None)
    marginal = p.mean(axis=0)
    return float(np.exp((p * (np.log(p) - np.log(marginal))).sum(axis=1).mean()))


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


class InceptionScore:
    """The Inception Score under a fitted classifier."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier.eval()

    @classmethod
    def check(cls, dataset: ContributorDataset, config: PropertyConfig) -> None:
        """Raise :class:`UserError` where there are fewer than two classes."""
        classes, _ = _classes(dataset)
        if len(classes.unique()) < 2:
            raise UserError(
                "the Inception Score needs at least two classes, but every image has the same label: give labels, "
                "leave them out (the contributors are the classes then), or choose another property"
            )

    @classmethod
    def fit(cls, dataset: ContributorDataset, config: PropertyConfig, seed: int, folder: Path) -> dict[str, float]:
        """Train the classifier on four fifths of the training data, measure its accuracy on the rest, and keep it."""
        x = _to_tensor(dataset.images())
        y, n_classes = _classes(dataset)
        generator = torch.Generator().manual_seed(derive_seed(seed, "classifier"))
        order = torch.randperm(len(x), generator=generator)
        n_held_out = max(1, round(_HELD_OUT * len(x)))
        held_out, train = order[:n_held_out], order[n_held_out:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "classifier weights"))
            classifier = Classifier(x.shape[1], n_classes)
        optimizer = torch.optim.Adam(classifier.parameters(), lr=2e-3)
        for _ in range(config.classifier_steps):
            rows = train[torch.randint(len(train), (min(_BATCH, len(train)),), generator=generator)]
            optimizer.zero_grad()
            functional.cross_entropy(classifier(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.inference_mode():
            accuracy = float((classifier(x[held_out]).argmax(1) == y[held_out]).float().mean())
        logger.info("classifier of the Inception Score: accuracy %.3f on held-out images", accuracy)
        save_file(classifier.state_dict(), folder / _FILE)
        score = cls(classifier.eval()).score(dataset.images())
        return {"training_images": score, "classifier_accuracy": accuracy, "classifier_classes": n_classes}

    @classmethod
    def load(cls, folder: Path, config: PropertyConfig) -> Self:
        """Read the classifier; its shape is that of its weights."""
        weights = load_file(folder / _FILE)
        classifier = Classifier(weights["features.0.weight"].shape[1], len(weights["head.bias"]))
        classifier.load_state_dict(weights)
        return cls(classifier)

    @torch.inference_mode()
    def score(self, images: Images) -> float:
        """IS of the images, one split."""
        logits = torch.cat([self.classifier(batch) for batch in _to_tensor(images).split(_BATCH)])
        return inception_score(logits.double().softmax(dim=1).numpy())


def _to_tensor(images: Images) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def _classes(dataset: ContributorDataset) -> tuple[torch.Tensor, int]:
    """Class ids (N,) in the order of ``dataset.images()``: the labels, or the contributors where there are none."""
    if dataset.labels is not None:
        return torch.from_numpy(dataset.labels), len(dataset.label_names)
    return torch.from_numpy(dataset.contributor_ids), len(dataset.contributors)
