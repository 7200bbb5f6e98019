"""Kubeflow's cron: six fields, seconds first, checked before a schedule is made, in words and in times.

Kubeflow reads it with the Go package robfig/cron, version 1, which takes five fields too, but as second, minute, hour,
day and month: an ordinary crontab line would start valuations at other times than it says.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from shapley_core.errors import UserError

_FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DAYS = "sun|mon|tue|wed|thu|fri|sat"


def _pattern(value: str) -> re.Pattern[str]:
    """What both parsers read alike: a star with or without a step, or a list of values and ranges."""
    item = rf"(?:{value})(?:-(?:{value}))?(?:/\d+)?"
    return re.compile(rf"[*?](?:/\d+)?|{item}(?:,{item})*", re.IGNORECASE)


_PATTERNS = (
    re.compile(r"\d+"),
    *(_pattern(value) for value in (r"\d+", r"\d+", r"\d+", rf"\d+|{_MONTHS}", rf"[0-6]|{_DAYS}")),
)


class Cron:
    """A cron expression as Kubeflow takes it.

    Raises:
        UserError: it is none, or never comes true.
    """

    def __init__(self, expression: str) -> None:
        fields = expression.split()
        if len(fields) == 5:
            raise UserError(
                f"the cron '{expression}' has five fields, and Kubeflow's has six: seconds come first. You probably "
                f"mean '0 {' '.join(fields)}'"
            )
        if len(fields) != 6:
            raise UserError(
                f"the cron '{expression}' must have six fields: {', '.join(_FIELDS)}; e.g. '0 0 3 * * 1', Mondays at 3"
            )
        for name, pattern, text in zip(_FIELDS, _PATTERNS, fields, strict=True):
            if not pattern.fullmatch(text):
                raise UserError(f"the cron '{expression}' cannot have the {name} '{text}': {_hint(name)}")
        self.expression = " ".join(fields)
        # robfig's question mark is a star, and its week ends on Saturday, 6; CronSim's may end on a Sunday, 7.
        week = ",".join(re.sub(r"^(\w+)/", r"\1-6/", item) for item in fields[5].split(","))
        self._read = " ".join((*fields[:5], week)).replace("?", "*")
        try:
            next(self._times(datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC"))))
        except CronSimError as error:
            raise UserError(f"the cron '{expression}' is not valid: {str(error).lower()}") from error
        except StopIteration:
            raise UserError(f"the cron '{expression}' never comes true: there is no such day") from None

    def in_words(self) -> str:
        """The schedule as a phrase, e.g. "At 03:00 on Monday"."""
        return CronSim(self._read, datetime(2024, 1, 1)).explain()

    def next_times(self, n: int, after: datetime) -> list[datetime]:
        """The next ``n`` times after a moment, in the moment's time zone."""
        return list(islice(self._times(after), n))

    def _times(self, after: datetime) -> Iterator[datetime]:
        return CronSim(self._read, after)


def _hint(name: str) -> str:
    if name == "second":
        return "give one number, as a rule 0, so that a valuation starts once"
    if name == "day of week":
        return "give 0 (Sunday) to 6 (Saturday) or names like MON-FRI"
    return "give a number, a range like 1-5, a list, or * with or without a step like */6"
