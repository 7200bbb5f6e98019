"""Results of evaluations made by hand, for tests of what is said of them."""

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shapley_core.evaluation.labels import TABLE_1_LABELS
from shapley_core.evaluation.removal import REMOVAL_METHODS
from shapley_core.evaluation.result import BY_FINETUNING, BY_RETRAINING, NUMBER_OF_IMAGES, OURS, EvaluationResult

PAGE = Path(__file__).parents[1] / "docs" / "evaluation-results.md"

COLUMNS = {
    "lds": "attribution alpha size n_coalitions lds low high t_low t_high ahead ahead_low ahead_high",
    "budget": "method n_coalitions alpha lds low high cost",
    "costs": "method n_coalitions training_seconds sampling_seconds times_cheaper",
    "fidelity": "method size n_coalitions pearson spearman",
    "fids": "method n_coalitions mean std",
    "counterfactuals": "attribution action share n change low high",
    "surrogates": "alpha order lds low high gain gain_low gain_high",
    "short_cut": "prediction alpha n_coalitions lds low high",
}
_WORDS = {"attribution", "method", "action", "prediction"}

#: Value, lower and upper bound.
Interval = tuple[float, float, float]


def evaluation(
    *, ceiling: float = np.nan, refused: Mapping[str, str] | None = None, facts: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (), **tables: Sequence[Mapping[str, Any]],
) -> EvaluationResult:  # fmt: skip
    """A result of these rows; a table that is not named is empty, a column that a row lacks is NaN."""
    frames = {name: pd.DataFrame(tables.get(name, []), columns=columns.split()) for name, columns in COLUMNS.items()}
    typed = {
        name: frame.astype({column: float for column in frame if column not in _WORDS})
        for name, frame in frames.items()
    }
    return EvaluationResult(
        **typed,
        ceiling=ceiling,
        refused=dict(refused or {}),
        facts={"preset": "digits", "alpha": 0.5, **(facts or {})},
        notes=list(notes),
    )


def lds(scores: Mapping[str, Interval], alpha: float = 0.5, size: int = 5, n: int = 90) -> list[dict[str, Any]]:
    """Rows of LDS; the difference to ours lies between the extremes that the intervals allow."""
    ours = scores.get(OURS, (np.nan, np.nan, np.nan))
    return [
        {
            "attribution": name, "alpha": alpha, "size": size, "n_coalitions": n,
            "lds": value, "low": low, "high": high, "t_low": value - 0.2, "t_high": value + 0.2,
            "ahead": ours[0] - value, "ahead_low": ours[1] - high, "ahead_high": ours[2] - low,
        }
        for name, (value, low, high) in scores.items()
    ]  # fmt: skip


def lds_by_the_page(results: Path) -> dict[str, float]:
    """Attribution to LDS, by the code that docs/evaluation-results.md gives for the files of an evaluation."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with contextlib.chdir(results), contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    return {name: float(score) for name, score in map(str.split, printed.getvalue().splitlines())}


def whole_evaluation(n: int, sizes: Sequence[int]) -> EvaluationResult:
    """A result with every table full, of ``n`` contributors; numbers drawn at random, ours the best."""
    rng = np.random.default_rng(n)
    attributions = [*TABLE_1_LABELS, NUMBER_OF_IMAGES, BY_RETRAINING, BY_FINETUNING]
    rows = []
    for alpha in (0.25, 0.5, 0.75):
        values = dict(zip(attributions, rng.uniform(-0.4, 0.6, 20), strict=True))
        values |= {OURS: 0.88, BY_RETRAINING: 0.9, BY_FINETUNING: 0.7}
        scores = {name: (value, value - 0.06, min(value + 0.05, 1.0)) for name, value in values.items()}
        rows += lds(scores, alpha, round(alpha * n), 300)
    changes = rng.normal(scale=0.1, size=(2, 5))
    return evaluation(
        ceiling=0.93,
        lds=[row for row in rows if row["attribution"] != "property_maximum"],
        refused={"property_maximum": "the property tells a cluster of each image, which has no average"},
        budget=[
            {
                "method": method, "n_coalitions": m, "alpha": alpha, "cost": m / times,
                "lds": 0.9 - 4 / m, "low": 0.9 - 6 / m, "high": 0.9 - 3 / m,
            }
            for method, times in (("retraining", 1.0), ("finetuning", 3.0), ("sparsified_finetuning", 6.0))
            for m in (20, 40, 80, 120, 160)
            for alpha in (0.25, 0.5, 0.75)
        ],
        costs=[
            {
                "method": method, "n_coalitions": 160, "training_seconds": 60 / (1 + i), "sampling_seconds": 2.5,
                "times_cheaper": 62.5 / (60 / (1 + i) + 2.5),
            }
            for i, method in enumerate(REMOVAL_METHODS)
        ],
        fidelity=[
            {
                "method": method, "size": size, "n_coalitions": 12 if size > 0 else 160,
                "pearson": 0.95 - 0.1 * i, "spearman": 0.93 - 0.1 * i + 0.05 * np.sin(size),
            }
            for i, method in enumerate(REMOVAL_METHODS)
            for size in (-1, *sizes)
        ],
        fids=[
            {"method": method, "n_coalitions": 10, "mean": 10.0 * (1 + i), "std": 3.0}
            for i, method in enumerate(REMOVAL_METHODS) if i > 0
        ],
        counterfactuals=[
            {
                "attribution": name, "action": action, "share": share, "n": round(0.6 * n),
                "change": change, "low": change - 0.05 * (1 + 4 * i), "high": change + 0.05 * (1 + 4 * i),
            }
            for row, (action, share) in zip(changes, (("remove", 0.4), ("keep", 0.6)), strict=True)
            for i, (name, change) in enumerate(
                zip([OURS, "leave_one_out", "d_trak", "pixel_similarity_maximum", "property_average"], row, strict=True)
            )
        ],
        surrogates=[
            {"alpha": alpha, "order": order, "lds": score, "low": score - 0.1, "high": score + 0.05} | (
                {"gain": 0.12, "gain_low": 0.03, "gain_high": 0.21} if order == 2 else {}
            )
            for alpha in (0.25, 0.5, 0.75)
            for order, score in ((1, 0.8), (2, 0.92))
        ],
        short_cut=[
            {
                "prediction": prediction, "alpha": alpha, "n_coalitions": 300,
                "lds": score, "low": score - 0.04, "high": score + 0.03,
            }
            for alpha in (0.25, 0.5, 0.75)
            for prediction, score in (("v", 0.91), ("sum", 0.86))
        ],
        facts={"property": "inception_score", "contributors": n, "seconds of train": 61.2, "machine": "x86_64"},
        notes=["3 coalitions could not be measured by retraining, and are left out."],
    )  # fmt: skip
