"""prune: prunes the trained model and fine-tunes it on everybody: the start of every coalition's fine-tuning."""

from pathlib import Path

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.games.identity import game_id
from shapley_core.models.checkpoint import checkpoint_digest, load_unet, n_parameters, save_unet
from shapley_core.models.ddpm import to_model_range
from shapley_core.models.device import compute_device
from shapley_core.pruning.unet import prune_unet
from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.keeping import made_once
from shapley_core.stages.train import HISTORY
from shapley_core.storage import open_store
from shapley_core.training.loop import DiffusionTrainer
from shapley_core.training.resumable import train_resumably


def prune(dataset: Path, config: Path, model: Path, store: str, *, pruned: Path, log: Path) -> dict[str, float]:
    """Write the pruned and fine-tuned UNet (the paper's theta~*) to the folder ``pruned``."""
    record = StageLog("prune")
    settings = ValuationConfig.load(config)
    data = ContributorDataset.load(dataset)
    root = open_store(store)
    key = game_id(
        {
            "data": data.digest,
            "model": checkpoint_digest(model),
            **settings.model_dump(include={"pruning", "noise_schedule", "seed"}),
        }
    )

    def make() -> None:
        device = compute_device(settings.run.threads)
        unet = load_unet(model)
        before = n_parameters(unet)
        removed = prune_unet(unet, settings.pruning.ratio)
        trainer = DiffusionTrainer(
            unet.to(device),
            to_model_range(data.images()).to(device),
            settings.pruning.finetuning,
            settings.noise_schedule,
            derive_seed(settings.seed, "pruned training"),
        )
        with record.phase("training"):
            train_resumably(trainer, root, f"checkpoints/{key}", settings.run.checkpoint_every, "prune")
        trainer.use_average()
        save_unet(unet, pruned, removed)
        history = StageLog("prune")
        history.facts |= {"parameters_before": before, "parameters_after": n_parameters(unet)}
        history.curves["fine-tuning loss of the pruned model"] = trainer.curve()
        history.save(pruned / HISTORY)

    record.facts["reused"] = int(made_once(root, f"models/{key}", pruned, make))
    record.recall(pruned / HISTORY)
    record.save(log)
    return {name: float(record.facts[name]) for name in ("parameters_before", "parameters_after")}
