"""What a kind of network must be able to do; each is a module with these functions."""

from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from shapley_core.config import ValuationConfig


class Networks(Protocol):
    """Functions on the networks of a family. A folder is that of a trained or pruned model."""

    def fresh(self, settings: ValuationConfig, folder: Path, seed: int) -> Any:
        """An untrained network, full-sized; what it is built on stands in ``folder``."""

    def load(self, folder: Path) -> Any:
        """The network of a model's folder.

        Raises:
            UserError: there is none, or a broken one.
        """

    def save(self, network: Any, folder: Path, removed: Any = None) -> None:
        """Write the network; ``removed`` is what :meth:`prune` returned."""

    def untrained(self, network: Any, seed: int) -> Any:
        """The same architecture, pruned or not, before any training."""

    def prune(self, network: Any, settings: ValuationConfig) -> Any:
        """Prune in place as the configuration says; returns what loading needs to know of it, if anything."""


def n_trained(network: nn.Module) -> int:
    """Number of scalars that are trained."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def save_trained(network: nn.Module, path: Path) -> None:
    """Write the trained weights alone."""
    save_file({name: p.detach().contiguous() for name, p in network.named_parameters() if p.requires_grad}, path)


def load_trained(network: nn.Module, weights: Path | dict[str, torch.Tensor]) -> None:
    """Give the network its trained weights, all of them, in place.

    Raises:
        ValueError: there are others, or some are missing.
    """
    state = load_file(weights) if isinstance(weights, Path) else weights
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    if trained != set(state):
        raise ValueError(f"the weights belong to another network: {sorted(trained ^ set(state))[:3]}")
    network.load_state_dict(state, strict=False)
