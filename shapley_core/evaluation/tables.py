"""The tables of an evaluation besides LDS, from what was measured by each removal method.

A table of measurements has the columns of :mod:`~shapley_core.evaluation.coalitions` and those of a utility table, and
``fid``; rows that failed have another status than "ok".
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from shapley_core.errors import UserError
from shapley_core.evaluation.counterfactual import relative_change
from shapley_core.evaluation.fidelity import fidelity
from shapley_core.evaluation.judgement import mean_of_seeds, succeeded
from shapley_core.evaluation.lds import noise_ceiling, over_sets

_ONE = ["key", "seed"]


def costs_table(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """``costs`` of :class:`~shapley_core.evaluation.result.EvaluationResult`, a row for each measured method."""
    rows = []
    for method, table in measured.items():
        there = succeeded(table).drop_duplicates(_ONE)
        there = there[there["members"].map(len) > 0]  # the untrained model costs nothing to train
        if there.empty:
            continue
        training, sampling = (float(there[f"{kind}_seconds"].median()) for kind in ("training", "sampling"))
        rows.append(
            {
                "method": method,
                "n_coalitions": len(there),
                "training_seconds": training,
                "sampling_seconds": sampling,
                "total": training + sampling,
            }
        )
    costs = pd.DataFrame(rows).set_index("method")
    costs["times_cheaper"] = costs["total"]["retraining"] / costs["total"] if "retraining" in costs.index else np.nan
    return costs.drop(columns="total").reset_index()


def fidelity_table(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """``fidelity`` of :class:`~shapley_core.evaluation.result.EvaluationResult`."""
    rows: list[dict[str, object]] = []
    truth = succeeded(measured["retraining"])
    once = truth.drop_duplicates(["purpose", "set", "key"])
    for method, table in measured.items():
        both = _again(once) if method == "retraining" else _both(table, truth)
        if len(both) < 3 or np.ptp(both["truth"]) == 0:
            continue
        sizes = both["members"].map(len).to_numpy()
        found = fidelity(both["value"].to_numpy(), both["truth"].to_numpy(), sizes)
        whole = {"n_coalitions": len(both), "pearson": found.pearson, "spearman": found.spearman}
        rows.append({"method": method, "size": -1, **whole})
        for size, (count, spearman) in found.by_size.items():
            of_size = both[sizes == size]
            pearson = of_size["value"].corr(of_size["truth"])
            rows.append(
                {"method": method, "size": size, "n_coalitions": count, "pearson": pearson, "spearman": spearman}
            )
    return pd.DataFrame(rows, columns=["method", "size", "n_coalitions", "pearson", "spearman"])


def fids_table(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """``fids`` of :class:`~shapley_core.evaluation.result.EvaluationResult`."""
    rows = []
    for method, table in measured.items():
        fids = table.loc[table["purpose"] == "compared", "fid"].dropna()
        if len(fids):
            spread = float(fids.std(ddof=1)) if len(fids) > 1 else np.nan
            rows.append({"method": method, "n_coalitions": len(fids), "mean": float(fids.mean()), "std": spread})
    return pd.DataFrame(rows, columns=["method", "n_coalitions", "mean", "std"])


def counterfactuals_table(retrained: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """``counterfactuals`` of :class:`~shapley_core.evaluation.result.EvaluationResult`.

    Args:
        retrained: measurements of retraining, with everybody's model in each set.
        again: measurements of the counterfactual coalitions.

    Raises:
        UserError: the property of everybody's model is zero.
    """
    everybody = succeeded(retrained)
    before = everybody[everybody["purpose"] == "everybody"].set_index("set")["value"]
    rows = []
    columns = ["attribution", "action", "share"]
    for (attribution, action, share), group in succeeded(again).groupby(columns, sort=False):
        known = group[group["set"].isin(before.index)]
        if known.empty:
            continue
        changes = [
            relative_change(after, float(before[number]))
            for number, after in zip(known["set"], known["value"], strict=True)
        ]
        over = over_sets(changes)
        left = len(known["members"].iloc[0])
        rows.append(
            {
                **dict(zip(columns, (attribution, action, share), strict=True)),
                "n": left,
                "change": over.mean,
                "low": over.low,
                "high": over.high,
            }
        )
    return pd.DataFrame(rows, columns=[*columns, "n", "change", "low", "high"])


def ceiling(retrained: pd.DataFrame) -> float:
    """The LDS that a perfect prediction can expect by the noise of retraining; NaN where nothing was repeated.

    Of judges that are means of several retrainings, by means of as many others.
    """
    both = _again(mean_of_seeds(succeeded(retrained)))
    try:
        return noise_ceiling(both["truth"].to_numpy(), both["value"].to_numpy())
    except UserError:  # too few of them
        return float("nan")


def _both(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Interior coalitions of the valuation, and held-out ones, measured by both methods: members, value and truth."""
    mine, theirs = (
        of[of["purpose"].isin(("fit", "held_out"))].drop_duplicates(_ONE)[[*_ONE, "members", "value"]]
        for of in (succeeded(table), truth)
    )
    both: pd.DataFrame = mine.merge(theirs.drop(columns="members").rename(columns={"value": "truth"}), on=_ONE)
    sizes = both["members"].map(len)
    interior: pd.DataFrame = both[(sizes > 0) & (sizes < truth["members"].map(len).max())]
    return interior.reset_index(drop=True)


def _again(truth: pd.DataFrame) -> pd.DataFrame:
    """Held-out coalitions that were repeated: members, value of the second time and truth, the first; a row each."""
    first = truth[truth["purpose"] == "held_out"].rename(columns={"value": "truth"})
    second = truth[truth["purpose"] == "repeated"]
    where = ["set", "key"]
    both: pd.DataFrame = second[[*where, "members", "value"]].merge(first[[*where, "truth"]], on=where)
    return both
