"""What a stage leaves behind for the report besides its data: facts, curves, and where its time went.

Every task writes one ``StageLog`` as JSON. Phases carry wall-clock start and end, so that logs of tasks that ran side
by side can be laid over each other and :func:`time_split` can say what share of the whole wall time was spent in
training and sampling rather than in starting processes, importing, or waiting.
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

import psutil

#: What a phase can be; everything outside a phase is starting up: processes, imports, reading and writing.
PHASES = ("training", "sampling", "scoring", "solving")
STARTING = "starting"
#: Libraries that decide what is computed, and how it is run.
LIBRARIES = ("torch", "diffusers", "torch-pruning", "kfp", "mlflow", "numpy")


def installed_versions() -> dict[str, str]:
    """Versions of :data:`LIBRARIES` where this process runs; a container image need not have all of them."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


@dataclass
class StageLog:
    """The record of one task.

    Attributes:
        stage: name of the stage.
        started: when the process was started (seconds since the epoch), before anything was imported.
        finished: when the stage ended.
        phases: ``[kind, start, end]`` with kind from :data:`PHASES`.
        facts: single numbers and words (parameter counts, losses, scores).
        curves: name to ``{"step": [...], "value": [...]}``.
        versions: of the libraries that the task had.
    """

    stage: str
    started: float = field(default_factory=lambda: psutil.Process().create_time())
    finished: float = 0.0
    phases: list[tuple[str, float, float]] = field(default_factory=list)
    facts: dict[str, float | int | str] = field(default_factory=dict)
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=installed_versions)

    @contextmanager
    def phase(self, kind: str) -> Iterator[None]:
        """Book the time of a ``with`` block under ``kind``."""
        if kind not in PHASES:
            raise ValueError(f"unknown phase {kind!r}")
        start = time.time()
        try:
            yield
        finally:
            self.phases.append((kind, start, time.time()))

    @property
    def seconds(self) -> float:
        """Wall seconds from the start of the process to the end of the stage."""
        return self.finished - self.started

    def recall(self, path: Path) -> None:
        """Take over what an earlier log says of a result, such as the one kept with a model that is used again."""
        kept = StageLog.load(path)
        self.facts |= kept.facts
        self.curves |= kept.curves
        self.versions |= kept.versions

    def save(self, path: Path) -> None:
        """Write the log as JSON; the stage counts as finished now."""
        self.finished = time.time()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "StageLog":
        """Read a log written by :meth:`save`."""
        return cls(**({"versions": {}} | json.loads(path.read_text())))


def library_versions(logs: Iterable[StageLog]) -> dict[str, str]:
    """Library to the versions that the tasks had, as a rule one; in the order of :data:`LIBRARIES`."""
    found: dict[str, set[str]] = {}
    for log in logs:
        for library, number in log.versions.items():
            found.setdefault(library, set()).add(number)
    return {library: ", ".join(sorted(found[library])) for library in LIBRARIES if library in found}


def stage_seconds(logs: Iterable[StageLog]) -> dict[str, float]:
    """Process seconds per stage, summed over the tasks of a stage (side by side, they exceed the wall time)."""
    seconds: dict[str, float] = {}
    for log in logs:
        seconds[log.stage] = seconds.get(log.stage, 0.0) + log.seconds
    return seconds


def time_split(logs: Iterable[StageLog], start: float, end: float) -> dict[str, float]:
    """Shares out the wall time between ``start`` and ``end`` among the phases; the seconds sum to ``end - start``.

    At every moment the time is divided evenly among the tasks then running, and goes to the phase each of them is in;
    a task outside any phase, and a moment at which no task runs, count as :data:`STARTING`.
    """
    logs = [log for log in logs if log.finished > start and log.started < end]
    edges = {start, end}
    for log in logs:
        edges.update((log.started, log.finished))
        edges.update(t for _, a, b in log.phases for t in (a, b))
    moments = sorted(t for t in edges if start <= t <= end)
    split = dict.fromkeys((*PHASES, STARTING), 0.0)
    for a, b in pairwise(moments):
        running = [log for log in logs if log.started <= a and log.finished >= b]
        if not running:
            split[STARTING] += b - a
        for log in running:
            kind = next((k for k, p, q in log.phases if p <= a and q >= b), STARTING)
            split[kind] += (b - a) / len(running)
    return split
