"""Models that are made once: taken from the store without torch, and named by what decides them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import TINY

from shapley_core.stage_log import StageLog
from shapley_core.stages.chain import Chain
from shapley_core.stages.prune import prune
from shapley_core.stages.train import train

ROOT = Path(__file__).parents[2]
#: Both stages on a chain's data, in a process that has imported nothing; prints their metrics and what they imported.
RUN_AGAIN = """
import json, sys
from pathlib import Path
from shapley_core.stages.prune import prune
from shapley_core.stages.train import train
folder, again, store = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
inputs = folder / "dataset", folder / "config"
metrics = train(*inputs, store, model=again / "model", log=again / "train.log")
metrics |= prune(*inputs, again / "model", store, pruned=again / "pruned", log=again / "prune.log")
print(json.dumps([metrics, sorted({name.split(".")[0] for name in sys.modules})]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The full and the pruned model of a tiny valuation."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("made")
    chain = Chain(folder, str(folder / "store"))
    chain.prepare("digits", TINY | {"training.steps": 5, "pruning.finetuning.steps": 5})
    inputs = chain.path("dataset"), chain.path("config")
    train(*inputs, chain.store, model=chain.path("model"), log=chain.path("train.log"))
    prune(*inputs, chain.path("model"), chain.store, pruned=chain.path("pruned"), log=chain.path("prune.log"))
    return chain


def test_a_kept_model_is_taken_without_importing_torch(made: Chain, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN_AGAIN, made.folder, tmp_path, made.store]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    metrics, imported = json.loads(again.stdout)
    assert not {"torch", "diffusers", "torch_pruning", "datasets", "pandas", "sklearn", "boto3"} & set(imported)
    for model in ("model", "pruned"):
        first, second = made.path(model), tmp_path / model
        assert {path.name: path.read_bytes() for path in second.iterdir()} == {
            path.name: path.read_bytes() for path in first.iterdir()
        }
    facts: dict[str, float | int | str] = {}
    for stage in ("train", "prune"):
        before, after = StageLog.load(made.path(f"{stage}.log")), StageLog.load(tmp_path / f"{stage}.log")
        assert (before.facts.pop("reused"), after.facts.pop("reused")) == (0, 1)
        assert before.facts == after.facts and before.curves == after.curves
        assert [kind for kind, *_ in before.phases] == ["training"] and not after.phases
        facts |= after.facts
    assert metrics == facts
