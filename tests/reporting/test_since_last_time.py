"""What the report, and values.json, say of the last valuation of the series."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError
from pages import Page, number

from shapley_core.history import PastValuation, SinceLastTime, compare
from shapley_core.reporting.figures import visible
from shapley_core.reporting.report import ReportData, render_report

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "values.schema.json"


def record(data: ReportData, **facts: object) -> PastValuation:
    fingerprints = {name: f"images of {name}" for name in data.attribution.contributors}
    return replace(PastValuation.of(data.attribution, fingerprints, "s", "game", "data"), **facts)


def section(page: Page) -> tuple[str, dict[str, list[str]]]:
    """Its sentences, and the table: contributor to the other cells."""
    text = next(words for text in page.texts["section"] if (words := " ".join(text.split())).startswith("Since last"))
    return text, {row[0]: row[1:] for row in page.rows if len(row) == 7}


def changed(now: PastValuation) -> SinceLastTime:
    """Since a time when the first was worth one more, the second had other images, the third was not there."""
    first, second, _, *others = now.contributors
    gone = replace(first, contributor="<b>old</b>", fingerprint="?")
    then = replace(
        now,
        time="2026-10-01T06:00:00+00:00",
        n_coalitions=1500,
        contributors=(
            replace(first, value=first.value + 1),
            replace(second, fingerprint="earlier", ci_low=None, ci_high=None, std_error=None),
            gone,
            *others,
        ),
    )
    return compare(then, now, reused=12, measured=1)


def test_what_has_changed_is_told(valuation):
    data = valuation()
    since = changed(record(data))
    text, table = section(Page(render_report(replace(data, since=since))))
    assert "on 2026-10-01, of 6 contributors by 1,500 coalitions" in text
    assert "12 were known and 1 was measured" in text
    assert "all that decides a coalition’s value are the same, but not the contributors" in text
    assert "New: digit 3." in text and "No longer there: <b>old</b>." in text
    assert "1 of 5 values moved by more than the intervals of then and now allow" in text
    assert set(table) == {"digit 5", "digit 4", "digit 2", "digit 1", "digit 0", "Contributor"}
    best = since.moves[0]
    then, then_interval, now, now_interval, by, remark = table["digit 5"]
    assert number(then) == pytest.approx(best.then.value, abs=5e-4)
    assert number(now) == pytest.approx(best.now.value, abs=5e-4)
    assert by == "\N{MINUS SIGN}1.000" and remark == "more than the intervals allow"
    for bounds, row in ((then_interval, best.then), (now_interval, best.now)):
        assert [number(bound) for bound in bounds.split(" to ")] == pytest.approx([row.ci_low, row.ci_high], abs=5e-4)
    assert table["digit 4"][-1] == "other images" and table["digit 4"][1] == "\N{EN DASH} to \N{EN DASH}"
    assert table["digit 2"][-2:] == ["0.000", ""] or table["digit 2"][-2:] == ["+0.000", ""]


def test_another_game_and_nothing_moved(valuation):
    data = valuation()
    now = record(data)
    since = compare(replace(now, game_id="another", confidence=0.9), now, reused=0, measured=26)
    page = Page(render_report(replace(data, since=since)))
    text, table = section(page)
    assert "are not the same" in text and "No value moved" in text and "0 were known and 26 were measured" in text
    assert "New:" not in text and "No longer there" not in text
    assert "90\N{NO-BREAK SPACE}% interval" in table["Contributor"][1]
    assert "95\N{NO-BREAK SPACE}% interval" in table["Contributor"][3]


def test_the_same_people_in_the_same_game(valuation):
    data = valuation()
    since = compare(record(data), record(data), reused=26, measured=0)
    assert "Models and contributors are the same" in section(Page(render_report(replace(data, since=since))))[0]


def test_names_stay_in_their_place(valuation, hostile):
    data = valuation((*hostile, "digit 0", "digit 1"), 64)
    now = record(data)
    page = Page(render_report(replace(data, since=compare(now, now, reused=66, measured=0))))
    assert {visible(name) for name in hostile} <= set(section(page)[1])
    assert "script" not in {tag for tag, _ in page.elements}


def test_the_first_has_no_such_section(valuation):
    assert "Since last time" not in render_report(valuation())


def test_values_json_is_as_the_schema_says(valuation):
    data = valuation()
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    values = data.attribution.to_dict() | {"seconds": {}, "since_last_time": changed(record(data)).to_dict()}
    validator.validate(json.loads(json.dumps(values, allow_nan=False)))
    for damage in (
        {"same_game": 1},
        {"coalitions_reused": -1},
        {"new": "ada"},
        {"contributors": [{"contributor": "a"}]},
    ):
        with pytest.raises(ValidationError):
            validator.validate(values | {"since_last_time": values["since_last_time"] | damage})
