"""What an evaluation found: the paper's tables and figures as data frames, one row each.

Attributions are called as in :data:`~shapley_core.baselines.BASELINES`, :data:`LEAVE_ONE_OUT`, and ``shapley_<method>``
for Shapley values by a removal method; methods as in :data:`~shapley_core.evaluation.removal.REMOVAL_METHODS`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd

#: The values of the valuation itself; those by retraining and by fine-tuning the full model; eq. 11.
OURS = "shapley_sparsified_finetuning"
BY_RETRAINING = "shapley_retraining"
BY_FINETUNING = "shapley_finetuning"
LEAVE_ONE_OUT = "leave_one_out"
#: The baseline that the paper does not have.
NUMBER_OF_IMAGES = "number_of_images"

_FACTS = "evaluation.json"


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What an evaluation found; intervals are of 95 %, LDS and correlations in -1..1, NaN where there is none.

    Attributes:
        lds: Tables 1, 3. ``attribution``, ``alpha``, ``size`` of the held-out coalitions, ``n_coalitions`` of all sets,
            ``lds`` (mean over the sets), ``low`` and ``high`` (bootstrap over coalitions), ``t_low`` and ``t_high``
            (Student's t over sets), ``ahead``, ``ahead_low``, ``ahead_high``: the LDS of :data:`OURS` minus this one's,
            over the same bootstrap samples.
        budget: Table 4, Figure 2. ``method``, ``n_coalitions`` that the Shapley values were solved from, ``alpha``,
            ``lds``, ``low``, ``high``, ``cost``: of those coalitions, in retrainings of a full model with sampling.
        costs: Table 2. ``method``, ``n_coalitions``, ``training_seconds`` and ``sampling_seconds`` (medians of a
            coalition), ``times_cheaper`` than retraining.
        fidelity: v(S) by a method against v(S) by retraining. ``method``, ``size`` of S (-1: all coalitions),
            ``n_coalitions``, ``pearson``, ``spearman``. The method ``retraining`` is retraining with another seed.
        fids: Table 9. ``method``, ``n_coalitions``, ``mean`` and ``std`` of the FID between a coalition's images by the
            method and by retraining.
        counterfactuals: Figure 3. ``attribution``, ``action`` (remove or keep), ``share`` of top contributors, ``n`` of
            contributors left, ``change`` relative to everybody's model, ``low``, ``high`` (t over sets).
        surrogates: what adding up loses. ``alpha``, ``order`` of the interactions that a regression on the valuation's
            coalitions may see (1: contributors; 2: and pairs), ``lds``, ``low``, ``high``, and of order 2 ``gain``,
            ``gain_low``, ``gain_high``: its LDS minus that of order 1, over the same bootstrap samples.
        short_cut: what sparsified fine-tuning itself predicts. ``prediction``: ``v``, its v(S) of the held-out
            coalitions, or ``sum``, the sum of contributors nearest to these; ``alpha``, ``n_coalitions`` of all sets,
            ``lds``, ``low``, ``high``.
        ceiling: the LDS at ``facts["alpha"]`` that a perfect prediction can expect; NaN where nothing was repeated.
        refused: attribution to the reason why there is none.
        facts: what was judged, by how much, on which machine; numbers and words.
        notes: sentences for people.
    """

    lds: pd.DataFrame
    budget: pd.DataFrame
    costs: pd.DataFrame
    fidelity: pd.DataFrame
    fids: pd.DataFrame
    counterfactuals: pd.DataFrame
    surrogates: pd.DataFrame
    short_cut: pd.DataFrame
    ceiling: float
    refused: Mapping[str, str]
    facts: Mapping[str, str | float | int]
    notes: list[str] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write the tables as Parquet and everything as evaluation.json (numbers that are not finite as null)."""
        folder.mkdir(parents=True, exist_ok=True)
        tree: dict[str, object] = {}
        for name, value in self._parts().items():
            if isinstance(value, pd.DataFrame):
                value.to_parquet(folder / f"{name}.parquet", index=False)
                value = json.loads(value.to_json(orient="records", double_precision=15))
            tree[name] = None if isinstance(value, float) and not np.isfinite(value) else value
        text = json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / _FACTS).write_text(text + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> "EvaluationResult":
        """Read what :meth:`save` wrote."""
        tree = json.loads((folder / _FACTS).read_text())
        tables = {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet") if path.stem in tree}
        ceiling = np.nan if tree["ceiling"] is None else tree["ceiling"]
        return cls(**{**tree, **tables, "ceiling": ceiling})

    def _parts(self) -> dict[str, object]:
        return {part.name: getattr(self, part.name) for part in fields(self)}
