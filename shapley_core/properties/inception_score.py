"""Inception Score (Salimans et al., arXiv 1606.03498; paper eq. 7) with a classifier trained on the data itself.

    IS = exp( E_x KL( p(y|x) || p(y) ) )

p(y|x) is the classifier's softmax for a generated image, p(y) its mean over the images; one split. It lies between 1
and the number of classes: high when every image is clearly of one class and all classes are equally common.
"""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.properties.base import Images, PerImage
from shapley_core.properties.classifier import Classifier, fit_classifier, load_classifier


def inception_score(probabilities: NDArray[np.float64]) -> float:
    """IS of class probabilities (N, K); rows sum to one."""
    p = np.clip(probabilities, 1e-16, None)
    marginal = p.mean(axis=0)
    return float(np.exp((p * (np.log(p) - np.log(marginal))).sum(axis=1).mean()))


class InceptionScore:
    """The Inception Score under a fitted classifier."""

    quantity: ClassVar[str] = "entropy of the prediction (nats)"

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    @classmethod
    def fit(
        cls, dataset: ContributorDataset, generated: Images, config: PropertyConfig, seed: int, folder: Path
    ) -> dict[str, float]:
        """Train the classifier; tells its accuracy on images it has not seen, and the score of the training images."""
        classifier, accuracy = fit_classifier(dataset, config.classifier_steps, seed, folder)
        return {
            "training_images": cls(classifier).score(dataset.images()),
            "classifier_accuracy": accuracy,
            "classifier_classes": classifier.head.out_features,
        }

    @classmethod
    def load(cls, folder: Path, config: PropertyConfig) -> Self:
        """Read the classifier."""
        return cls(load_classifier(folder))

    def score(self, images: Images) -> float:
        """IS of the images, one split."""
        return inception_score(self.classifier.probabilities(images).numpy())

    def per_image(self, images: Images) -> PerImage:
        """Entropy of p(y|x) of each image, in nats: 0 where the classifier is certain of the class."""
        return np.asarray(entropy(self.classifier.probabilities(images).numpy(), axis=1))
