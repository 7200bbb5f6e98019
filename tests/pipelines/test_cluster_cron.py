"""Kubeflow's cron, judged by what robfig/cron (version 1, with which Kubeflow reads it) is documented to do."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.remote.cron import Cron
from shapley_core.errors import UserError

START = datetime(2026, 11, 24, 16, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "words", "times"),
    [
        ("0 0 3 * * 1", "At 03:00 on Monday", ["2026-11-30 03:00:00", "2026-12-07 03:00:00", "2026-12-14 03:00:00"]),
        ("0 30 16 * * *", "At 16:30 every day", ["2026-11-25 16:30:00", "2026-11-26 16:30:00", "2026-11-27 16:30:00"]),
        # Sundays are 0 only, and a step ends on Saturday: Mondays, Wednesdays, Fridays.
        ("0 0 0 ? * 1/2", "", ["2026-11-25 00:00:00", "2026-11-27 00:00:00", "2026-11-30 00:00:00"]),
        ("0 0 0 29 feb *", "", ["2028-02-29 00:00:00", "2032-02-29 00:00:00", "2036-02-29 00:00:00"]),
        # Either, where both are named.
        ("0 0 0 1 * MON", "", ["2026-11-30 00:00:00", "2026-12-01 00:00:00", "2026-12-07 00:00:00"]),
    ],
)
def test_words_and_times(expression: str, words: str, times: list[str]) -> None:
    cron = Cron(expression)
    assert words in cron.in_words()
    assert [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in cron.next_times(3, START)] == times


def test_time_zone() -> None:
    (moment,) = Cron("0 0 3 * * 1").next_times(1, START.astimezone(ZoneInfo("Europe/Berlin")))
    assert moment.astimezone(UTC) == datetime(2026, 11, 30, 2, tzinfo=UTC)


LIMITS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 6)}


def field(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    step = st.one_of(st.just(""), st.integers(1, 9).map(lambda n: f"/{n}"))
    ranges = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}" if pair[0] != pair[1] else "")
    items = st.tuples(st.one_of(numbers.map(str), ranges.filter(bool)), step).map("".join)
    return st.one_of(
        st.tuples(st.sampled_from("*?"), step).map("".join), st.lists(items, min_size=1, max_size=3).map(",".join)
    )


def read(text: str, low: int, high: int) -> set[int]:
    """The values of a field, as robfig/cron's documentation has it: N/step means N to the end."""
    values: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        if first in "*?":
            first, last = str(low), str(high)
        end = int(last) if last else high if step else int(first)
        values |= set(range(int(first), end + 1, int(step or 1)))
    return values


def reference(fields: list[str], after: datetime) -> Iterator[datetime]:
    """Every time of a cron, day by day, for four years."""
    limits = LIMITS.values()
    minutes, hours, days, months, weekdays = (read(f, *limit) for f, limit in zip(fields[1:], limits, strict=True))
    both = fields[3][0] in "*?" or fields[5][0] in "*?"
    for day in (after.date() + timedelta(n) for n in range(4 * 366)):
        on = [day.day in days, day.isoweekday() % 7 in weekdays]
        if day.month in months and (all(on) if both else any(on)):
            yield from times_of(day, hours, minutes, int(fields[0]), after)


def times_of(day: date, hours: set[int], minutes: set[int], second: int, after: datetime) -> Iterator[datetime]:
    for hour in sorted(hours):
        for minute in sorted(minutes):
            moment = datetime.combine(day, time(hour, minute, second), UTC)
            if moment > after:
                yield moment


@example(("0", "0", "0", "*", "*", "1/2,3-5"))
@given(st.tuples(st.integers(0, 59).map(str), *(field(*limit) for limit in LIMITS.values())))
def test_times_are_those_of_the_documentation(fields: tuple[str, ...]) -> None:
    expected = [moment for moment, _ in zip(reference(list(fields), START), range(3), strict=False)]
    if len(expected) == 3:  # otherwise a day like the 31st of February
        assert Cron(" ".join(fields)).next_times(3, START) == expected


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("0 3 * * 1", "has five fields, and Kubeflow's has six: seconds come first. You probably mean '0 0 3 * * 1'"),
        ("0 3 * *", "must have six fields: second, minute, hour"),
        ("@daily", "must have six fields"),
        ("*/5 * * * * *", "the second '*/5': give one number, as a rule 0, so that a valuation starts once"),
        ("0 0 3 * * 7", "the day of week '7': give 0 (Sunday) to 6 (Saturday)"),
        ("0 0 3 L * *", "the day of month 'L': give a number"),
        ("0 0 3 * * MON#1", "the day of week 'MON#1'"),
        ("0 60 3 * * *", "bad minute"),
        ("0 0 3 5-1 * *", "bad day-of-month"),
        ("61 0 3 * * *", "bad second"),
        ("0 0 3 30 2 *", "day"),
        ("0 0 3 31 4,6 *", "day"),
        ("", "must have six fields"),
    ],
)
def test_what_is_no_cron(expression: str, told: str) -> None:
    with pytest.raises(UserError) as refused:
        Cron(expression)
    assert told in str(refused.value)
    assert str(refused.value).startswith(f"the cron '{expression}'")
