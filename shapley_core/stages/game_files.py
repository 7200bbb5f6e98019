"""Where the files of a game stand: its identity, the property's reference, images and facts to show, utility tables.

Shared by the stages that write them and those that read them; imports nothing heavy.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapley_core.config import ValuationConfig
from shapley_core.contributor_facts import ContributorFacts
from shapley_core.seeds import derive_seed

_GAME = "game.json"
_PROPERTIES = "properties"
_GRIDS = "grids"
_CONTRIBUTORS = "contributors.parquet"
_UTILITIES = "utilities.parquet"
_LOGS = "logs"


def generation_seed(settings: ValuationConfig) -> int:
    """The seed of the initial noise, the same for every coalition."""
    return derive_seed(settings.seed, "generation")


def properties_folder(reference: Path) -> Path:
    """Where the references of the properties stand."""
    return reference / _PROPERTIES


def property_folder(reference: Path, name: str) -> Path:
    """Where a property's own reference stands."""
    return properties_folder(reference) / name


def write_game(reference: Path, facts: Mapping[str, Any]) -> None:
    """Keep everything that decides a coalition's value, with ``game_id``, the name that follows from it."""
    (reference / _GAME).write_text(json.dumps(facts, indent=2))


def read_game(reference: Path) -> dict[str, Any]:
    """What :func:`write_game` kept."""
    game: dict[str, Any] = json.loads((reference / _GAME).read_text())
    return game


def read_game_id(reference: Path) -> str:
    """The name of the game: utilities of the same game can be mixed, of different games never."""
    return str(read_game(reference)["game_id"])


def write_grid(reference: Path, title: str, png: bytes) -> None:
    """Keep a grid of sample images under its title."""
    path = reference / _GRIDS / f"{title}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)


def read_grids(reference: Path) -> dict[str, bytes]:
    """Title to PNG of the training images and of what the full and the pruned model generate."""
    paths = sorted((reference / _GRIDS).glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    return {path.stem: path.read_bytes() for path in paths}


def write_contributors(reference: Path, facts: ContributorFacts) -> None:
    """Keep what the report tells of the contributors besides their values."""
    facts.save(reference / _CONTRIBUTORS)


def read_contributors(reference: Path) -> ContributorFacts:
    """What :func:`write_contributors` kept."""
    return ContributorFacts.load(reference / _CONTRIBUTORS)


def sample_key(reference: Path, coalition: str) -> str:
    """Where the store keeps a coalition's grid of sample images."""
    return f"{read_game_id(reference)}/samples/{coalition}.png"


def images_key(reference: Path, coalition: str, seed: int) -> str:
    """Where the store keeps all images of a coalition whose kind in the plan is ``compared`` (.npy)."""
    return f"{read_game_id(reference)}/images/{coalition}-{seed}.npy"


def utility_file(shard: Path) -> Path:
    """A shard's utility table in its output folder."""
    return shard / _UTILITIES


def log_folder(loop_output: Path) -> Path:
    """The logs of a shard's tasks so far; each loop stage takes those of the stage before along."""
    return loop_output / _LOGS
