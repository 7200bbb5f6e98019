"""The network of a game's coalitions: the pruned one, or the full architecture where coalitions are retrained."""

from pathlib import Path
from typing import Any

import torch

from shapley_core.config import ValuationConfig
from shapley_core.models.stacked import copies_that_pay
from shapley_core.stages.networks import networks_of
from shapley_core.training.loop import TrainingRun
from shapley_core.training.samples import TrainingSamples
from shapley_core.training.unlearning import gradient_ascent, influence_unlearning, n_batches


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


def unlearned(settings: ValuationConfig, run: TrainingRun, samples: TrainingSamples) -> dict[str, torch.Tensor]:
    """The trained weights of the run's network after it has forgotten the run's rows, if there are any."""
    if not len(run.rows):
        return {name: p.detach().clone() for name, p in run.network.named_parameters() if p.requires_grad}
    ascends = settings.game.coalition_model == "gradient_ascent"
    method = gradient_ascent if ascends else influence_unlearning
    return method(run, samples, settings.unlearning, settings.noise_schedule)


def forgetting_steps(settings: ValuationConfig, n_removed: float) -> int:
    """Gradients that it takes to forget so many images."""
    config = settings.unlearning
    batches = n_batches(config, n_removed)
    return batches if settings.game.coalition_model == "gradient_ascent" else batches + config.fisher_batches


def coalitions_at_once(settings: ValuationConfig, network: Any) -> int:
    """How many coalitions are trained together as one network; those that forget, each by itself."""
    if settings.game.unlearns:
        return 1
    training = settings.coalition_training()
    if training.optimizer == "adam8bit":  # its state is rounded in blocks, which would reach from one into the next
        return 1
    return settings.run.copies or copies_that_pay(network, training.batch_size)
