"""Attributions before the judges: their LDS over held-out coalitions, with intervals, and who is the best of its kind.

Intervals come from a bootstrap over the coalitions of each set, the same samples for all attributions, so that the
difference of two of them is told more exactly than each by itself. They say what other held-out coalitions would tell;
that the values themselves came from a draw of coalitions is not in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from shapley_core.errors import UserError
from shapley_core.evaluation.lds import over_sets, rank_correlation
from shapley_core.evaluation.result import LEAVE_ONE_OUT

Floats = npt.NDArray[np.float64]

#: Bootstrap samples.
N_SAMPLES = 2000

#: Kinds of baselines, of which the paper takes the best one each for its counterfactuals (§4.4).
CATEGORIES: dict[str, tuple[str, ...]] = {
    "similarity": ("pixel_similarity", "embedding_similarity", "embedding_distance", "gradient_similarity"),
    "the property itself": ("property",),
    "influence": ("relative_influence", "renormalised_influence", "trak", "journey_trak", "d_trak"),
    "removal": (LEAVE_ONE_OUT,),
}


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out coalitions of one size that were retrained.

    Attributes:
        alpha: their share of the contributors, as asked for.
        membership: (B, n), who is in each.
        utilities: (B,) of the retrained models, finite.
        sets: (B,) number of the set each belongs to.
    """

    alpha: float
    membership: npt.NDArray[np.bool_]
    utilities: Floats
    sets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, measured: pd.DataFrame, alpha: float, n: int) -> "HeldOut":
        """From the measurements of retraining (purposes with utilities); what failed is left out.

        A coalition that was retrained with several seeds has their mean.

        Raises:
            UserError: a set has fewer than two coalitions, or the property is the same for all of a set.
        """
        there = succeeded(measured)
        rows = mean_of_seeds(there[(there["purpose"] == "held_out") & np.isclose(there["share"], alpha)])
        held_out = cls(
            alpha,
            membership_of(rows["members"], n),
            rows["value"].to_numpy(dtype=float),
            rows["set"].to_numpy(dtype=np.int64),
        )
        for number in np.unique(measured.loc[measured["purpose"] == "held_out", "set"]):
            there = held_out.utilities[held_out.sets == number]
            if len(there) < 2 or np.ptp(there) == 0:
                what = f"{there[0]:g} for all" if len(there) > 1 else "measured for too few"
                raise UserError(
                    f"the property is {what} of the held-out coalitions of set {number} (alpha {alpha:g}): there is "
                    "nothing to judge attributions by"
                )
        return held_out

    def only(self, rows: npt.NDArray[np.bool_]) -> "HeldOut":
        """Some of them: (B,) True."""
        return replace(self, membership=self.membership[rows], utilities=self.utilities[rows], sets=self.sets[rows])

    def scores(self, predicted: Floats) -> list[float]:
        """Rank correlation of each set with a prediction (B,); of ``membership @ attribution`` it is the LDS."""
        groups = [self.sets == number for number in np.unique(self.sets)]
        return [rank_correlation(predicted[g], self.utilities[g]) for g in groups]

    def bootstrap(self, predictions: Sequence[Floats], seed: int, n_samples: int = N_SAMPLES) -> Floats:
        """(P, n_samples), the mean score over the sets, each resampled; the same samples for every prediction."""
        rng = np.random.default_rng(seed)
        total = np.zeros((len(predictions), n_samples))
        numbers = np.unique(self.sets)
        for number in numbers:
            rows = np.flatnonzero(self.sets == number)
            drawn = rows[rng.integers(len(rows), size=(n_samples, len(rows)))]
            measured = _standardised(rankdata(self.utilities[drawn], axis=1))
            for score, predicted in zip(total, predictions, strict=True):
                score += (_standardised(rankdata(predicted[drawn], axis=1)) * measured).sum(axis=1)
        return total / len(numbers)


def lds_table(attributions: Mapping[str, Floats], judges: Sequence[HeldOut], ours: str, seed: int) -> pd.DataFrame:
    """``lds`` of :class:`~shapley_core.evaluation.result.EvaluationResult`.

    Args:
        attributions: name to (n,) values.
        judges: held-out coalitions of each share.
        ours: the attribution that the others are compared with.
        seed: of the bootstrap.
    """
    tables = [
        judged({name: judge.membership @ tau for name, tau in attributions.items()}, judge, ours, seed)
        for judge in judges
    ]
    return pd.concat(tables, ignore_index=True).rename(columns={"prediction": "attribution"})


def judged(predictions: Mapping[str, Floats], judge: HeldOut, ours: str, seed: int) -> pd.DataFrame:
    """A row for each prediction: ``prediction``, its name, and the columns of ``lds``.

    Args:
        predictions: name to (B,) numbers, one for each held-out coalition.
        judge: these coalitions.
        ours: the prediction that the others are compared with.
        seed: of the bootstrap.
    """
    samples = dict(zip(predictions, judge.bootstrap([*predictions.values()], seed), strict=True))
    over = {name: over_sets(judge.scores(predicted)) for name, predicted in predictions.items()}
    rows = []
    for name in predictions:
        low, high = np.quantile(samples[name], (0.025, 0.975))
        ahead_low, ahead_high = np.quantile(samples[ours] - samples[name], (0.025, 0.975))
        rows.append(
            {
                "prediction": name,
                "alpha": judge.alpha,
                "size": int(judge.membership.sum(axis=1)[0]),
                "n_coalitions": len(judge.utilities),
                "lds": over[name].mean,
                "low": low,
                "high": high,
                "t_low": over[name].low,
                "t_high": over[name].high,
                "ahead": over[ours].mean - over[name].mean,
                "ahead_low": ahead_low,
                "ahead_high": ahead_high,
            }
        )
    return pd.DataFrame(rows)


def best_of_each_kind(attributions: Mapping[str, Floats], judge: HeldOut) -> list[str]:
    """Of each of :data:`CATEGORIES` the attribution with the highest mean LDS."""
    best = []
    for stems in CATEGORIES.values():
        scores = {
            name: float(np.mean(judge.scores(judge.membership @ values)))
            for name, values in attributions.items()
            if name.startswith(stems)
        }
        if scores:
            best.append(max(scores, key=lambda name: scores[name]))
    return best


def succeeded(measured: pd.DataFrame) -> pd.DataFrame:
    """The measurements that have a number."""
    ok: pd.DataFrame = measured[(measured["status"] == "ok") & np.isfinite(measured["value"])]
    return ok


def mean_of_seeds(measured: pd.DataFrame) -> pd.DataFrame:
    """One row per purpose, set and coalition, in their order: ``members``, and the mean ``value`` of its seeds."""
    groups = measured.groupby(["purpose", "set", "key"], sort=False, as_index=False)
    means: pd.DataFrame = groups.agg({"members": "first", "value": "mean"})
    return means


def membership_of(members: pd.Series, n: int) -> npt.NDArray[np.bool_]:
    """(rows, n) bool of a column of lists of contributors' numbers."""
    membership = np.zeros((len(members), n), dtype=bool)
    for row, chosen in zip(membership, members, strict=True):
        row[chosen] = True
    return membership


def _standardised(ranks: Floats) -> Floats:
    """Rows with mean 0 and length 1, so that products are correlations; 0 where all ranks of a row are the same."""
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-12))
