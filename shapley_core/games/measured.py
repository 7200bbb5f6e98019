"""The measured game: a plan joined with its utilities, which is all an estimator needs to know."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from shapley_core.errors import UserError, did_you_mean
from shapley_core.games.designs.base import no_orders
from shapley_core.games.plan import Plan
from shapley_core.games.utilities import merge_utilities

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeasuredGame:
    """What was measured of a game of n contributors; failed coalitions are left out.

    Attributes:
        contributors: n names.
        membership: (m, n) bool; who is in each interior coalition.
        values: (m,) v(S), in the property's own unit; finite.
        weight: (m,) weight of each coalition in the regression, positive.
        pair: (m,) the two rows of a complementary pair share a number; -1: no partner, or its partner failed.
        null_value: v(∅), of the model nobody's data went into.
        full_value: v(N), of the model trained on everybody.
        property: name of the measured property.
        design: name of the sampling design.
        n_planned: interior coalitions in the plan, measured or not.
        orders: (k, n) orders of joining whose coalitions were planned (the permutation designs and two_level); (0, 0)
            elsewhere.
        unions: (n,) number of the union that each contributor belongs to; empty where there are none.
    """

    contributors: tuple[str, ...]
    membership: npt.NDArray[np.bool_]
    values: Floats
    weight: Floats
    pair: npt.NDArray[np.int64]
    null_value: float
    full_value: float
    property: str
    design: str
    n_planned: int
    orders: npt.NDArray[np.int64] = field(default_factory=no_orders)
    unions: tuple[int, ...] = ()

    def sorted(self) -> "MeasuredGame":
        """The same with its rows in an order of their membership, for what would hang on the order they came in."""
        order = np.lexsort(np.packbits(self.membership, axis=1).T)
        return replace(
            self,
            membership=self.membership[order],
            values=self.values[order],
            weight=self.weight[order],
            pair=self.pair[order],
        )

    def first(self, m: int) -> "MeasuredGame":
        """The game as if measuring had stopped after its first ``m`` coalitions."""
        return replace(
            self,
            membership=self.membership[:m],
            values=self.values[:m],
            weight=self.weight[:m],
            pair=_whole_pairs(self.pair[:m]),
        )


def measured_game(plan: Plan, utilities: pd.DataFrame, property: str, min_measured: float) -> MeasuredGame:
    """Joins a plan with the utilities of one property.

    A coalition counts as measured when the table has a row with its key and seed, status "ok" and a finite
    value.

    Args:
        plan: the coalitions that were to be measured.
        utilities: a utility table (:data:`~shapley_core.games.utilities.UTILITY_SCHEMA`); rows of other
            coalitions, properties or seeds are passed over.
        property: name of the property.
        min_measured: share of the planned interior coalitions that must have been measured, 0 to 1.

    Raises:
        UserError: v(∅) or v(N) was not measured, or too few of the coalitions were.
    """
    known = set(utilities["property"])
    if property not in known:
        hint = did_you_mean(property, known) if known else "it has no rows at all."
        raise UserError(f"the utility table has no values of the property '{property}': {hint}")
    table = plan.table[["key", "seed", "kind", "weight", "pair"]].merge(
        merge_utilities([utilities[utilities["property"] == property]]),
        on=["key", "seed"],
        how="left",
    )
    table["status"] = table["status"].fillna("it was not measured")
    ok = (table["status"] == "ok").to_numpy() & np.isfinite(table["value"].to_numpy(dtype=np.float64))
    sampled = (table["kind"] == "sampled").to_numpy()

    kept = ok & sampled
    n_planned, n_measured = int(sampled.sum()), int(kept.sum())
    if n_measured == 0 or n_measured < min_measured * n_planned:
        reasons = table.loc[sampled & ~ok].apply(_reason, axis=1).value_counts()
        raise UserError(
            f"only {n_measured} of {n_planned} coalitions have a value of '{property}', fewer than the share "
            f"{min_measured} that game.min_measured asks for; most often: {reasons.index[0]}. Run the same "
            "command again to measure what is missing (what was measured is kept), or lower game.min_measured"
        )
    return MeasuredGame(
        contributors=plan.contributors,
        membership=plan.membership[kept],
        values=table["value"].to_numpy(dtype=np.float64)[kept],
        weight=table["weight"].to_numpy(dtype=np.float64)[kept],
        pair=_whole_pairs(table["pair"].to_numpy(dtype=np.int64)[kept]),
        null_value=_value_of("null", "empty coalition, v(∅)", table, ok, property),
        full_value=_value_of("full", "coalition of everybody, v(N)", table, ok, property),
        property=property,
        design=plan.design,
        n_planned=n_planned,
        orders=plan.orders,
        unions=plan.unions,
    )


def _value_of(kind: str, name: str, table: pd.DataFrame, ok: npt.NDArray[np.bool_], property: str) -> float:
    row = int(np.flatnonzero(table["kind"] == kind)[0])
    if not ok[row]:
        raise UserError(
            f"the {name}, has no value of '{property}' ({_reason(table.iloc[row])}), and without it there is "
            "nothing to share out. Run the same command again to measure it: what was measured is kept"
        )
    return float(table["value"].iloc[row])


def _reason(row: pd.Series) -> str:
    return str(row["status"]) if row["status"] != "ok" else f"its value is {row['value']}"


def _whole_pairs(pair: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``pair`` with -1 where only one row of a pair is left."""
    _, group, count = np.unique(pair, return_inverse=True, return_counts=True)
    return np.where(count[group] == 2, pair, -1)
