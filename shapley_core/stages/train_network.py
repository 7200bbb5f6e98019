"""Training that stands in the store while it goes on: of the full model, the pruned one, and an own base model."""

from shapley_core.config import TrainingConfig
from shapley_core.stages.keeping import ModelTask
from shapley_core.stages.networks.base import load_trained
from shapley_core.training.loop import DiffusionTrainer, TrainingRun
from shapley_core.training.resumable import train_resumably
from shapley_core.training.samples import TrainingSamples


def train_network(
    task: ModelTask, run: TrainingRun, samples: TrainingSamples, training: TrainingConfig, label: str, checkpoint: str
) -> dict[str, list[float]]:
    """Leave in the run's network its averaged weights; resumes where it was killed; returns the loss curve.

    Args:
        task: whose store and settings are used.
        run: network, rows and seed.
        samples: on the network's device.
        training: steps, rates, batch.
        label: of the progress lines.
        checkpoint: key in the store of the state of an interrupted training.
    """
    settings = task.settings
    trainer = DiffusionTrainer([run], samples, training, settings.noise_schedule, settings.run.compile)
    with task.record.phase("training"):
        train_resumably(trainer, task.store, checkpoint, settings.run.checkpoint_every, label)
    load_trained(run.network, trainer.average(0))
    return trainer.curve()
