"""The tables and figures of an evaluation as sections of text, the paper's numbers beside ours wherever it has some.

They are of other data and larger models: what is to be compared is the order of methods and the size of differences.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shapley_core.evaluation import paper
from shapley_core.evaluation.labels import (
    TABLE_1_LABELS,
    action_label,
    attribution_label,
    in_order,
    method_label,
)
from shapley_core.evaluation.removal import REMOVAL_METHODS
from shapley_core.evaluation.result import OURS, EvaluationResult
from shapley_core.formats import between, duration, fact, number_format, percent, points, times

_OURS = "sparsified_finetuning"
_DASH = "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and what stands in small letters below."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table, the first cell names it.

    Attributes:
        cells: as many as there are columns.
        ours: this project's method.
        extra: stands below a rule, because the paper's table does not have it.
    """

    cells: tuple[Cell, ...]
    ours: bool = False
    extra: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the last ``n_theirs`` columns are the paper's."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    n_theirs: int = 0


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        text: paragraphs.
        tables: below them.
        figure: name of the figure; empty: there is none.
        figure_text: what the figure shows.
        remarks: sentences below the tables.
    """

    title: str
    text: Sequence[str]
    tables: Sequence[Table] = ()
    figure: str = ""
    figure_text: str = ""
    remarks: Sequence[str] = ()


def sections(result: EvaluationResult) -> list[Section]:
    """One for each of the paper's tables and figures, LDS first, one for what sums lose and one for fidelity."""
    return [
        _table_1(result),
        _table_3(result),
        _table_2(result),
        _table_4(result),
        _surrogates(result),
        _table_9(result),
        _fidelity(result),
        _figure_3(result),
    ]


def _table_1(result: EvaluationResult) -> Section:
    alpha = float(result.facts["alpha"])
    known = _by(_at(result.lds, alpha), "attribution")
    rows = []
    for name in in_order([*TABLE_1_LABELS, *known], TABLE_1_LABELS):
        of = known.get(name, {})
        rows.append(
            _row(
                Cell(attribution_label(name), _called(name)),
                points(of.get("lds")),
                _intervals(of),
                _with_interval(of, "ahead", "ahead_low", "ahead_high") if name != OURS else "",
                *(_printed(score) for score in paper.TABLE_1.get(name, (None,) * len(paper.DATA_SETS))),
                ours=name == OURS,
                extra=name not in TABLE_1_LABELS,
            )
        )
    text = [
        "The linear datamodeling score (LDS, Definition 2): the rank correlation between what an attribution predicts "
        "for held-out coalitions, which no attribution has seen, and the property of models retrained on them, "
        f"{_judges(result, alpha)}. The interval comes from a bootstrap over these coalitions; below it, Student’s t "
        "over the sets, which knows of few sets. “Ahead” is how far sparsified-FT Shapley is ahead, over the same "
        "bootstrap samples: where its interval leaves out zero, the two differ.",
        _ceiling(result),
    ]
    return Section(
        f"Table 1: LDS at α = {alpha:g}",
        text,
        [
            Table(
                "LDS, %; the paper’s at α = 0.5, ± half its 95 % interval",
                [
                    *("Method", "LDS here", "95 % interval", "Ahead, points"),
                    *(f"Paper: {data_set}" for data_set in paper.DATA_SETS),
                ],
                rows,
                n_theirs=len(paper.DATA_SETS),
            )
        ],
        figure="lds",
        figure_text="Dots are LDS here with their 95 % intervals, diamonds the paper’s on CIFAR-20.",
        remarks=[f"{attribution_label(name)}: {reason}" for name, reason in result.refused.items()],
    )


def _table_3(result: EvaluationResult) -> Section:
    alphas = sorted({*result.lds["alpha"]})
    known = {alpha: _by(_at(result.lds, alpha), "attribution") for alpha in alphas}
    rows = [
        _row(
            Cell(attribution_label(name), _called(name)),
            *(_with_interval(known[a].get(name, {}), "lds") for a in alphas),
            *(_printed(score) for score in paper.TABLE_3.get(name, (None,) * len(paper.ALPHAS))),
            ours=name == OURS,
            extra=name not in TABLE_1_LABELS,
        )
        for name in in_order([*TABLE_1_LABELS, *result.lds["attribution"]], TABLE_1_LABELS)
    ]
    held_out = "; ".join(f"α = {alpha:g}: {_judges(result, alpha)}" for alpha in alphas)
    return Section(
        "Table 3: LDS by the size of held-out coalitions",
        [f"α is the share of contributors in a held-out coalition. {held_out}."],
        [
            Table(
                "LDS, %, with 95 % intervals; the paper’s on CIFAR-20",
                [
                    "Method",
                    *(f"α = {alpha:g}" for alpha in alphas),
                    *(f"Paper: α = {a}" for a in paper.ALPHAS),
                ],
                rows,
                n_theirs=len(paper.ALPHAS),
            )
        ],
    )


def _table_2(result: EvaluationResult) -> Section:
    known = _by(result.costs, "method")
    rows = []
    for method in in_order([*paper.TABLE_2, *known], REMOVAL_METHODS):
        of = known.get(method, {})
        training, sampling = of.get("training_seconds", math.nan), of.get("sampling_seconds", math.nan)
        rows.append(
            _row(
                method_label(method),
                _count(of.get("n_coalitions")),
                _duration(training),
                _duration(sampling),
                _duration(training + sampling),
                times(of.get("times_cheaper", math.nan)),
                *_minutes(method),
                ours=method == _OURS,
            )
        )
    return Section(
        "Table 2: what a coalition costs",
        ["Medians over the coalitions measured; times cheaper by training and sampling together."],
        [
            Table(
                "Time of a coalition; the paper’s in minutes, training + inference, and how many times cheaper",
                [
                    *("Removal method", "Coalitions", "Training", "Sampling", "Together", "Times cheaper"),
                    *(f"Paper: {data_set}" for data_set in paper.DATA_SETS),
                ],
                rows,
                n_theirs=len(paper.DATA_SETS),
            )
        ],
    )


def _table_4(result: EvaluationResult) -> Section:
    budget = result.budget
    counts = sorted({*budget["n_coalitions"].astype(int)})
    rows = []
    for alpha in sorted({*budget["alpha"]}):
        for method, of_method in _methods(_at(budget, alpha)):
            known = _by(of_method, "n_coalitions")
            scores = [_with_interval(known.get(count, {}), "lds") for count in counts]
            rows.append(_row(Cell(method_label(method), f"α = {alpha:g}"), *scores, ours=method == _OURS))
    for method, of_method in _methods(budget):
        known = _by(of_method, "n_coalitions")
        costs = [_number(known.get(count, {}).get("cost")) for count in counts]
        rows.append(_row(Cell(method_label(method), "budget"), *costs, ours=method == _OURS, extra=True))
    theirs = [
        _row(Cell(method_label(method), f"α = {alpha:g}"), *map(_printed, scores), ours=method == _OURS)
        for (alpha, method), scores in paper.TABLE_4.items()
    ]
    return Section(
        "Table 4 and Figure 2: LDS by number of coalitions, and by budget",
        [
            "Shapley values solved from the first coalitions of the valuation’s plan, as each removal method measured "
            "them. One unit of budget is what it takes to retrain a full model and to sample from it."
        ],
        [
            Table(
                "LDS here, %, with 95 % intervals, by number of coalitions; at the end their budget",
                ["Method", *map(fact, counts)],
                rows,
            ),
            Table(
                "The paper’s on CIFAR-20, %, by number of coalitions",
                ["Method", *map(fact, paper.TABLE_4_COALITIONS)],
                theirs,
                n_theirs=len(paper.TABLE_4_COALITIONS),
            ),
        ],
        figure="budget",
        figure_text=f"LDS at α = {float(result.facts['alpha']):g} against the budget; bands are 95 % intervals.",
    )


def _surrogates(result: EvaluationResult) -> Section:
    alphas = sorted({*result.surrogates["alpha"], *result.short_cut["alpha"]})
    known = {a: _by(_at(result.surrogates, a), "order") for a in alphas}
    itself = {a: _by(_at(result.short_cut, a), "prediction") for a in alphas}
    ours = {a: _by(_at(result.lds, a), "attribution").get(OURS, {}) for a in alphas}
    rows = [
        _row(attribution_label(OURS), *(_with_interval(ours[a], "lds") for a in alphas), ours=True),
        *(
            _row(
                Cell(name, "regression on the same coalitions"),
                *(_with_interval(known[a].get(order, {}), "lds") for a in alphas),
            )
            for order, name in ((1, "A sum of contributors"), (2, "Contributors and pairs"))
        ),
        *(
            _row(Cell(name, detail), *(_with_interval(itself[a].get(prediction, {}), "lds") for a in alphas))
            for prediction, name, detail in (
                ("v", f"{method_label(_OURS)} itself", "v(S) of the held-out coalitions"),
                ("sum", "The nearest sum of contributors", "to v(S) of the held-out coalitions"),
            )
        ),
        _row(
            Cell("What pairs add", "points"),
            *(_with_interval(known[a].get(2, {}), "gain", "gain_low", "gain_high") for a in alphas),
            extra=True,
        ),
    ]
    columns = ["Prediction", *(f"α = {a:g}" for a in alphas)]
    return Section(
        "What a sum of contributors cannot say",
        [
            "An attribution predicts the property of a coalition by a sum over its contributors. Where these stand in "
            "for each other, or need each other, no sum does that well, however true the measurements. How true they "
            "are, the held-out coalitions tell, which sparsified fine-tuning measured, too, for nothing but this: what "
            "v(S) by itself lacks to the ceiling, the short cut loses; what the nearest sum lacks to v(S), adding up; "
            "what values lack to this sum, asking coalitions of all sizes alike, and too few of them. A regression on "
            "the very coalitions that the values were solved from, which may see pairs of contributors, too, tells how "
            "much can be had from these."
        ],
        [Table("LDS of sums, of pairs and of v(S), %, with 95 % intervals", columns, rows)] if alphas else (),
    )


def _table_9(result: EvaluationResult) -> Section:
    known = _by(result.fids, "method")
    fids = number_format(result.fids["mean"].to_numpy(float), digits=3)
    rows = []
    for method in in_order([*paper.TABLE_9, *known], REMOVAL_METHODS):
        of, printed = known.get(method, {}), paper.TABLE_9.get(method)
        rows.append(
            _row(
                method_label(method),
                _count(of.get("n_coalitions")),
                _with_deviation(of.get("mean"), of.get("std"), fids),
                f"{printed.mean} ({printed.half})" if printed else _DASH,
                ours=method == _OURS,
            )
        )
    return Section(
        "Table 9: how near the images are to those of retraining",
        [
            "The Fréchet distance between the images of a coalition’s model by a removal method and by retraining; "
            "smaller is nearer. In brackets the standard deviation over coalitions."
        ],
        [
            Table(
                "FID to retraining, mean (standard deviation)",
                ["Removal method", "Coalitions", "FID here", "Paper: CIFAR-20"],
                rows,
                n_theirs=1,
            )
        ],
    )


def _fidelity(result: EvaluationResult) -> Section:
    whole = result.fidelity[result.fidelity["size"] == -1]
    by_size = result.fidelity[result.fidelity["size"] >= 0]
    methods = [method for method, _ in _methods(result.fidelity)]
    overall = [
        _row(
            _retrained(method),
            _count(of["n_coalitions"]),
            *map(_correlation, (of["pearson"], of["spearman"])),
            ours=method == _OURS,
        )
        for method, rows in _methods(whole)
        for of in _records(rows)
    ]
    known = {method: _by(rows, "size") for method, rows in _methods(by_size)}
    sizes = [
        _row(
            fact(int(size)),
            *(_size_cell(known.get(method, {}).get(size, {})) for method in methods),
        )
        for size in sorted({*by_size["size"]})
    ]
    tables = []
    if overall:
        tables.append(Table("Over all coalitions", ["Removal method", "Coalitions", "Pearson", "Spearman"], overall))
    if sizes:
        tables.append(
            Table(
                "Spearman by size of the coalition; below it the number of coalitions",
                ["Size", *map(_retrained, methods)],
                sizes,
            )
        )
    return Section(
        "Fidelity: does the property of a coalition’s model stand in for that of a retrained one?",
        [
            "Correlation of the property over the same coalitions. Large and small coalitions differ so much that a "
            "method can correlate well over all sizes and tell nothing of coalitions of one size, which is what values "
            "are made of. Retraining with another seed says how well retraining agrees with itself."
            f"{'' if overall else ' No coalition of the valuation was retrained here, so it is not known.'}"
        ],
        tables,
        figure="fidelity",
        figure_text="Rank correlation with retraining among coalitions of one size.",
    )


def _figure_3(result: EvaluationResult) -> Section:
    table = result.counterfactuals
    actions = list(dict.fromkeys(zip(table["action"], table["share"], strict=True)))
    known = {
        what: _by(table[(table["action"] == what[0]) & np.isclose(table["share"], what[1])], "attribution")
        for what in actions
    }
    rows = []
    for name in in_order([*table["attribution"], *(name for _, name in paper.FIGURE_3)], TABLE_1_LABELS):
        here = [known[what].get(name, {}) for what in actions]
        theirs = [paper.FIGURE_3.get((action, name), (None,) * len(paper.DATA_SETS)) for action in ("remove", "keep")]
        rows.append(
            _row(
                attribution_label(name),
                *(_with_interval(of, "change") for of in here),
                *(_text(changes) for changes in zip(*theirs, strict=True)),
                ours=name == OURS,
                extra=name not in TABLE_1_LABELS,
            )
        )
    left = [
        f"{fact(int(of['n']))} contributors with the {action_label(*what)}"
        for what in actions
        for of in [*known[what].values()][:1]
    ]
    return Section(
        "Figure 3: without the top contributors, and with them alone",
        [
            "How the property of a retrained model changes, relative to everybody’s, when the contributors that a "
            "method ranks first are removed (a good method lowers it most), or kept alone (it lowers it least). "
            f"{'There are left ' + ', '.join(left) if left else 'Nobody was removed here'}. "
            "Intervals are Student’s t over the sets."
        ],
        [
            Table(
                "Change of the property, %, with 95 % intervals; the paper’s: "
                f"top {100 * paper.REMOVED:g} % removed / top {100 * paper.KEPT:g} % kept alone",
                [
                    *("Method", *(action_label(*what).capitalize() for what in actions)),
                    *(f"Paper: {data_set}" for data_set in paper.DATA_SETS),
                ],
                rows,
                n_theirs=len(paper.DATA_SETS),
            )
        ],
        figure="counterfactuals",
        figure_text="Bars are means over the sets, lines their 95 % intervals; a line that reaches the edge goes on.",
    )


def _judges(result: EvaluationResult, alpha: float) -> str:
    """The held-out coalitions of a share: how many, and of how many contributors."""
    row = next(iter(_records(_at(result.lds, alpha))), None)
    if row is None:
        return "of which there are none"
    times = int(result.facts.get("retrainings of a held-out coalition", 1))
    mean = f", the mean of {fact(times)} retrainings each" if times > 1 else ""
    return f"{fact(int(row['n_coalitions']))} coalitions of {fact(int(row['size']))} contributors{mean}"


def _ceiling(result: EvaluationResult) -> str:
    if math.isnan(result.ceiling):
        return "No coalition was retrained twice, so the LDS that noise allows is not known."
    return (
        f"The ceiling is {percent(result.ceiling)}: retraining the same coalitions with another seed does not give the "
        "same numbers, and no prediction can be expected to do better than that."
    )


def _minutes(method: str) -> list[Cell | str]:
    """The paper's Table 2; times cheaper by its own sums."""
    if method not in paper.TABLE_2:
        return [_DASH] * len(paper.DATA_SETS)
    retraining = [sum(minutes) for minutes in paper.TABLE_2["retraining"]]
    return [
        Cell(f"{minutes.training} + {minutes.inference}", times(whole / sum(minutes)))
        for minutes, whole in zip(paper.TABLE_2[method], retraining, strict=True)
    ]


def _row(*cells: Cell | str, ours: bool = False, extra: bool = False) -> Row:
    return Row(tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells), ours, extra)


def _called(name: str) -> str:
    return f"the paper: {paper.CALLED_IN_PAPER[name]}" if name in paper.CALLED_IN_PAPER else ""


def _printed(score: paper.Printed | None) -> str:
    return f"{_signed(score.mean)} ± {score.half:.2f}" if score else _DASH


def _signed(number: float) -> str:
    return f"{number:.2f}".replace("-", "\N{MINUS SIGN}")


def _text(changes: Iterable[float | None]) -> str:
    texts = [_DASH if change is None else _signed(change) for change in changes]
    return _DASH if {*texts} == {_DASH} else " / ".join(texts)


def _with_interval(of: Mapping[str, Any], value: str, low: str = "low", high: str = "high") -> Cell:
    """A number of a row and its interval, in hundredths; a dash where there is no row or no number."""
    interval = between(of.get(low, math.nan), of.get(high, math.nan))
    return Cell(points(of.get(value)), "" if interval == _DASH else interval)


def _intervals(of: Mapping[str, Any]) -> Cell:
    """The interval of an LDS, and below it Student's t."""
    over_sets = between(of.get("t_low", math.nan), of.get("t_high", math.nan))
    return Cell(_with_interval(of, "lds").small or _DASH, "" if over_sets == _DASH else f"t: {over_sets}")


def _number(number: float | None) -> str:
    return _DASH if number is None or math.isnan(number) else f"{number:.3g}"


def _with_deviation(mean: float | None, deviation: float | None, text: Any) -> str:
    return f"{text(mean)} ({text(deviation)})" if mean is not None else _DASH


def _size_cell(of: dict[str, Any]) -> Cell:
    return Cell(_correlation(of.get("spearman")), _count(of.get("n_coalitions"))) if of else Cell(_DASH)


def _correlation(number: float | None) -> str:
    return number_format(np.array([1.0]), digits=3)(number)


def _retrained(method: str) -> str:
    return "Retraining, another seed" if method == "retraining" else method_label(method)


def _count(count: float | None) -> str:
    return _DASH if count is None else fact(int(count))


def _duration(seconds: float) -> str:
    """Two decimals below ten seconds: small models take less than one."""
    if math.isnan(seconds):
        return _DASH
    return f"{seconds:.2f}\N{NO-BREAK SPACE}s" if seconds < 10 else duration(seconds)


def _at(table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Rows of one share of contributors."""
    rows: pd.DataFrame = table[np.isclose(table["alpha"], alpha)]
    return rows


def _by(table: pd.DataFrame, column: str) -> dict[Any, dict[str, Any]]:
    """Rows by the values of a column."""
    return {row[column]: row for row in _records(table)}


def _methods(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows by removal method, in the registry's order."""
    return [(method, table[table["method"] == method]) for method in in_order(table["method"], REMOVAL_METHODS)]


def _records(table: pd.DataFrame) -> Any:
    return table.to_dict("records")
