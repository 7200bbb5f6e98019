"""Games whose coalitions' models forget the others' images."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny import TINY

from shapley_core.stages.chain import Chain, value

UNLEARN = {
    "unlearning.epochs": 0.05,
    "unlearning.batch_size": 32,
    "unlearning.fisher_batches": 2,
    "game.n_coalitions": 20,
    "run.shard_size": 11,
}


@pytest.mark.parametrize("method", ["gradient_ascent", "influence_unlearning"])
def test_a_whole_valuation(tmp_path: Path, method: str) -> None:
    torch.set_num_threads(1)
    results = value(tmp_path, TINY | UNLEARN | {"game.coalition_model": method})
    assert (pd.read_parquet(results / "utilities.parquet")["status"] == "ok").all()
    facts = json.loads((tmp_path / "game" / "game.json").read_text())
    assert facts["coalition_model"] == method and "unlearning" in facts and "finetuning" not in facts
    plan = pd.read_parquet(tmp_path / "plan")
    (full,) = plan[plan["kind"] == "full"]["key"]
    (path,) = tmp_path.glob(f"models-*/{full}.safetensors")
    pruned = load_file(tmp_path / "pruned" / "diffusion_pytorch_model.safetensors")
    # Nothing is to be forgotten of everybody's coalition.
    assert all(torch.equal(tensor, pruned[name]) for name, tensor in load_file(path).items())


def test_the_settings_of_forgetting_do_not_decide_other_games(tmp_path: Path) -> None:
    ids = []
    for i, change in enumerate(({}, {"unlearning.damping": 0.5})):
        chain = Chain(tmp_path / str(i), str(tmp_path / "store"))
        chain.prepare("digits", TINY | change)
        chain.models()
        ids.append(json.loads((tmp_path / str(i) / "game" / "game.json").read_text())["game_id"])
    assert ids[0] == ids[1]
