"""Training on everybody's images: what the full and the pruned model have in common."""

from diffusers.models.unets.unet_2d import UNet2DModel

from shapley_core.config import TrainingConfig
from shapley_core.stages.keeping import ModelTask
from shapley_core.stages.sample_space import training_samples
from shapley_core.training.loop import DiffusionTrainer, TrainingRun
from shapley_core.training.resumable import train_resumably


def train_on_all(
    task: ModelTask, unet: UNet2DModel, training: TrainingConfig, seed: int, label: str
) -> dict[str, list[float]]:
    """Leave in ``unet`` its averaged weights after training; resumes where it was killed; returns the loss curve."""
    settings = task.settings
    samples = training_samples(settings, task.data, task.folder).to(unet.device)
    run = TrainingRun.on_all(samples, unet, seed)
    trainer = DiffusionTrainer([run], samples, training, settings.noise_schedule, settings.run.compile)
    with task.record.phase("training"):
        train_resumably(trainer, task.store, task.checkpoint, settings.run.checkpoint_every, label)
    unet.load_state_dict(trainer.average(0))
    return trainer.curve()
