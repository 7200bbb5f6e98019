"""Models that are made once: kept in the store under a key of everything that decides them, and taken from there.

Imports nothing heavy: a model that is there costs no seconds of torch.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.games.identity import game_id
from shapley_core.stage_log import StageLog
from shapley_core.storage import Store, get_folder, open_store, put_folder

logger = logging.getLogger(__name__)

#: What a kept model remembers of its training, beside its weights.
_HISTORY = "training.json"
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_ADAPTER = "pytorch_lora_weights.safetensors"
#: Part of a model's folder, and of a data set's: the frozen base of an adapter, and the images it is trained on.
BASE = "base"
#: Part of a model's folder: the autoencoder of its latents.
AUTOENCODER = "autoencoder"


def base_data(dataset: Path) -> Path:
    """Where the images of an own base model stand, beside those that are valued."""
    return dataset / BASE


def model_data(settings: ValuationConfig, data: ContributorDataset) -> ContributorDataset:
    """The images that the full and the pruned model and the properties' references are made from.

    Everybody's, or those of ``game.model_contributors``: then all of it is what it was before the others joined.
    """
    chosen = settings.game.model_contributors
    return data.only(chosen) if chosen else data


@dataclass(frozen=True)
class ModelTask:
    """What a model is made from, and where to.

    Attributes:
        settings: the resolved configuration.
        dataset: folder of the data.
        data: the images that it is made from.
        folder: where the model is to stand.
        store: where the state of an interrupted training is kept, under :attr:`checkpoint`.
        key: names everything that decides the model.
        record: the log of the task.
    """

    settings: ValuationConfig
    dataset: Path
    data: ContributorDataset
    folder: Path
    store: Store
    key: str
    record: StageLog

    @property
    def checkpoint(self) -> str:
        """Where the store keeps the state of an interrupted training."""
        return f"checkpoints/{self.key}"


def made_once(
    stage: str,
    dataset: Path,
    config: Path,
    store: str,
    make: Callable[[ModelTask], StageLog],
    *,
    sections: set[str],
    parents: Mapping[str, str],
    folder: Path,
    log: Path,
) -> dict[str, float]:
    """The whole of a stage that makes a model: take it from the store, or make it and keep it.

    Args:
        stage: name of the stage.
        dataset: the contributor data set.
        config: the resolved configuration.
        store: where models are kept.
        make: fills the task's folder and returns the history that is kept with the model.
        sections: the parts of the configuration that decide the model.
        parents: digests of the models it is made from, by name.
        folder: output folder, the model.
        log: output file, the stage log.

    Returns:
        The facts of the model's history, as metrics.
    """
    record = StageLog(stage)
    settings = ValuationConfig.load(config)
    everybody = ContributorDataset.load(dataset)
    data = model_data(settings, everybody)
    root = open_store(store)
    # What is absent decides nothing: an option that is added leaves the keys of models without it as they are.
    key = game_id({"data": data.digest, **parents, **settings.model_dump(include=sections, exclude_none=True)})
    reused = get_folder(root, f"models/{key}", folder)
    if reused:
        logger.info("taken from the store: models/%s", key)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        make(ModelTask(settings, dataset, data, folder, root, key, record)).save(folder / _HISTORY)
        put_folder(root, f"models/{key}", folder)
    if data is not everybody and settings.model.family != "ddpm":
        from shapley_core.stages.sample_space import encode_everybody  # here, because it imports torch

        encode_everybody(settings, everybody, folder)
    record.recall(folder / _HISTORY)
    metrics = {name: float(value) for name, value in record.facts.items()}
    record.facts["reused"] = int(reused)
    record.save(log)
    return metrics


def checkpoint_digest(folder: Path) -> str:
    """SHA-256 (16 hex digits) of a checkpoint's architecture and weights, and those of what it is built on."""
    digest = hashlib.sha256()
    for part in (folder, folder / BASE):
        if (part / "config.json").is_file():
            config: dict[str, Any] = json.loads((part / "config.json").read_text())
            architecture = {key: value for key, value in config.items() if not key.startswith("_")}
            digest.update(json.dumps(architecture, sort_keys=True).encode())
    for name in ("pruning.json", _WEIGHTS, _ADAPTER, f"{BASE}/{_WEIGHTS}", f"{AUTOENCODER}/{_WEIGHTS}"):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


def space_digest(folder: Path) -> str:
    """Names the autoencoder of a model's folder; empty where there is none."""
    return checkpoint_digest(folder / AUTOENCODER) if (folder / AUTOENCODER).is_dir() else ""


def folder_digest(folder: Path) -> str:
    """SHA-256 (16 hex digits) over the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()}\n{path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
