"""The network of a game's coalitions: the pruned one, or the full architecture where coalitions are retrained."""

from pathlib import Path
from typing import Any

from shapley_core.config import ValuationConfig
from shapley_core.models.stacked import copies_that_pay
from shapley_core.stages.networks import networks_of


def coalition_network(settings: ValuationConfig, pruned: Path) -> Any:
    """A network of the coalitions' architecture; the trained and pruned one where coalitions are fine-tuned."""
    networks = networks_of(settings)
    return networks.fresh(settings, pruned, seed=0) if settings.game.retrains else networks.load(pruned)


def untrained_network(settings: ValuationConfig, network: Any, seed: int) -> Any:
    """The network of the null coalition: the same architecture before any training."""
    return networks_of(settings).untrained(network, seed)


def starting_network(settings: ValuationConfig, network: Any, seed: int) -> Any:
    """The network that the training of a coalition with this seed starts from."""
    return untrained_network(settings, network, seed) if settings.game.retrains else network


def coalitions_at_once(settings: ValuationConfig, network: Any) -> int:
    """How many coalitions are trained together as one network."""
    training = settings.coalition_training()
    if training.optimizer == "adam8bit":  # its state is rounded in blocks, which would reach from one into the next
        return 1
    return settings.run.copies or copies_that_pay(network, training.batch_size)
