"""The compiled evaluation on this machine, of a valuation that asks for as little as can be asked for."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch

from shapley_core.stages.chain import value

sys.path.append(str(Path(__file__).parents[1] / "stages"))
from tiny import TINY

#: Held-out coalitions, and nothing else: every other loop is over no coalitions.
ONLY_HELD_OUT = {
    "evaluation.alphas": [0.5],
    "evaluation.n_held_out": 4,
    "evaluation.n_sets": 2,
    "evaluation.n_repeated": 0,
    "evaluation.n_retrained": 0,
    "evaluation.n_finetuned": 0,
    "evaluation.n_compared": 0,
    "evaluation.remove": [],
    "evaluation.keep": [],
    "evaluation.leave_one_out": False,
    "evaluation.gradient_timesteps": 1,
    "evaluation.projection_dim": 16,
    "run.shard_size": 30,
    "run.loop_threads": 1,
}


def test_nothing_but_held_out_coalitions(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    results = value(tmp_path, TINY)
    settings = [part for key, value in ONLY_HELD_OUT.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "pipelines", "evaluate", "--valuation", str(results), *settings]
    run = subprocess.run([*command, "--store", str(tmp_path / "store")], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr + (results / "evaluation" / "run.log").read_text()[-3000:]
    lds = pd.read_parquet(results / "evaluation" / "lds.parquet")
    assert (lds["n_coalitions"] == 8).all() and lds["lds"].between(-1, 1).all()
    for empty in ("fids", "counterfactuals"):
        assert pd.read_parquet(results / "evaluation" / f"{empty}.parquet").empty
    assert {*pd.read_parquet(results / "evaluation" / "budget.parquet")["method"]} == {"sparsified_finetuning"}
    assert "Shapley" in (results / "evaluation" / "evaluation.md").read_text()
