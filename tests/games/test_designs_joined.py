"""Pairs taken up when somebody joins: distributed as if drawn anew, and half of them known."""

from itertools import pairwise
from math import comb

import numpy as np
import pytest
from scipy import stats

from shapley_core.errors import UserError
from shapley_core.games.designs import draw_design
from shapley_core.games.designs.base import kernel_block
from shapley_core.games.designs.joined import joined_block
from shapley_core.games.plan import make_plan

NAMES = [f"c{i:02}" for i in range(12)]


def fingerprints(names):
    return {name: f"images of {name}" for name in names}


@pytest.mark.parametrize("n_joined", [1, 2, 3])
def test_every_pair_is_as_likely_as_the_kernel_says(n_joined):
    n = 5
    block = kernel_block(n - n_joined)
    for before in range(n - n_joined, n):
        block = joined_block(block, before, np.random.default_rng(before))
    rng = np.random.default_rng(7)
    drawn = np.concatenate([block(rng) for _ in range(40)])
    drawn = np.where(drawn[:, :1], drawn, ~drawn)  # a pair is named by the one that has the first contributor
    number = drawn[:, 1:] @ (1 << np.arange(n - 1))
    pairs = np.arange(2 ** (n - 1) - 1)  # all but {N, nobody}
    size = 1 + np.array([bin(pair).count("1") for pair in pairs])
    # By hand: a coalition weighs 1 / (C(n, s) s (n - s)), a pair both of its own.
    weight = np.array([1 / (comb(n, s) * s * (n - s)) for s in size])
    observed = np.bincount(number, minlength=len(pairs))
    assert stats.chisquare(observed, len(drawn) * weight / weight.sum()).pvalue > 1e-3


@pytest.mark.parametrize("new", ["b", "zoe", "c05x"])  # wherever the name stands among the others
def test_half_of_the_plan_was_measured_before(new):
    before = make_plan(fingerprints(NAMES), "paired", 120, seed=3, shard_size=16)
    after = make_plan(fingerprints([*NAMES, new]), "paired", 120, 3, 16, model_contributors=NAMES)
    known = {*zip(before.table["key"], before.table["seed"], strict=True)}
    there = [row in known for row in zip(after.table["key"], after.table["seed"], strict=True)]
    with_new = after.membership[:, after.contributors.index(new)]
    np.testing.assert_array_equal(there, ~with_new)
    assert there[0] and not there[1] and sum(there[2:]) == 60
    drawn_anew = make_plan(fingerprints([*NAMES, new]), "paired", 120, 3, 16)
    assert len({*drawn_anew.table["key"]} & {*before.table["key"]}) < 30


def test_whoever_joins_next_takes_up_what_is_there():
    plans = [make_plan(fingerprints(NAMES), "paired", 100, 0, 16)]
    for joined in (["m"], ["m", "n"]):
        plans.append(make_plan(fingerprints([*NAMES, *joined]), "paired", 100, 0, 16, model_contributors=NAMES))
    for before, after in pairwise(plans):
        assert len({*after.table["key"][2:]} & {*before.table["key"]}) == 50


def test_a_larger_budget_keeps_what_was_there():
    names = fingerprints([*NAMES, "new"])
    small, large = (make_plan(names, "paired", m, 1, 16, model_contributors=NAMES) for m in (60, 160))
    assert list(large.table["key"][:62]) == list(small.table["key"])


def test_nobody_joined_is_the_plan_as_ever():
    one = make_plan(fingerprints(NAMES), "paired", 60, 1, 16)
    other = make_plan(fingerprints(NAMES), "paired", 60, 1, 16, model_contributors=NAMES)
    assert one.table.equals(other.table)
    np.testing.assert_array_equal(draw_design("paired", 12, 60, 1).membership, one.membership[2:])  # names are sorted


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["c00", "gone"], "names 'gone', and there is no such contributor; .* leave out who is gone"),
        (["c00"], "at least two to start from"),
    ],
)
def test_model_contributors_that_cannot_be(chosen, message):
    with pytest.raises(UserError, match=message):
        make_plan(fingerprints(NAMES), "paired", 60, 1, 16, model_contributors=chosen)
