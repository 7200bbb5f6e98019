"""Progress of long work as log lines: how far it is, how fast it goes, how long is left."""

import logging
import time

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Counts units of work and says every five seconds where it stands.

    Args:
        logger: where the lines go.
        label: what is being done, e.g. "train".
        unit: what is counted, e.g. "step".
        total: units in all.
        done: units that were done before.
    """

    def __init__(self, logger: logging.Logger, label: str, unit: str, total: int, done: int = 0) -> None:
        self._logger = logger
        self._label = label
        self._unit = unit
        self._total = total
        self._done = self._first = done
        self._started = self._told = time.monotonic()

    def advance(self, units: int = 1) -> None:
        """More units are done: those that were done together, since the pace is told from when they were."""
        self._done += units
        now = time.monotonic()
        if self._done < self._total and now - self._told < _SECONDS_BETWEEN_LINES:
            return
        self._told = now
        rate = (self._done - self._first) / max(now - self._started, 1e-9)
        left = (self._total - self._done) / rate
        self._logger.info(
            "%s: %s %d of %d, %.3g/s, %.0f s left", self._label, self._unit, self._done, self._total, rate, left
        )
