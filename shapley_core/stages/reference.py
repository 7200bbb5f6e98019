"""reference: fixes the yardstick of the game before any coalition is measured.

Makes what the property scores with (a classifier), names the game after everything that decides a coalition's value,
and measures the full and the pruned model with it, so that the report can tell what pruning costs.
"""

import json
from pathlib import Path

import numpy as np

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.games.identity import GAME_VERSION, game_id
from shapley_core.models.checkpoint import checkpoint_digest, load_unet
from shapley_core.models.device import compute_device
from shapley_core.models.sampling import sample
from shapley_core.properties import get_property
from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.grids import image_grid
from shapley_core.stages.keeping import folder_digest

_GAME = "game.json"
_PROPERTY = "property"
_GRIDS = "grids"


def reference(
    dataset: Path, config: Path, model: Path, pruned: Path, *, reference: Path, log: Path
) -> dict[str, float]:
    """Write the property's reference, the game's identity and grids of sample images to the folder ``reference``."""
    record = StageLog("reference")
    settings = ValuationConfig.load(config)
    data = ContributorDataset.load(dataset)
    device = compute_device(settings.run.threads)
    folder = property_folder(reference)
    folder.mkdir(parents=True, exist_ok=True)
    property_class = get_property(settings.property.name)
    with record.phase("training"):
        record.facts |= property_class.fit(data, settings.property, derive_seed(settings.seed, "property"), folder)
    measured = property_class.load(folder, settings.property)

    images = data.images()
    order = np.random.default_rng(derive_seed(settings.seed, "grid")).permutation(len(images))
    _save_grid(reference, "Training images", image_grid(images[order]))
    for title, fact, checkpoint in (
        ("Full model", "full_model", model),
        ("Pruned model", "pruned_model", pruned),
    ):
        unet = load_unet(checkpoint).to(device)
        with record.phase("sampling"):
            generated = sample(unet, settings.noise_schedule, settings.generation, generation_seed(settings))
        with record.phase("scoring"):
            record.facts[fact] = measured.score(generated)
        _save_grid(reference, title, image_grid(generated))
    (reference / _GAME).write_text(json.dumps(_game_facts(settings, checkpoint_digest(pruned), folder), indent=2))
    record.save(log)
    return {name: float(record.facts[name]) for name in ("full_model", "pruned_model")}


def generation_seed(settings: ValuationConfig) -> int:
    """The seed of the initial noise, the same for every coalition."""
    return derive_seed(settings.seed, "generation")


def property_folder(reference: Path) -> Path:
    """Where the property's own reference stands."""
    return reference / _PROPERTY


def read_game(reference: Path) -> dict[str, object]:
    """Everything that decides a coalition's value, and ``game_id``, the name that follows from it."""
    game: dict[str, object] = json.loads((reference / _GAME).read_text())
    return game


def read_game_id(reference: Path) -> str:
    """The name of the game: utilities of the same game can be mixed, of different games never."""
    return str(read_game(reference)["game_id"])


def read_grids(reference: Path) -> dict[str, bytes]:
    """Title to PNG of the training images and of what the full and the pruned model generate."""
    return {path.stem: path.read_bytes() for path in sorted((reference / _GRIDS).glob("*.png"))}


def _game_facts(settings: ValuationConfig, pruned_digest: str, folder: Path) -> dict[str, object]:
    facts: dict[str, object] = {
        "version": GAME_VERSION,
        "pruned_model": pruned_digest,
        "property_reference": folder_digest(folder),
        "generation_seed": generation_seed(settings),
        **settings.model_dump(
            mode="json",
            include={
                "data": {"source", "resolution", "mode"},
                "finetuning": True,
                "noise_schedule": True,
                "generation": {"n_images", "n_steps", "eta"},
                "property": True,
            },
        ),
    }
    return {"game_id": game_id(facts), **facts}


def _save_grid(reference: Path, title: str, png: bytes) -> None:
    path = reference / _GRIDS / f"{title}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)
