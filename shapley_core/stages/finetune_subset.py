"""finetune_subset: fine-tunes the pruned model on the data of each coalition of a shard (paper §3.2).

Coalitions whose utility is in the store already are left out; the others are trained several at a time, as one
network. The null coalition gets the untrained network: the same architecture with fresh random weights, or an adapter's
base model as it is.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.device import compute_device, moved
from shapley_core.games.plan import Plan
from shapley_core.games.store import UtilityStore
from shapley_core.progress import Progress
from shapley_core.stage_log import StageLog
from shapley_core.stages.coalition_models import (
    coalition_network,
    coalitions_at_once,
    starting_network,
    unlearned,
    untrained_network,
)
from shapley_core.stages.coalitions import CoalitionRecord, attempt, read_records
from shapley_core.stages.game_files import log_folder, read_game_id
from shapley_core.stages.known_measurements import known_measurements
from shapley_core.stages.networks.base import save_trained
from shapley_core.stages.sample_space import training_samples
from shapley_core.storage import open_store
from shapley_core.training.loop import DiffusionTrainer, DivergedError, TrainingRun

logger = logging.getLogger(__name__)


def finetune_subset(
    dataset: Path,
    config: Path,
    pruned: Path,
    reference: Path,
    plan: Path,
    prepare_log: Path,
    shard: int,
    store: str,
    *,
    models: Path,
) -> dict[str, float]:
    """Write the averaged weights and the record of every coalition of ``shard`` that is not in the store yet.

    Of none, where what the store has is enough (:mod:`shapley_core.stages.stopping`); the log says so.
    """
    log = StageLog("finetune_subset")
    settings = ValuationConfig.load(config)
    data = ContributorDataset.load(dataset)
    models.mkdir(parents=True, exist_ok=True)
    root = open_store(store)
    kept = UtilityStore(root, read_game_id(reference)).load()
    drawn = Plan.load(plan)
    rows = drawn.shard(shard)
    unknown = rows[~known_measurements(settings, rows, kept, reference, root)]
    made = {(record.key, record.seed) for record in read_records(models).values()}
    missing = [row for row in unknown.to_dict("records") if (row["key"], row["seed"]) not in made]
    if missing and settings.stopping.asked_for:
        from shapley_core.stages.stopping import verdict  # here, because it imports the estimators

        judgement = verdict(settings, drawn, kept, StageLog.load(prepare_log).started)
        logger.info("shard %d: %s", shard, judgement)
        if judgement.stop:
            log.facts["stopped"] = judgement.why
            missing = []
    logger.info("shard %d: %d coalitions to fine-tune, %d done before", shard, len(missing), len(rows) - len(missing))
    log.facts["fine_tuned"] = len(missing)
    if missing:
        device = compute_device(settings.run.loop_threads)
        network = moved(coalition_network(settings, pruned), device)
        samples = training_samples(settings, data, pruned).to(device)
        owners = torch.from_numpy(data.contributor_ids)
        training = settings.coalition_training()
        k = coalitions_at_once(settings, network)
        members = {row["key"]: torch.tensor(row["members"], dtype=torch.long) for row in missing}

        def forget(records: Sequence[CoalitionRecord]) -> None:
            for record in records:
                removed = (~torch.isin(owners, members[record.key])).nonzero()[:, 0]
                run = TrainingRun(network, removed, record.seed)
                save_file(unlearned(settings, run, samples), models / f"{record.key}.safetensors")

        def train(records: Sequence[CoalitionRecord]) -> None:
            runs = [
                TrainingRun(
                    network=starting_network(settings, network, record.seed),
                    rows=torch.isin(owners, members[record.key]).nonzero()[:, 0],
                    seed=record.seed,
                )
                for record in records
            ]
            # Always k together, so that no result hangs on the rounding of another number's kernels.
            trainer = DiffusionTrainer(
                [*runs, *runs[:1] * (k - len(runs))], samples, training, settings.noise_schedule, settings.run.compile
            )
            trainer.run()
            for i, record in enumerate(records):
                try:
                    save_file(trainer.average(i), models / f"{record.key}.safetensors")
                except DivergedError as error:
                    record.status = f"fine-tuning failed: {error}"

        def leave_untrained(records: Sequence[CoalitionRecord]) -> None:
            for record in records:
                fresh = untrained_network(settings, network, record.seed)
                save_trained(fresh, models / f"{record.key}.safetensors")

        nobody = [row for row in missing if not row["members"]]
        somebody = [row for row in missing if row["members"]]
        groups = [somebody[i : i + k] for i in range(0, len(somebody), k)]
        with log.phase("training"):
            progress = Progress(logger, f"fine-tune shard {shard}", "coalition", len(missing))
            for group in [nobody, *groups] if nobody else groups:
                records = [CoalitionRecord(row["key"], row["seed"], device=device.type) for row in group]
                begun = time.perf_counter()
                make = forget if settings.game.unlearns else train
                attempt(records, "fine-tuning", leave_untrained if group is nobody else make)
                seconds = (time.perf_counter() - begun) / len(group)
                for record in records:
                    record.training_seconds = seconds
                    record.save(models)
                progress.advance(len(group))
    log.save(log_folder(models) / f"finetune_subset-{shard}.json")
    return {"fine_tuned": len(missing)}
