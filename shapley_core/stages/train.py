"""train: trains the diffusion model on everybody's images (the paper's theta*)."""

from pathlib import Path

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.games.identity import game_id
from shapley_core.models.checkpoint import n_parameters, save_unet
from shapley_core.models.ddpm import build_unet, to_model_range
from shapley_core.models.device import compute_device
from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.keeping import made_once
from shapley_core.storage import open_store
from shapley_core.training.loop import DiffusionTrainer
from shapley_core.training.resumable import train_resumably

#: What a kept model remembers of its training, beside its weights.
HISTORY = "training.json"


def train(dataset: Path, config: Path, store: str, *, model: Path, log: Path) -> dict[str, float]:
    """Write the trained UNet, with its averaged weights, to the folder ``model``; resumes where it was killed."""
    record = StageLog("train")
    settings = ValuationConfig.load(config)
    data = ContributorDataset.load(dataset)
    root = open_store(store)
    key = game_id({"data": data.digest, **settings.model_dump(include={"model", "training", "noise_schedule", "seed"})})

    def make() -> None:
        device = compute_device(settings.run.threads)
        unet = build_unet(settings.model, settings.data, derive_seed(settings.seed, "weights")).to(device)
        trainer = DiffusionTrainer(
            unet,
            to_model_range(data.images()).to(device),
            settings.training,
            settings.noise_schedule,
            derive_seed(settings.seed, "training"),
        )
        with record.phase("training"):
            train_resumably(trainer, root, f"checkpoints/{key}", settings.run.checkpoint_every, "train")
        trainer.use_average()
        save_unet(unet, model)
        history = StageLog("train")
        history.facts["parameters"] = n_parameters(unet)
        history.curves["training loss"] = trainer.curve()
        history.save(model / HISTORY)

    record.facts["reused"] = int(made_once(root, f"models/{key}", model, make))
    record.recall(model / HISTORY)
    record.save(log)
    return {"parameters": float(record.facts["parameters"])}
