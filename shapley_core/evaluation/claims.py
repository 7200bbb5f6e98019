"""The paper's claims, and the figures that this project wants to reach, as checks of an evaluation.

A claim that one number is above others holds where its 95 % interval lies above all of theirs, does not hold where one
of theirs lies above it, and cannot be told where they overlap or are not there. What cannot be told is neither a
success nor a failure: it takes more coalitions, or more sets of them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t

from shapley_core.evaluation import paper
from shapley_core.evaluation.counterfactual import Action
from shapley_core.evaluation.labels import OTHERS, attribution_label, method_label
from shapley_core.evaluation.result import LEAVE_ONE_OUT, NUMBER_OF_IMAGES, OURS, EvaluationResult
from shapley_core.formats import between, number_format, percent, points

Verdict = Literal["holds", "does not hold", "cannot be told"]

#: Share of the ceiling that the LDS is to reach (a target of this project).
SHARE_OF_CEILING = 0.8

_TARGET = "target of this project"
_SIMILARITIES = tuple(name for name in OTHERS if "_similarity_" in name)
_TRAK_LIKE = ("relative_influence", "renormalised_influence", "trak", "journey_trak", "d_trak")
_NOT_MEASURED = "Not measured."


@dataclass(frozen=True)
class Claim:
    """A claim and what an evaluation says of it.

    Attributes:
        sentence: the claim.
        source: where it comes from.
        measured: what was found here, a sentence or two.
        verdict: whether it holds here.
    """

    sentence: str
    source: str
    measured: str
    verdict: Verdict


class Estimate(NamedTuple):
    """A measured number with its 95 % interval; bounds are NaN where there is none."""

    label: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.label} {percent(self.value)} ({between(self.low, self.high)})"

    def __neg__(self) -> "Estimate":
        return Estimate(self.label, -self.value, -self.high, -self.low)


def claims(result: EvaluationResult) -> list[Claim]:
    """All claims: those of LDS, of cost, of other ways of removal, of counterfactuals."""
    alpha = float(result.facts["alpha"])
    return [
        *(highest_lds(result, a) for a in sorted({alpha, *result.lds["alpha"]})),
        _apart(result, alpha),
        _lds_of_the_paper(result, alpha),
        _share_of_ceiling(result, alpha),
        _more_than_size(result, alpha),
        _similarity_beats_trak(result, alpha),
        _journey_trak_is_negative(result, alpha),
        _leave_one_out_is_the_best_baseline(result, alpha),
        _cheaper(result),
        _better_for_the_budget(result, alpha, "retraining"),
        _better_for_the_budget(result, alpha, "finetuning"),
        _nearest_to_retraining(result),
        _counterfactual(result, "remove", paper.REMOVED),
        _counterfactual(result, "keep", paper.KEPT),
    ]


def lds_of(result: EvaluationResult, alpha: float, names: Iterable[str]) -> list[Estimate]:
    """LDS at ``alpha`` of those of the attributions that have one, the highest first."""
    rows = _rows(result.lds, alpha=alpha)
    wanted = {*names}
    found = [_estimate(row, "lds") for row in rows if row["attribution"] in wanted and math.isfinite(row["lds"])]
    return sorted(found, key=lambda estimate: -estimate.value)


def highest_lds(result: EvaluationResult, alpha: float) -> Claim:
    """Judged by the interval of the difference to each other method, over the same held-out coalitions."""
    ours = lds_of(result, alpha, [OURS])
    rivals = [r for r in _rows(result.lds, alpha=alpha) if r["attribution"] in OTHERS and math.isfinite(r["lds"])]
    measured = _NOT_MEASURED
    if ours and rivals:
        best = max(rivals, key=lambda row: row["lds"])
        n_behind = sum(row["ahead_low"] > 0 for row in rivals)
        measured = (
            f"{ours[0]}. The best of {len(rivals)} others is {_estimate(best, 'lds')}; {_difference(best)}. "
            f"The intervals of the differences to {n_behind} of {len(rivals)} are above zero."
        )
    return Claim(
        f"At α = {alpha:g}, sparsified-FT Shapley has the highest LDS of the methods of Table 1.",
        "Tables 1 and 3",
        measured,
        _verdict(
            holds=bool(ours and rivals) and all(row["ahead_low"] > 0 for row in rivals),
            fails=any(row["ahead_high"] < 0 for row in rivals),
        ),
    )


def _apart(result: EvaluationResult, alpha: float) -> Claim:
    """Here overlap is a failure: it is what the claim is about."""
    ours, others = lds_of(result, alpha, [OURS]), lds_of(result, alpha, OTHERS)
    measured, verdict = _NOT_MEASURED, _verdict(holds=False, fails=False)
    if ours and others:
        reaching = [other for other in others if other.high >= ours[0].low]
        names = ", ".join(map(str, reaching[:3])) + (f" and {len(reaching) - 3} more" if len(reaching) > 3 else "")
        measured = f"{ours[0]}. The intervals of {len(reaching)} of {len(others)} others reach that far"
        measured += f": {names}." if reaching else "."
        holds = _above(ours[0], others) == "holds"
        known = all(math.isfinite(bound) for e in (*ours, *others) for bound in (e.low, e.high))
        verdict = _verdict(holds=holds, fails=known and not holds)
    return Claim(
        f"At α = {alpha:g}, the interval of sparsified-FT Shapley lies above that of every other method of Table 1.",
        _TARGET,
        measured,
        verdict,
    )


def _lds_of_the_paper(result: EvaluationResult, alpha: float) -> Claim:
    goal = paper.TABLE_3[OURS][paper.ALPHAS.index(0.5)].mean
    ours = lds_of(result, alpha, [OURS])
    return Claim(
        f"The LDS of sparsified-FT Shapley at α = {alpha:g} is at least {goal} %, the paper’s on CIFAR-20.",
        _TARGET,
        f"{ours[0]}." if ours else _NOT_MEASURED,
        _at_least(ours, goal / 100),
    )


def _share_of_ceiling(result: EvaluationResult, alpha: float) -> Claim:
    shares = []
    if result.ceiling > 0:
        shares = [Estimate(e.label, *(x / result.ceiling for x in e[1:])) for e in lds_of(result, alpha, [OURS])]
    return Claim(
        f"The LDS of sparsified-FT Shapley at α = {alpha:g} is at least {100 * SHARE_OF_CEILING:g} % of the ceiling "
        "that the noise of retraining allows.",
        _TARGET,
        f"{shares[0]} of a ceiling of {percent(result.ceiling)}; the error of the ceiling is not in the interval."
        if shares
        else _NOT_MEASURED,
        _at_least(shares, SHARE_OF_CEILING),
    )


def _more_than_size(result: EvaluationResult, alpha: float) -> Claim:
    """Judged by the interval of the difference, as :func:`highest_lds`."""
    ours = lds_of(result, alpha, [OURS])
    rows = _rows(result.lds, alpha=alpha, attribution=NUMBER_OF_IMAGES) if ours else []
    sizes = [row for row in rows if math.isfinite(row["lds"])]
    return Claim(
        f"At α = {alpha:g}, sparsified-FT Shapley has a higher LDS than credit by the number of images.",
        _TARGET,
        f"{ours[0]}. {_estimate(sizes[0], 'lds')}; {_difference(sizes[0])}." if sizes else _NOT_MEASURED,
        _verdict(
            holds=any(row["ahead_low"] > 0 for row in sizes),
            fails=any(row["ahead_high"] < 0 for row in sizes),
        ),
    )


def _similarity_beats_trak(result: EvaluationResult, alpha: float) -> Claim:
    similar, trak = lds_of(result, alpha, _SIMILARITIES), lds_of(result, alpha, _TRAK_LIKE)
    pairs = [(one, other) for one in similar for other in trak]
    ahead, apart = (
        sum(one.value > other.value for one, other in pairs),
        sum(one.low > other.high for one, other in pairs),
    )
    return Claim(
        f"At α = {alpha:g}, similarity methods sometimes have a higher LDS than influence and TRAK methods.",
        "§4.5",
        f"Similarity is ahead in {ahead} of {_counted(len(pairs), 'pair')}, in {apart} of them with intervals apart; "
        f"the best of either kind are {similar[0]} and {trak[0]}."
        if pairs
        else _NOT_MEASURED,
        _verdict(holds=apart > 0, fails=bool(pairs) and all(one.high < other.low for one, other in pairs)),
    )


def _journey_trak_is_negative(result: EvaluationResult, alpha: float) -> Claim:
    found = lds_of(result, alpha, ["journey_trak"])
    return Claim(
        f"The LDS of Journey-TRAK at α = {alpha:g} is negative.",
        "§4.5",
        f"{found[0]}." if found else _NOT_MEASURED,
        _verdict(holds=any(e.high < 0 for e in found), fails=any(e.low > 0 for e in found)),
    )


def _leave_one_out_is_the_best_baseline(result: EvaluationResult, alpha: float) -> Claim:
    loo = lds_of(result, alpha, [LEAVE_ONE_OUT])
    others = lds_of(result, alpha, [name for name in OTHERS if name != LEAVE_ONE_OUT])
    return Claim(
        f"At α = {alpha:g}, leave-one-out is the best of the other methods of Table 1, as on CIFAR-20.",
        "Table 1",
        f"{loo[0]}; the best of the others is {others[0]}." if loo and others else _NOT_MEASURED,
        _above(loo[0], others) if loo else "cannot be told",
    )


def _cheaper(result: EvaluationResult) -> Claim:
    least = min(paper.TIMES_CHEAPER)
    times = next((row["times_cheaper"] for row in _rows(result.costs, method="sparsified_finetuning")), math.nan)
    return Claim(
        f"A coalition by sparsified FT is at least {least} times cheaper than by retraining.",
        "§4.5, Table 2",
        _NOT_MEASURED if math.isnan(times) else f"{times:.1f} times, by medians of training and sampling together.",
        _verdict(holds=times >= least, fails=times < least),
    )


def _better_for_the_budget(result: EvaluationResult, alpha: float, rival: str) -> Claim:
    """At each measured budget of the rival, against the most coalitions that ours was measured with for no more.

    From the cheapest of ours to the first that is as dear as the dearest of ours: beyond, budgets are not the same.
    """
    label = method_label(rival)
    ours = _rows(result.budget, alpha=alpha, method="sparsified_finetuning")
    pairs: list[tuple[Estimate, Estimate]] = []
    for row in sorted(_rows(result.budget, alpha=alpha, method=rival), key=lambda row: row["cost"]):
        affordable = [mine for mine in ours if mine["cost"] <= row["cost"]]
        if affordable:
            mine = max(affordable, key=lambda row: row["cost"])
            pairs.append((_estimate(mine, "lds"), _estimate(row, "lds")))
        if len(affordable) == len(ours):
            break
    ahead = sum(mine.value > other.value for mine, other in pairs)
    wins, losses = (sum(_above(mine, [other]) == v for mine, other in pairs) for v in ("holds", "does not hold"))
    return Claim(
        "Wherever intervals tell them apart, Shapley values by sparsified FT have a higher LDS than those by "
        f"{label[:1].lower()}{label[1:]} for the same budget, at α = {alpha:g}.",
        "Figure 2",
        f"Ahead at {ahead} of {_counted(len(pairs), 'budget')}; intervals are apart in its favour at {wins}, against "
        f"it at {losses}."
        if pairs
        else _NOT_MEASURED,
        _verdict(holds=wins > 0 and losses == 0, fails=losses > 0),
    )


def _nearest_to_retraining(result: EvaluationResult) -> Claim:
    """By Student's t intervals of the mean FIDs; smaller is nearer."""
    rows = {method: row for method in paper.TABLE_9 for row in _rows(result.fids, method=method)}
    show = number_format(np.array([row["mean"] for row in rows.values()]), digits=3)
    found = {method: _mean_estimate(row) for method, row in rows.items()}
    verdict: Verdict = "cannot be told"
    if "sparsified_finetuning" in found:
        others = [-estimate for method, estimate in found.items() if method != "sparsified_finetuning"]
        verdict = _above(-found["sparsified_finetuning"], others)
    if verdict == "holds" and len(found) < len(paper.TABLE_9):
        verdict = "cannot be told"
    said = "; ".join(f"{e.label} {show(e.value)} ({between(e.low, e.high, show)})" for e in found.values())
    return Claim(
        "By FID, the images of sparsified FT are nearer to those of retraining than the images of sparsified GA and "
        "sparsified IU.",
        "Table 9",
        f"{said}." if said else _NOT_MEASURED,
        verdict,
    )


def _counterfactual(result: EvaluationResult, action: Action, share: float) -> Claim:
    rows = [r for r in _rows(result.counterfactuals, action=action, share=share) if math.isfinite(r["change"])]
    ours = [_estimate(row, "change") for row in rows if row["attribution"] == OURS]
    others = [_estimate(row, "change") for row in rows if row["attribution"] in OTHERS]
    if action == "remove":  # the best removal is the one that lowers the property most
        sentence = "Removing our top {0} of the contributors lowers the property more than removing any other’s."
        verdict = _above(-ours[0], [-other for other in others]) if ours else "cannot be told"
        others.sort(key=lambda estimate: estimate.value)
    else:
        sentence = "Keeping our top {0} of the contributors alone leaves the property higher than keeping any other’s."
        verdict = _above(ours[0], others) if ours else "cannot be told"
        others.sort(key=lambda estimate: -estimate.value)
    return Claim(
        sentence.format(f"{100 * share:g} %"),
        "Figure 3",
        f"{ours[0]}; next of {_counted(len(others), 'other')}: {others[0]}." if ours and others else _NOT_MEASURED,
        verdict,
    )


def _verdict(*, holds: bool, fails: bool) -> Verdict:
    return "holds" if holds else "does not hold" if fails else "cannot be told"


def _above(mine: Estimate, others: Sequence[Estimate]) -> Verdict:
    """Does mine lie above all others? A bound that is NaN is neither above nor below."""
    return _verdict(
        holds=bool(others) and all(mine.low > other.high for other in others),
        fails=any(mine.high < other.low for other in others),
    )


def _at_least(found: Sequence[Estimate], least: float) -> Verdict:
    return _verdict(holds=any(e.low >= least for e in found), fails=any(e.high < least for e in found))


def _estimate(row: dict[str, Any], value: str) -> Estimate:
    """The number ``value`` of a row, with its bounds."""
    return Estimate(attribution_label(row.get("attribution", "")), row[value], row["low"], row["high"])


def _difference(row: dict[str, Any]) -> str:
    """How far ours is ahead of the attribution of a row."""
    return f"the difference is {points(row['ahead'])} points ({between(row['ahead_low'], row['ahead_high'])})"


def _mean_estimate(row: dict[str, Any]) -> Estimate:
    """A mean with Student's t interval, of a row of ``mean``, ``std`` and ``n_coalitions``."""
    n = row["n_coalitions"]
    half = t.ppf(0.975, n - 1) * row["std"] / math.sqrt(n) if n > 1 else math.nan
    return Estimate(method_label(row["method"]), row["mean"], row["mean"] - half, row["mean"] + half)


def _rows(table: pd.DataFrame, **where: str | float) -> list[dict[str, Any]]:
    """The rows in which the columns named have these values."""
    return [row for row in _records(table) if all(_same(row[column], value) for column, value in where.items())]


def _records(table: pd.DataFrame) -> Any:
    return table.to_dict("records")


def _same(value: Any, wanted: str | float) -> bool:
    return value == wanted if isinstance(wanted, str) else math.isclose(value, wanted)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
