"""Properties that see with pretrained networks, stage by stage: their weights decide the game."""

from pathlib import Path

import numpy as np
import pytest
import tiny_networks
from tiny import TINY

from shapley_core.errors import UserError
from shapley_core.games.utilities import read_utilities
from shapley_core.stages.chain import Chain
from shapley_core.stages.game_files import read_game, utility_file


def settings(clip: Path) -> dict[str, object]:
    return TINY | {
        "training.steps": 2,
        "pruning.finetuning.steps": 2,
        "finetuning.steps": 1,
        "run.shard_size": 4,
        "property.name": "diversity",
        "property.embedder": "clip",
        "property.embedder_weights": str(clip),
        "property.n_clusters": 4,
    }


def chain_of(folder: Path, clip: Path, store: str) -> tuple[Chain, list[int]]:
    chain = Chain(folder, store)
    chain.prepare("digits", settings(clip))
    return chain, chain.models()


def test_weights_decide_the_game_and_where_they_stand_does_not(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    clip = tiny_networks.save_network("clip", tmp_path / "clip")
    moved = tiny_networks.save_network("clip", tmp_path / "moved")
    other = tiny_networks.save_network("clip", tmp_path / "other", seed=1)
    chain, shards = chain_of(tmp_path / "first", clip, store)
    same, _ = chain_of(tmp_path / "second", moved, store)
    another, _ = chain_of(tmp_path / "third", other, store)
    first, second, third = (read_game(some.path("game")) for some in (chain, same, another))
    assert first["game_id"] == second["game_id"] != third["game_id"]
    # The game says what decides it, as before there were pretrained networks: older games are found again.
    assert first["property"] == {"classifier_steps": 60, "percentile": 90.0, "n_clusters": 4}

    assert chain.measure(shards[0]) == 4
    values = read_utilities(utility_file(chain.path("utilities-0")))["value"]
    assert len(values) == 4
    assert values.between(0, np.log(4)).all() and values.nunique() > 1

    # The weights are exchanged behind the game's back.
    (clip / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"the weights of clip in .*/clip are not those that this game was begun with"):
        chain.score(shards[0])


def test_missing_weights_are_told_by_prepare(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"embedder_weights: there is no folder /nowhere/clip with weights"):
        Chain(tmp_path, str(tmp_path / "store")).prepare("digits", settings(Path("/nowhere/clip")))
    assert not (tmp_path / "config").exists()
