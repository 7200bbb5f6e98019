"""finetune_subset: fine-tunes the pruned model on the data of each coalition of a shard (paper §3.2).

Coalitions whose utility is in the store already are left out. The null coalition gets the untrained network: the
pruned architecture with fresh random weights.
"""

import copy
import logging
import time
from pathlib import Path

import torch
from diffusers import UNet2DModel
from safetensors.torch import save_file

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.games.plan import Plan
from shapley_core.games.store import UtilityStore
from shapley_core.models.checkpoint import load_unet
from shapley_core.models.ddpm import to_model_range
from shapley_core.models.device import compute_device
from shapley_core.progress import Progress
from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.coalitions import OK, CoalitionRecord, attempt, read_records
from shapley_core.stages.game_files import log_folder, read_game_id
from shapley_core.storage import open_store
from shapley_core.training.loop import DiffusionTrainer

logger = logging.getLogger(__name__)


def finetune_subset(
    dataset: Path,
    config: Path,
    pruned: Path,
    reference: Path,
    plan: Path,
    shard: int,
    store: str,
    *,
    models: Path,
) -> dict[str, float]:
    """Write the averaged weights and the record of every coalition of ``shard`` that is not in the store yet."""
    log = StageLog("finetune_subset")
    settings = ValuationConfig.load(config)
    data = ContributorDataset.load(dataset)
    drawn = Plan.load(plan)
    models.mkdir(parents=True, exist_ok=True)
    kept = UtilityStore(open_store(store), read_game_id(reference)).load()
    known = kept[(kept["property"] == settings.property.name) & (kept["status"] == OK)]
    done = {*zip(known["key"], known["seed"], strict=True)}
    done |= {(record.key, record.seed) for record in read_records(models).values()}
    rows = drawn.shard(shard).to_dict("records")
    missing = [row for row in rows if (row["key"], row["seed"]) not in done]
    logger.info("shard %d: %d coalitions to fine-tune, %d done before", shard, len(missing), len(rows) - len(missing))
    if missing:
        device = compute_device(settings.run.loop_threads)
        unet = load_unet(pruned).to(device)
        start = copy.deepcopy(unet.state_dict())
        images = to_model_range(data.images()).to(device)
        owners = torch.from_numpy(data.contributor_ids)
        with log.phase("training"):
            progress = Progress(logger, f"fine-tune shard {shard}", "coalition", len(missing))
            for row in missing:
                record = CoalitionRecord(row["key"], row["seed"], device=device.type)
                chosen = torch.isin(owners, torch.tensor(row["members"], dtype=torch.long))
                begun = time.perf_counter()

                def work(record: CoalitionRecord = record, chosen: torch.Tensor = chosen) -> None:
                    unet.load_state_dict(start)
                    if chosen.any():
                        finetune(unet, images[chosen.to(device)], settings, record.seed)
                    else:
                        untrain(unet, record.seed)
                    save_file(unet.state_dict(), models / f"{record.key}.safetensors")

                attempt(record, "fine-tuning", work)
                record.training_seconds = time.perf_counter() - begun
                record.save(models)
                progress.advance()
    log.save(log_folder(models) / f"finetune_subset-{shard}.json")
    return {"fine_tuned": len(missing)}


def finetune(unet: UNet2DModel, images: torch.Tensor, settings: ValuationConfig, seed: int) -> None:
    """Fine-tune ``unet`` on a coalition's images and leave the averaged weights in it."""
    trainer = DiffusionTrainer(unet, images, settings.finetuning, settings.noise_schedule, seed)
    trainer.run()
    trainer.use_average()


def untrain(unet: UNet2DModel, seed: int) -> None:
    """Give every layer fresh random weights, drawn from ``seed`` as the layer draws them when it is built."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        for module in unet.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
