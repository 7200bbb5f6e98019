"""Inception Score (Salimans et al., arXiv 1606.03498; paper eq. 7).

    IS = exp( E_x KL( p(y|x) || p(y) ) )

p(y|x) is a classifier's softmax for a generated image, p(y) its mean over the images; one split. It lies between 1 and
the number of classes: high when every image is clearly of one class and all classes are equally common.

The paper's classifier is Inception v3, trained on ImageNet. The default here is one that is trained on the data itself.
"""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from scipy.special import entr

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.properties.base import Floats, ImageClassifier, Images, PerImage
from shapley_core.properties.classifier import fit_classifier, load_classifier
from shapley_core.properties.pinned import check_pinned, pin_weights
from shapley_core.weights import fetch_weights_file

_INCEPTION = "inception"


def inception_score(probabilities: Floats) -> float:
    """IS of class probabilities (N, K); rows sum to one."""
    p = np.clip(probabilities, 1e-16, None)
    marginal = p.mean(axis=0)
    return float(np.exp((p * (np.log(p) - np.log(marginal))).sum(axis=1).mean()))


class InceptionScore:
    """The Inception Score under a classifier."""

    quantity: ClassVar[str] = "entropy of the prediction (nats)"

    def __init__(self, classifier: ImageClassifier) -> None:
        self.classifier = classifier

    @classmethod
    def fit(
        cls, dataset: ContributorDataset, generated: Images, config: PropertyConfig, seed: int, folder: Path
    ) -> dict[str, float]:
        """Train the classifier, or note which pretrained one it is; tells the score of the training images.

        For a trained one tells its accuracy on images it has not seen, too.
        """
        if config.classifier == "imagenet":
            pin_weights(folder, _INCEPTION, fetch_weights_file(config.inception_weights))
            return {"training_images": cls.load(folder, config).score(dataset.images())}
        classifier, accuracy = fit_classifier(dataset, config.classifier_steps, seed, folder)
        return {
            "training_images": cls(classifier).score(dataset.images()),
            "classifier_accuracy": accuracy,
            "classifier_classes": classifier.head.out_features,
        }

    @classmethod
    def load(cls, folder: Path, config: PropertyConfig) -> Self:
        """Read the classifier."""
        if config.classifier == "data":
            return cls(load_classifier(folder))
        from shapley_core.properties.inception import load_inception  # here, because it needs torchvision

        weights = fetch_weights_file(config.inception_weights)
        check_pinned(folder, _INCEPTION, weights)
        return cls(load_inception(weights))

    def score(self, images: Images) -> float:
        """IS of the images, one split."""
        return inception_score(self.classifier.probabilities(images))

    def per_image(self, images: Images) -> PerImage:
        """Entropy of p(y|x) of each image, in nats: 0 where the classifier is certain of the class."""
        return np.asarray(entr(self.classifier.probabilities(images)).sum(axis=1))
