"""The embedder that the configuration chooses, made once for a valuation and read back for every coalition."""

from pathlib import Path

from shapley_core.config import PropertyConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.properties.base import Embedder
from shapley_core.properties.classifier import fit_classifier, load_classifier
from shapley_core.properties.embedder_weights import embedder_folder
from shapley_core.properties.pinned import check_pinned, pin_weights
from shapley_core.weights import fetch_weights_file


def fit_embedder(dataset: ContributorDataset, config: PropertyConfig, seed: int, folder: Path) -> Embedder:
    """Train the embedder, or note in ``folder`` which pretrained one it is."""
    if config.embedder == "classifier":
        return fit_classifier(dataset, config.classifier_steps, seed, folder)[0]
    weights = embedder_weights(config)
    pin_weights(folder, config.embedder, weights)
    return _pretrained(config.embedder, weights)


def load_embedder(folder: Path, config: PropertyConfig) -> Embedder:
    """The embedder that was fitted to ``folder``.

    Raises:
        UserError: its weights are not there any more, or are others.
    """
    if config.embedder == "classifier":
        return load_classifier(folder)
    weights = embedder_weights(config)
    check_pinned(folder, config.embedder, weights)
    return _pretrained(config.embedder, weights)


def embedder_weights(config: PropertyConfig) -> Path:
    """Where the weights of a pretrained embedder are, a file or a folder, after fetching them where need be."""
    if config.embedder == "inception":
        return fetch_weights_file(config.inception_weights)
    return embedder_folder(config.embedder, config.embedder_weights)


def _pretrained(network: str, weights: Path) -> Embedder:
    # Imported here, because neither needs what the other does.
    if network == "inception":
        from shapley_core.properties.inception import load_inception

        return load_inception(weights)
    from shapley_core.properties.vision_transformers import VisionTransformer

    return VisionTransformer(network, weights)
