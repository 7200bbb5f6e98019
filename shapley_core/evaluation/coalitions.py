"""The coalitions that an evaluation measures, and what for.

One table says it all, a row for each purpose of a measurement; measurements with one key and seed are done once.

    fit             the first coalitions of the valuation, by another removal method (Table 4, Figure 2, fidelity)
    compared        those of them whose images are kept, to be compared between removal methods (Table 9)
    leave_one_out   everybody but one, retrained (eq. 11)
    held_out        judge the attributions (Definition 2); no attribution has seen them. Sparsified fine-tuning measures
                    them, too: what the short cut itself predicts
    repeated        some of those all over again: how well retraining agrees with itself
    everybody       everybody's data in each set, which the counterfactuals are told against, if there are any
    counterfactual  without the top contributors of an attribution, or with them alone (paper §4.4)

Coalitions of the first three keep the seeds of the valuation's plan, so that retraining starts from the noise that
fine-tuning started from. Each set of held-out coalitions has training seeds of its own, for each coalition as many as
are asked for.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from shapley_core.config import EvaluationConfig
from shapley_core.errors import UserError
from shapley_core.evaluation.counterfactual import Action, counterfactual_coalition
from shapley_core.games.coalition import coalition_key
from shapley_core.games.designs.by_size import subsets
from shapley_core.games.designs.held_out import n_members
from shapley_core.games.plan import COMPARED, MAX_SHARDS, PLAN_SCHEMA, Plan, make_plan
from shapley_core.seeds import derive_seed

#: ``set``: number of the set of held-out coalitions, -1 for seeds of the plan; ``share``: alpha, or that of the top
#: contributors, NaN elsewhere; ``attribution`` and ``action``: of a counterfactual, empty elsewhere.
COLUMNS = ("purpose", "set", "share", "attribution", "action", "key", "members", "seed")

#: The set of coalitions that have the seeds of the valuation's plan.
PLANNED = -1

_KINDS = ["null", "full", COMPARED]


def removal_coalitions(plan: Plan, n: int, n_compared: int) -> pd.DataFrame:
    """The null and the full coalition and the first ``n`` others of the valuation's plan, some of them compared.

    Args:
        plan: the valuation's.
        n: coalitions to measure by the removal method.
        n_compared: the first of them whose images are kept.

    Returns:
        Columns as in :data:`COLUMNS`; empty where nothing is to be measured.
    """
    rows = plan.table.drop_duplicates("key")
    ends, sampled = rows[rows["kind"] != "sampled"], rows[rows["kind"] == "sampled"]
    fitted = pd.concat([ends, sampled.head(n)]) if n else sampled.head(0)
    return pd.concat([_of_plan("compared", sampled.head(n_compared)), _of_plan("fit", fitted)], ignore_index=True)


def retraining_coalitions(plan: Plan, config: EvaluationConfig, seed: int) -> pd.DataFrame:
    """What is retrained before anything can be judged, the most important first; columns as in :data:`COLUMNS`.

    Args:
        plan: the valuation's.
        config: how much.
        seed: the valuation's.

    Raises:
        UserError: there are too few coalitions of a share that the valuation has not seen.
    """
    once, n, alpha = held_out_coalitions(plan, config), config.n_seeds, middle_share(config)
    repeated = once[once["share"] == alpha].head(config.n_repeated).assign(purpose="repeated")
    held_out = pd.concat([once, *(_again(once, config, time) for time in range(1, n))])
    everybody = [True] * len(plan.contributors)
    n_full = config.n_sets if config.remove or config.keep else 0
    keys = [coalition_key(_members_of(plan.fingerprints, everybody))] * n_full
    full = [_row("everybody", [*range(len(everybody))], key, set_seed(config, s, key), s) for s, key in enumerate(keys)]
    parts = [
        held_out[held_out["share"] == alpha],
        _table(full),
        _of_plan("leave_one_out", leave_one_out_plan(plan, seed).table) if config.leave_one_out else _table([]),
        removal_coalitions(plan, config.n_retrained, config.n_compared),
        *(_again(repeated, config, time) for time in range(n, 2 * n)),
        held_out[held_out["share"] != alpha],
    ]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def counterfactual_coalitions(
    attributions: Mapping[str, npt.NDArray[np.float64]], plan: Plan, config: EvaluationConfig
) -> pd.DataFrame:
    """Everybody without the top contributors of each attribution, and those alone; columns as in :data:`COLUMNS`.

    Args:
        attributions: name to (n,) values, contributors in the plan's order.
        plan: the valuation's.
        config: shares and sets.
    """
    wanted: list[tuple[Action, float]] = [("remove", share) for share in config.remove]
    wanted += [("keep", share) for share in config.keep]
    rows = []
    for s, (name, values), (action, share) in itertools.product(range(config.n_sets), attributions.items(), wanted):
        left = counterfactual_coalition(values, share, action)
        key = coalition_key(_members_of(plan.fingerprints, left))
        members = np.flatnonzero(left).tolist()
        rows.append(_row("counterfactual", members, key, set_seed(config, s, key), s, share, name, action))
    return _table(rows)


def measurements(plan: Plan, wanted: pd.DataFrame) -> pd.DataFrame:
    """The measurements of a table of :data:`COLUMNS`, each once, in its order.

    Args:
        plan: the valuation's.
        wanted: what is to be measured.

    Returns:
        Columns of a plan's table, all but ``shard``. Kinds are ``null``, ``full``, ``compared`` (images are kept) and
        ``sampled``.
    """
    compared = {*wanted.loc[wanted["purpose"] == "compared", "key"]}
    rows = wanted.drop_duplicates(["key", "seed"]).reset_index(drop=True)
    sizes = rows["members"].map(len)
    kinds = np.select([sizes == 0, sizes == len(plan.contributors), rows["key"].isin(compared)], _KINDS, "sampled")
    return pd.DataFrame(
        {
            "key": rows["key"],
            "members": rows["members"],
            "size": sizes,
            "kind": kinds,
            "weight": np.where(np.isin(kinds, ["null", "full"]), 0.0, 1.0),
            "pair": -1,
            "seed": rows["seed"],
        }
    )


def evaluation_plan(plan: Plan, rows: pd.DataFrame, known: npt.NDArray[np.bool_], shard_size: int) -> Plan:
    """Measurements shared out among shards in their order.

    A coalition that is measured more than once stands in different shards. What is known already costs nothing but the
    tasks of its shard, so it shares one.

    Args:
        plan: the valuation's.
        rows: as from :func:`measurements`.
        known: (rows,) whether the store has the measurement.
        shard_size: coalitions per shard; grows so that there are at most :data:`~shapley_core.games.plan.MAX_SHARDS`.
    """
    repetition = rows.groupby("key").cumcount()
    place = rows.groupby([repetition, known]).cumcount()
    size = max(shard_size, 1)
    while True:
        shards = (place // size).mask(known, -1)
        numbers = pd.factorize(pd.MultiIndex.from_arrays([repetition, shards]))[0]
        if len(rows) == 0 or numbers.max() < MAX_SHARDS:
            break
        size *= 2
    table = rows.assign(shard=numbers)[PLAN_SCHEMA.names]
    return Plan(plan.contributors, plan.fingerprints, plan.design, table)


def middle_share(config: EvaluationConfig) -> float:
    """The alpha that is nearest to one half: the one of Table 1."""
    return min(config.alphas, key=lambda alpha: abs(alpha - 0.5))


def set_seed(config: EvaluationConfig, number: int, key: str) -> int:
    """Training seed of a coalition in a set of held-out coalitions."""
    return derive_seed(config.seed, "held out", number, key)


def held_out_coalitions(plan: Plan, config: EvaluationConfig) -> pd.DataFrame:
    """Every held-out coalition of the valuation's plan, with the seed of its first retraining; as :data:`COLUMNS`.

    Raises:
        UserError: there are too few coalitions of a share that the valuation has not seen.
    """
    seen = {*plan.table["key"]}
    rows = []
    for alpha in config.alphas:
        size = n_members(len(plan.contributors), alpha)
        fresh = _unseen(plan.fingerprints, size, derive_seed(config.seed, "held out"), seen)
        drawn = [*itertools.islice(fresh, config.n_sets * config.n_held_out)]
        per_set = len(drawn) // config.n_sets
        if per_set < 2:
            raise UserError(
                f"only {len(drawn)} coalitions of {size} contributors (evaluation.alphas {alpha:g}) have not taken "
                f"part in the valuation, too few for {config.n_sets} sets: leave out this share, lower "
                "evaluation.n_sets, or judge a valuation of fewer coalitions"
            )
        for s in range(config.n_sets):
            # Every n-th, so that a set begins with the coalitions of a smaller one.
            for key, members in drawn[s :: config.n_sets][:per_set]:
                rows.append(_row("held_out", members, key, set_seed(config, s, key), s, alpha))
    return _table(rows)


def _again(held_out: pd.DataFrame, config: EvaluationConfig, time: int) -> pd.DataFrame:
    """The same coalitions with the seeds of another retraining, counted from the first, 0."""
    names = [time] if time > 1 else []  # the second's seed is older than the choice of how many there are
    seeds = [derive_seed(config.seed, "repeated", s, key, *names) for s, key in held_out[["set", "key"]].to_numpy()]
    return held_out.assign(seed=seeds)


def _unseen(fingerprints: tuple[str, ...], size: int, seed: int, seen: set[str]) -> Iterator[tuple[str, list[int]]]:
    """Key and members of coalitions of a size, in random order, none of them twice or among those seen."""
    known = set(seen)
    for row in subsets(len(fingerprints), size, seed):
        key = coalition_key(_members_of(fingerprints, row))
        if key not in known:
            known.add(key)
            yield key, np.flatnonzero(row).tolist()


def leave_one_out_plan(plan: Plan, seed: int) -> Plan:
    """Everybody but each contributor in turn, and null and full, with the valuation's seeds.

    Args:
        plan: the valuation's.
        seed: the valuation's.
    """
    fingerprints = dict(zip(plan.contributors, plan.fingerprints, strict=True))
    return make_plan(fingerprints, "leave_one_out", len(fingerprints), seed, shard_size=len(fingerprints))


def _of_plan(purpose: str, rows: pd.DataFrame) -> pd.DataFrame:
    return _table(_row(purpose, row["members"], row["key"], row["seed"]) for row in rows.to_dict("records"))


def _members_of(fingerprints: Iterable[str], row: Iterable[bool]) -> list[str]:
    return [*itertools.compress(fingerprints, row)]


def _row(
    purpose: str,
    members: list[int],
    key: str,
    seed: int,
    number: int = PLANNED,
    share: float = np.nan,
    attribution: str = "",
    action: str = "",
) -> tuple[object, ...]:
    return purpose, number, share, attribution, action, key, members, seed


def _table(rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=COLUMNS)
