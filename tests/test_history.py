"""The history of a series: what is kept, what counts as the last time, and when a value has moved."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shapley_core.config import resolve
from shapley_core.estimators import get_estimator
from shapley_core.estimators.result import Attribution
from shapley_core.games.measured import MeasuredGame, measured_game
from shapley_core.games.plan import make_plan
from shapley_core.history import (
    MAX_SHOWN,
    PastValuation,
    PastValue,
    compare,
    earlier,
    remember,
    series_of,
)
from shapley_core.storage import LocalStore
from shapley_core.tracking import history_curves

NAMES = [f"c{i}" for i in range(8)]
WORTH = np.arange(8.0)


def past_value(name: str, value: float, error: float | None, images: str = "") -> PastValue:
    low, high = (None, None) if error is None else (value - 2 * error, value + 2 * error)
    return PastValue(name, images or f"images of {name}", value, error, low, high)


def valuation(*people: PastValue, **facts: object) -> PastValuation:
    base = PastValuation(
        time="2026-11-24T10:00:00+00:00",
        series="digits-1",
        game_id="g",
        dataset="d",
        property="inception_score",
        design="paired",
        estimator="odd_ridge",
        n_coalitions=40,
        confidence=0.95,
        null_value=1.0,
        full_value=2.0,
        contributors=people,
    )
    return replace(base, **facts)


def noisy_game(n_coalitions: int, noise: float, seed: int = 0) -> MeasuredGame:
    """The i-th contributor is worth i; what is measured of a coalition errs by normal noise of its own."""
    plan = make_plan({name: f"images of {name}" for name in NAMES}, "paired", n_coalitions, seed, 16)
    error = [np.random.default_rng([seed, coalition]).normal() for coalition in plan.table["seed"]]
    table = pd.DataFrame(
        {
            "key": plan.table["key"],
            "property": "score",
            "value": plan.membership @ WORTH + noise * np.array(error) * plan.table["size"].between(1, len(NAMES) - 1),
            "seed": plan.table["seed"],
            "status": "ok",
            "training_seconds": 1.0,
            "sampling_seconds": 1.0,
            "scoring_seconds": 1.0,
            "device": "cpu",
        }
    )
    return measured_game(plan, table, "score", 1.0)


def record(attribution: Attribution, **facts: object) -> PastValuation:
    fingerprints = {name: f"images of {name}" for name in attribution.contributors}
    return replace(PastValuation.of(attribution, fingerprints, "s", "g", "d"), **facts)


# --- what is kept -------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.text(), st.floats(-9, 9), st.none() | st.floats(0, 9)), min_size=1, unique_by=lambda row: row[0]
    )
)
def test_a_record_is_read_as_it_was_written(rows):
    rows = [row for row in rows if row[0].isprintable()]
    kept = valuation(*[past_value(*row) for row in rows])
    assert PastValuation.parse(kept.to_json()) == kept


def test_a_record_of_an_attribution_holds_what_values_json_holds():
    attribution = get_estimator("odd_ridge")(noisy_game(40, 0.1))
    kept = record(attribution)
    for row, written in zip(attribution.to_dict()["contributors"], kept.contributors, strict=True):
        assert (row["contributor"], row["value"], row["std_error"]) == (
            written.contributor,
            written.value,
            written.std_error,
        )
        assert written.fingerprint == f"images of {written.contributor}"
    assert kept.n_coalitions == 40 and kept.full_value == 28.0


def test_records_are_in_the_order_of_time_and_never_rewritten(tmp_path):
    store = LocalStore(tmp_path)
    all_of_them = [
        valuation(past_value("ada", i, 1.0), time=f"2026-{month:02}-01T00:00:00.{i:06}+00:00", n_coalitions=40 + i)
        for i, month in enumerate([1, 2, 10, 11])
    ]
    for i, now in enumerate(all_of_them):
        past = earlier(store, now)
        assert (past.count, past.shown) == (i, tuple(all_of_them[:i]))
        remember(store, now)
        remember(store, replace(now, time="2026-12-01T00:00:00+00:00"))  # the task is tried again
        assert len(store.list("history/digits-1/")) == i + 1
        assert earlier(store, replace(now, time="2026-12-01T00:00:00+00:00")) == past
    assert earlier(store, replace(all_of_them[0], series="digits-2")).count == 0
    # Back to an earlier budget: the last time is still the one before.
    back = replace(all_of_them[0], time="2026-12-02T00:00:00+00:00")
    assert earlier(store, back).shown[-1] == all_of_them[-1]


def test_a_damaged_record_is_passed_over(tmp_path, caplog):
    store = LocalStore(tmp_path)
    first = valuation(past_value("ada", 1.0, 1.0))
    remember(store, first)
    later = replace(first, time="2026-11-25T00:00:00+00:00", n_coalitions=60)
    for damage in (b"", b"{", b"[]", json.dumps({"time": 1}).encode(), b"\xff"):
        store.write(later.key, damage)
        now = replace(first, time="2026-11-26T00:00:00+00:00", n_coalitions=80)
        assert earlier(store, now).shown == (first,)
        assert later.key in caplog.records[-1].getMessage()


def test_only_the_last_ones_are_shown_and_steps_go_on(tmp_path):
    store = LocalStore(tmp_path)
    for i in range(MAX_SHOWN + 3):
        remember(store, valuation(past_value("ada", i, 1.0), time=f"2026-01-01T00:00:{i:02}+00:00", n_coalitions=i))
    now = valuation(past_value("a/b", 7.0, None), past_value("ada", 99.0, 2.0), n_coalitions=1000)
    past = earlier(store, now)
    assert (past.count, len(past.shown)) == (MAX_SHOWN + 3, MAX_SHOWN)
    curves = history_curves(past, now)
    assert curves["history/value/ada"] == {
        "step": [float(i) for i in range(3, MAX_SHOWN + 4)],
        "value": [*map(float, range(3, MAX_SHOWN + 3)), 99.0],
    }
    assert curves["history/ci_high/ada"]["value"][-1] == 103.0
    (slashed,) = [name for name in curves if name.startswith("history/value/a_b")]
    assert curves[slashed] == {"step": [MAX_SHOWN + 3.0], "value": [7.0]}
    assert slashed.replace("value", "ci_low") not in curves  # it has none
    many = valuation(*[past_value(f"c{i}", 1.0, 1.0) for i in range(1500)], past_value("ada", 1.0, 1.0))
    assert len(history_curves(past, many)["history/value/ada"]["step"]) == 1


def test_a_series_is_what_people_would_compare():
    settings = resolve("digits")
    series = series_of(settings, "odd_ridge")
    assert series.startswith("digits-inception_score-") and len(series) == len("digits-inception_score-") + 8
    for same in ({"seed": 1}, {"game.n_coalitions": 400}, {"game.design": "leverage"}, {"finetuning.steps": 7}):
        assert series_of(resolve("digits", same), "kernel_shap") == series
    others = [
        series_of(resolve("digits", {"property.name": "diversity"}), "odd_ridge"),
        series_of(resolve("digits", {"data.source": "image_folder", "data.path": "a"}), "odd_ridge"),
        series_of(resolve("digits", {"data.source": "image_folder", "data.path": "b"}), "odd_ridge"),
        series_of(resolve("digits", {"game.coalition_model": "retraining"}), "odd_ridge"),
        series_of(settings, "banzhaf_msr"),
        series_of(resolve("openmoji"), "odd_ridge"),
    ]
    assert len({series, *others}) == 7


# --- what has moved -----------------------------------------------------------------------------------


def test_what_has_moved_by_hand():
    # Two compared: z of 1 - 0.05 / 2 / 2 = 2.2414; standard errors 3 and 4 make 5, so that 11.207 is the limit.
    then = valuation(past_value("ada", 0.0, 3.0), past_value("bo", 0.0, 3.0), past_value("cleo", 0.0, None))
    now = valuation(
        past_value("ada", 11.2, 4.0),
        past_value("bo", -11.22, 4.0, images="others"),
        past_value("cleo", 50.0, 1.0),
        past_value("zoe", 1.0, 1.0),
        game_id="another",
    )
    since = compare(then, now, reused=3, measured=4)
    assert [(m.by, m.beyond, m.other_images) for m in since.moves] == [
        (11.2, False, False),
        (-11.22, True, True),
        (50.0, None, False),
    ]
    assert (since.new, since.gone, since.same_game) == (("zoe",), (), False)
    (sentence,) = since.warnings()
    assert "Moved since 2026-11-24" in sentence and "bo by -11.2 " in sentence and "trained anew" in sentence
    assert "ada" not in sentence
    back = compare(now, then, reused=0, measured=0)
    assert (back.new, back.gone) == ((), ("zoe",))
    assert since.to_dict()["contributors"][1]["beyond_intervals"] is True


def test_exact_values_move_by_more_than_rounding_only():
    then = valuation(past_value("ada", 1.0, 0.0), past_value("bo", 2.0, 0.0))
    now = valuation(past_value("ada", 1.0 + 1e-12, 0.0), past_value("bo", 2.001, 0.0))
    since = compare(then, now, reused=6, measured=0)
    assert [move.beyond for move in since.moves] == [False, True]
    assert "so it is the coalitions measured or the estimators that differ" in since.warnings()[0]


@pytest.mark.parametrize("change", ["joined", "left", "other images"])
def test_other_people_are_given_as_a_reason(change):
    ada, bo, zoe = past_value("ada", 0.0, 0.1), past_value("bo", 5.0, 0.1), past_value("zoe", 1.0, 0.1)
    then, now = [ada, bo], [replace(ada, value=9.0), bo]
    if change == "other images":
        now[1] = replace(bo, fingerprint="others")
    else:
        (now if change == "joined" else then).append(zoe)
    (sentence,) = compare(valuation(*then), valuation(*now), reused=0, measured=0).warnings()
    assert "The models are the same, but not the contributors" in sentence


def test_a_long_list_of_moves_is_counted():
    then = valuation(*[past_value(f"c{i}", 0.0, 0.1) for i in range(8)])
    now = valuation(*[past_value(f"c{i}", 5.0, 0.1) for i in range(8)])
    (sentence,) = compare(then, now, reused=0, measured=0).warnings()
    assert "c4 by +5 and 3 more" in sentence and "c5" not in sentence


def false_alarms(pairs: list[tuple[Attribution, Attribution]]) -> float:
    """Share of the comparisons that say of anybody that they moved."""
    told = [compare(record(a), record(b), reused=0, measured=0).warnings() for a, b in pairs]
    return sum(map(bool, told)) / len(told)


def test_alarms_are_as_rare_as_promised_and_rarer_where_coalitions_are_shared():
    """Nothing has changed but the draw: nobody moved. At 80 % confidence at most a fifth of comparisons may say so."""
    solve = get_estimator("kernel_shap")
    independent, nested = [], []
    for seed in range(30):
        small, other = (solve(noisy_game(60, 0.5, s), confidence=0.8) for s in (seed, seed + 1000))
        large = solve(noisy_game(80, 0.5, seed), confidence=0.8)
        independent.append((small, other))
        nested.append((small, large))
    assert false_alarms(independent) <= stats.binom.ppf(0.995, 30, 0.2) / 30
    assert false_alarms(nested) <= false_alarms(independent)
    moved = [(a, replace(b, values=b.values + np.array([2.0, -2.0, *[0.0] * 6]))) for a, b in independent]
    assert false_alarms(moved) > 0.95


def test_more_coalitions_narrow_the_intervals_as_their_number_says():
    """Noise of a known size and no interaction: the standard error goes with one over the root of the number."""
    games = [noisy_game(m, 0.5) for m in (60, 240)]
    assert {*map(bytes, games[0].membership)} <= {*map(bytes, games[1].membership)}  # nothing is measured twice
    for name in ("kernel_shap", "odd_ridge"):
        small, large = (get_estimator(name)(game) for game in games)
        widths = [(a.ci_high - a.ci_low).mean() for a in (small, large)]
        assert widths[1] < 0.75 * widths[0]
        for values in (small, large):  # one draw: the worth lies where its standard error says
            assert (np.abs(values.values - WORTH) < 4 * values.std_errors).all()
    ratio = np.mean(
        get_estimator("kernel_shap")(games[0]).std_errors / get_estimator("kernel_shap")(games[1]).std_errors
    )
    assert ratio == pytest.approx(math.sqrt(240 / 60), rel=0.3)
