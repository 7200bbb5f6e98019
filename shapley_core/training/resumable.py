"""Long training that survives being killed: the trainer's state goes to the store every so many steps."""

import tempfile
from pathlib import Path

from shapley_core.storage import Store
from shapley_core.training.loop import DiffusionTrainer


def train_resumably(trainer: DiffusionTrainer, store: Store, key: str, every: int, label: str) -> None:
    """Run ``trainer`` to its end, taking up the checkpoint ``key`` where there is one and removing it when done."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.safetensors"
        if key in store.list(key):
            store.download(key, checkpoint)
            trainer.restore(checkpoint)
        while trainer.step < trainer.config.steps:
            trainer.run(until=min(trainer.step + every, trainer.config.steps), label=label)
            if trainer.step < trainer.config.steps:
                trainer.save(checkpoint)
                store.upload(key, checkpoint)
    store.delete(key)
