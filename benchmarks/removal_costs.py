"""What a coalition costs by retraining, by fine-tuning and by sparsified fine-tuning, in one run (the paper's Table 2).

A small valuation of the digits in a store of its own, then the same coalitions by the other methods, one after another
in one process of one thread. On a busy machine the seconds of a long evaluation say more of what else was running.

    OMP_NUM_THREADS=1 python -m benchmarks.removal_costs                  # the training of make reproduce: minutes
    OMP_NUM_THREADS=1 python -m benchmarks.removal_costs --training preset    # the preset's own
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from shapley_core.evaluation.tables import costs_table
from shapley_core.stages.chain import EvaluationChain, value
from shapley_core.stages.removal_files import read_purposes

#: As in the Makefile, for BUDGET=small.
TRAININGS: dict[str, dict[str, Any]] = {
    "small": {
        "training.steps": 500,
        "training.batch_size": 16,
        "training.learning_rate": 2e-3,
        "training.ema_decay": 0.99,
        "finetuning.steps": 80,
    },
    "preset": {},
}
EVALUATION: dict[str, Any] = {
    "evaluation.alphas": [0.5],
    "evaluation.n_held_out": 2,
    "evaluation.n_sets": 1,
    "evaluation.n_repeated": 0,
    "evaluation.leave_one_out": False,
    "evaluation.n_compared": 0,
    "evaluation.n_retrained": 8,
    "evaluation.n_finetuned": 16,
}
METHODS = ("retraining", "finetuning", "sparsified_finetuning")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", choices=TRAININGS, default="small")
    name = parser.parse_args().training
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        results = value(root / "valuation", TRAININGS[name] | {"game.n_coalitions": 24})
        chain = EvaluationChain(root / "evaluation", str(root / "valuation" / "store"))
        chain.open(results, EVALUATION)
        for method in METHODS:
            chain.measure(method)
        costs = costs_table({method: read_purposes(chain.path(method) / "measured") for method in METHODS})
    costs.to_csv(RESULTS / f"removal_costs_{name}.csv", index=False)
    print(costs.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
