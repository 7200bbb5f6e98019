"""Progress of long work: the pace and the time that is left."""

import logging

import pytest

from shapley_core import progress
from shapley_core.progress import Progress

logger = logging.getLogger("work")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which passes when it is set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_units_that_are_done_together_are_told_together(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """Eight in 40 seconds are a fifth a second; told after the first of them it was a fortieth."""
    caplog.set_level(logging.INFO)
    work = Progress(logger, "fine-tune", "coalition", total=20)
    for seconds, units in ((40, 8), (40, 8), (20, 4)):
        clock[0] += seconds
        work.advance(units)
    assert caplog.messages == [
        "fine-tune: coalition 8 of 20, 0.2/s, 60 s left",
        "fine-tune: coalition 16 of 20, 0.2/s, 20 s left",
        "fine-tune: coalition 20 of 20, 0.2/s, 0 s left",
    ]


def test_it_speaks_every_five_seconds_and_at_the_end(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    work = Progress(logger, "train", "step", total=20, done=8)
    for _ in range(12):
        clock[0] += 1
        work.advance()
    assert [message.split(",")[0] for message in caplog.messages] == [
        "train: step 13 of 20",
        "train: step 18 of 20",
        "train: step 20 of 20",
    ]
