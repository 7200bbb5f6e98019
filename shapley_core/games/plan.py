"""The plan of a valuation: every coalition to be measured, with its key, seed, weight and shard."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shapley_core.errors import UserError, did_you_mean
from shapley_core.games.coalition import coalition_key
from shapley_core.games.designs import draw_design
from shapley_core.games.designs.base import no_orders
from shapley_core.seeds import derive_seed

#: Largest number of shards, and so of loop iterations in the pipeline, whatever the number of coalitions.
MAX_SHARDS = 64

#: Kind of a coalition all of whose images are kept, to be compared with those of other removal methods.
COMPARED = "compared"

PLAN_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("members", pa.list_(pa.int32()), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("pair", pa.int64(), nullable=False),
        pa.field("shard", pa.int64(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, eq=False)
class Plan:
    """The coalitions of a game in the order in which they are measured: null, full, then the design.

    Attributes:
        contributors: n names, sorted.
        fingerprints: n hashes of their data, in the same order.
        design: name of the sampling design.
        table: one row per coalition, columns as in :data:`PLAN_SCHEMA`: ``key``; ``members`` (ascending
            indices into ``contributors``); ``size``; ``kind`` (``null``, ``full``, ``sampled``, or
            :data:`COMPARED`); ``weight`` and ``pair`` as in :class:`~shapley_core.games.designs.Design` (null and
            full: weight 0, pair -1); ``shard``; ``seed``. Rows with one key (contributors with identical data)
            share seed and shard.
        orders: (k, n) orders of joining that the coalitions are met on (the permutation designs and two_level); (0, 0)
            elsewhere.
        unions: (n,) number of the union that each contributor belongs to; empty where there are none.
    """

    contributors: tuple[str, ...]
    fingerprints: tuple[str, ...]
    design: str
    table: pd.DataFrame
    orders: npt.NDArray[np.int64] = field(default_factory=no_orders)
    unions: tuple[int, ...] = ()

    @property
    def shards(self) -> list[int]:
        """Numbers of the shards, 0 .. k - 1, k from 1 to :data:`MAX_SHARDS`.

        Nothing to measure is one shard without coalitions: a loop over no shards leaves Kubeflow nothing to collect,
        and the task that asks for it fails.
        """
        return sorted({0, *self.table["shard"].tolist()})

    def shard(self, number: int) -> pd.DataFrame:
        """The coalitions to measure in a shard: its rows of the table, one per distinct key."""
        rows = self.table[self.table["shard"] == number]
        return rows.drop_duplicates("key").reset_index(drop=True)

    @property
    def membership(self) -> npt.NDArray[np.bool_]:
        """(rows, n) bool: is the contributor in the row's coalition?"""
        membership = np.zeros((len(self.table), len(self.contributors)), dtype=bool)
        for row, members in zip(membership, self.table["members"], strict=True):
            row[members] = True
        return membership

    def shared_out(self, known: npt.NDArray[np.bool_]) -> "Plan":
        """The plan with the coalitions that are not known shared out anew, among as many shards as it has.

        Fewer where there are fewer coalitions left than shards, each of which costs tasks of its own. What is known
        stands in the first, where it costs nothing.

        Args:
            known: (rows,) bool: is the row's coalition measured already?
        """
        shard_of = _shards(self.table["key"][~known].drop_duplicates().tolist(), len(self.shards))
        shards = self.table["key"].map(shard_of).fillna(0).astype(np.int64)
        return replace(self, table=self.table.assign(shard=shards))

    def save(self, path: Path) -> None:
        """Write the plan as one Parquet file; all but the table goes into its schema's metadata."""
        facts = {
            "contributors": self.contributors,
            "fingerprints": self.fingerprints,
            "design": self.design,
            "orders": self.orders.tolist(),
            "unions": self.unions,
        }
        schema = PLAN_SCHEMA.with_metadata({"plan": json.dumps(facts)})
        pq.write_table(pa.Table.from_pandas(self.table, schema, preserve_index=False), path)

    @classmethod
    def load(cls, path: Path) -> "Plan":
        """Read a plan written by :meth:`save`."""
        stored = pq.read_table(path)
        facts = json.loads(stored.schema.metadata[b"plan"])
        table = stored.replace_schema_metadata(None).to_pandas()
        table["members"] = stored["members"].to_pylist()
        orders = np.array(facts["orders"], dtype=np.int64) if facts.get("orders") else no_orders()
        return cls(
            tuple(facts["contributors"]),
            tuple(facts["fingerprints"]),
            facts["design"],
            table,
            orders,
            tuple(facts.get("unions", [])),
        )


def make_plan(
    fingerprints: Mapping[str, str],
    design: str,
    n_coalitions: int,
    seed: int,
    shard_size: int,
    unions: Mapping[str, str] | None = None,
    model_contributors: Collection[str] | None = None,
) -> Plan:
    """Draws the coalitions of a valuation and shares them out among shards.

    A plan is extended by making it again with a larger ``n_coalitions``: the coalitions that were there keep their
    place, key and seed, so that what was measured of them stays valid; weights and shards are given out anew.

    Args:
        fingerprints: contributor name to the hash of its data.
        design: a key of :data:`~shapley_core.games.designs.DESIGNS`.
        n_coalitions: distinct coalitions besides null and full.
        seed: of the valuation; a coalition's own seed derives from it and the coalition's key.
        shard_size: coalitions per shard; grows so that there are at most :data:`MAX_SHARDS`. Changes nothing
            but the column ``shard``.
        unions: contributor name to the name of the union that it belongs to (the design ``two_level``, the estimator
            ``owen``); None: there are none.
        model_contributors: those who were there before the others joined, in the order of their names: the design
            ``paired`` then takes up the coalitions drawn before each joined; None: everybody.

    Raises:
        UserError: fewer than two contributors, one without a union where others have one, model contributors that do
            not exist or are too few, or what
            :func:`~shapley_core.games.designs.draw_design` refuses.
    """
    if shard_size < 1:
        raise UserError(f"run.shard_size is {shard_size}; a shard holds at least one coalition")
    names = tuple(sorted(fingerprints))
    hashes = tuple(fingerprints[name] for name in names)
    n = len(names)
    numbers = _union_numbers(names, unions) if unions else ()
    joined = joined_later(names, model_contributors)
    drawn = draw_design(design, n, n_coalitions, seed, numbers, len(joined))

    membership = np.vstack([np.zeros(n, dtype=bool), np.ones(n, dtype=bool), drawn.membership])
    if joined:
        in_order_of_joining = sorted(range(n), key=lambda i: (names[i] in joined, i))
        membership[:, in_order_of_joining] = membership.copy()
    members = [np.flatnonzero(row).tolist() for row in membership]
    keys = [coalition_key(hashes[i] for i in row) for row in members]
    distinct = list(dict.fromkeys(keys))
    shard_of = _shards(distinct, n_shards(len(distinct), shard_size))
    table = pd.DataFrame(
        {
            "key": keys,
            "members": members,
            "size": membership.sum(axis=1),
            "kind": ["null", "full", *["sampled"] * len(drawn.membership)],
            "weight": np.concatenate([[0.0, 0.0], drawn.weight]),
            "pair": np.concatenate([[-1, -1], drawn.pair]),
            "shard": [shard_of[key] for key in keys],
            "seed": [derive_seed(seed, "coalition", key) for key in keys],
        }
    )
    return Plan(names, hashes, design, table, drawn.orders, numbers)


def joined_later(names: Collection[str], model_contributors: Collection[str] | None) -> list[str]:
    """Those of ``names`` who are none of ``model_contributors`` (None: everybody is).

    Raises:
        UserError: a model contributor is none of ``names``, or there is but one.
    """
    if model_contributors is None:
        return []
    if strangers := [name for name in model_contributors if name not in names]:
        guess = did_you_mean(strangers[0], names)
        raise UserError(
            f"game.model_contributors names '{strangers[0]}', and there is no such contributor; {guess} "
            "A model cannot be kept without the images it was trained on: leave out who is gone, and it is trained anew"
        )
    if len({*model_contributors}) < 2:
        raise UserError(
            "game.model_contributors names one contributor, and a valuation needs at least two to start from"
        )
    return sorted({*names} - {*model_contributors})


def _union_numbers(names: tuple[str, ...], unions: Mapping[str, str]) -> tuple[int, ...]:
    strangers = [name for name in unions if name not in names]
    if strangers:
        guess = did_you_mean(strangers[0], names)
        raise UserError(f"game.unions names '{strangers[0]}', and there is no such contributor; {guess}")
    missing = [name for name in names if name not in unions]
    if missing:
        raise UserError(
            f"the contributor {missing[0]} belongs to no union"
            + (f", and {len(missing) - 1} more do not" if len(missing) > 1 else "")
            + ": name one for each contributor (a contributor may be a union of its own)"
        )
    numbers = {union: number for number, union in enumerate(sorted({unions[name] for name in names}))}
    return tuple(numbers[unions[name]] for name in names)


def n_shards(n_coalitions: int, shard_size: int) -> int:
    """Shards that so many coalitions, null and full among them, are shared out to: at most :data:`MAX_SHARDS`."""
    return min(MAX_SHARDS, math.ceil(n_coalitions / shard_size))


def _shards(keys: list[str], most: int) -> dict[str, int]:
    """The shard of each distinct key: consecutive runs whose lengths differ by at most one."""
    n = min(most, len(keys))
    return {key: i * n // len(keys) for i, key in enumerate(keys)}
