"""Valuations that are made again and again: what each one left behind, and what has moved since the last.

Valuations of one *series* are those that people would compare: the same preset, property and data source, the same way
of making a coalition's model, and the same kind of values. Each leaves a small record in the store, which is never
rewritten; the next one reads it. What it means: docs/recurring.md.
"""

import builtins
import hashlib
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scipy.special import ndtri

from shapley_core.config import ValuationConfig
from shapley_core.estimators.result import Attribution
from shapley_core.games.identity import game_id
from shapley_core.storage import Store

logger = logging.getLogger(__name__)

#: Valuations that are shown together: the last ones.
MAX_SHOWN = 50
#: Contributors that a sentence names.
_NAMED = 5
#: A difference that is rounding: share of the larger value.
_ROUNDING = 1e-9
#: What estimators give that are no Shapley values; they are never compared with those.
_OTHER_VALUES = {
    "banzhaf_msr": "banzhaf",
    "banzhaf_regression": "banzhaf",
    "beta_shapley": "beta_shapley",
    "leave_one_out": "leave_one_out",
    "owen": "owen",
}


@dataclass(frozen=True)
class PastValue:
    """What a contributor was worth, in the property's unit; None where the coalitions did not tell.

    Attributes:
        contributor: the name.
        fingerprint: names the images (:mod:`shapley_core.data.dataset`).
        value: the value.
        std_error: its standard error.
        ci_low: lower bound of the interval.
        ci_high: upper bound of the interval.
    """

    contributor: str
    fingerprint: str
    value: float
    std_error: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class PastValuation:
    """The record of one valuation; the fields that values.json has, too, are described there.

    Attributes:
        time: when the values were solved for, ISO 8601, UTC.
        series: what it can be compared with.
        contributors: the largest value first.
    """

    time: str
    series: str
    game_id: str
    dataset: str
    property: str
    design: str
    estimator: str
    n_coalitions: int
    confidence: float
    null_value: float
    full_value: float
    contributors: tuple[PastValue, ...]

    @classmethod
    def of(
        cls, attribution: Attribution, fingerprints: Mapping[str, str], series: str, game_id: str, dataset: str
    ) -> "PastValuation":
        """The record of a valuation that has just been solved."""
        values = attribution.to_dict()
        rows = tuple(
            PastValue(
                fingerprint=fingerprints[row["contributor"]],
                **{name: row[name] for name in ("contributor", "value", "std_error", "ci_low", "ci_high")},
            )
            for row in values["contributors"]
        )
        named = ("property", "design", "estimator", "n_coalitions", "confidence", "null_value", "full_value")
        time = datetime.now(UTC).isoformat()
        facts = {name: values[name] for name in named}
        return cls(time=time, series=series, game_id=game_id, dataset=dataset, contributors=rows, **facts)

    @classmethod
    def parse(cls, text: bytes) -> "PastValuation":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError, TypeError, LookupError: it is damaged.
        """
        facts = json.loads(text)
        return cls(**facts | {"contributors": tuple(PastValue(**row) for row in facts["contributors"])})

    def to_json(self) -> bytes:
        """The record as it is kept."""
        return (json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @builtins.property  # the field `property` hides the plain name
    def identity(self) -> str:
        """8 hex digits that name what was valued from what; a task that is tried again has the same."""
        asked = (self.game_id, self.dataset, self.design, self.estimator, self.n_coalitions, self.confidence)
        people = sorted((row.contributor, row.fingerprint) for row in self.contributors)
        return hashlib.sha256(json.dumps([*asked, people]).encode()).hexdigest()[:8]

    @builtins.property  # the field `property` hides the plain name
    def key(self) -> str:
        """Where it stands in the store; keys of a series are in the order of time."""
        return f"history/{self.series}/{datetime.fromisoformat(self.time):%Y%m%dT%H%M%S.%fZ}-{self.identity}.json"


def series_of(settings: ValuationConfig, estimator: str) -> str:
    """The name of the series that a valuation by this estimator belongs to; it can be part of a key."""
    decisive = {
        "preset": settings.preset,
        "property": settings.property.name,
        "source": settings.data.source,
        "path": settings.data.path,
        "coalition_model": settings.game.coalition_model,
        "values": _OTHER_VALUES.get(estimator, "shapley"),
    }
    words = f"{Path(settings.preset).stem}-{settings.property.name}"
    return f"{re.sub('[^a-z0-9_]+', '-', words.lower()).strip('-')[:80]}-{game_id(decisive)[:8]}"


@dataclass(frozen=True)
class Earlier:
    """The valuations of a series before this one.

    Attributes:
        count: how many there are.
        shown: the last of them, at most :data:`MAX_SHOWN`, oldest first.
    """

    count: int
    shown: tuple[PastValuation, ...]


def earlier(store: Store, now: PastValuation) -> Earlier:
    """The valuations before ``now``; its own record, left by a task that is tried again, is none of them.

    A record that is damaged is passed over, with a warning.
    """
    keys = _keys(store, now)
    if keys and _is_of(keys[-1], now):
        keys.pop()
    shown = []
    for key in keys[-MAX_SHOWN:]:
        try:
            shown.append(PastValuation.parse(store.read(key) or b""))
        except (ValueError, TypeError, LookupError) as error:
            logger.warning(
                "the record of an earlier valuation, %s/%s, is damaged (%s): passed over", store.uri, key, error
            )
    return Earlier(len(keys), tuple(shown))


def remember(store: Store, now: PastValuation) -> None:
    """Keep the record, unless the last one says the same valuation."""
    keys = _keys(store, now)
    if not keys or not _is_of(keys[-1], now):
        store.write_new(now.key, now.to_json())


def _keys(store: Store, now: PastValuation) -> list[str]:
    return [key for key in store.list(f"history/{now.series}/") if key.endswith(".json")]


def _is_of(key: str, now: PastValuation) -> bool:
    return key.endswith(f"-{now.identity}.json")


@dataclass(frozen=True)
class Move:
    """A contributor's value then and now.

    Attributes:
        then: the value then.
        now: the value now.
        by: the difference, now minus then.
        beyond: is the difference more than the intervals allow? None where a standard error is not known.
        other_images: are the contributor's images not those of then?
    """

    then: PastValue
    now: PastValue
    by: float
    beyond: bool | None
    other_images: bool


@dataclass(frozen=True)
class SinceLastTime:
    """What has changed since the last valuation of a series.

    Attributes:
        then: the last valuation.
        same_game: were utilities of then and now of one game, so that no model was trained anew?
        moves: contributors of both, the largest value of now first.
        new: contributors that were not there then.
        gone: contributors that are not there any more.
        reused: coalitions whose utilities the store knew.
        measured: coalitions measured by this run.
        confidence: that nobody is said to have moved who has not, for all contributors together.
    """

    then: PastValuation
    same_game: bool
    moves: tuple[Move, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    reused: int
    measured: int
    confidence: float

    @property
    def same_people(self) -> bool:
        """Are the contributors and their images those of then?"""
        return not (self.new or self.gone or any(move.other_images for move in self.moves))

    def warnings(self) -> list[str]:
        """The sentence for contributors whose values moved by more than the intervals allow; none where none did."""
        moved = [move for move in self.moves if move.beyond]
        if not moved:
            return []
        named = ", ".join(f"{move.now.contributor} by {move.by:+.3g}" for move in moved[:_NAMED])
        more = f" and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
        if not self.same_game:
            why = "The models were trained anew or other settings changed, and intervals do not cover what that changes"
        elif self.same_people:
            why = "Models and contributors are the same, so it is the coalitions measured or the estimators that differ"
        else:
            why = "The models are the same, but not the contributors, who share what their images have in common"
        return [
            f"Moved since {self.then.time[:10]} by more than the intervals of then and now allow: {named}{more} "
            f"({self.confidence:.0%} confidence for all contributors together). {why}."
        ]

    def to_dict(self) -> dict[str, Any]:
        """The field ``since_last_time`` of values.json."""
        return {
            "time": self.then.time,
            "game_id": self.then.game_id,
            "same_game": self.same_game,
            "coalitions_reused": self.reused,
            "coalitions_measured": self.measured,
            "new": list(self.new),
            "gone": list(self.gone),
            "contributors": [
                {
                    "contributor": move.now.contributor,
                    "value_then": move.then.value,
                    "std_error_then": move.then.std_error,
                    "ci_low_then": move.then.ci_low,
                    "ci_high_then": move.then.ci_high,
                    "moved_by": move.by,
                    "beyond_intervals": move.beyond,
                    "other_images": move.other_images,
                }
                for move in self.moves
            ],
        }


def compare(then: PastValuation, now: PastValuation, *, reused: int, measured: int) -> SinceLastTime:
    """What has changed from ``then`` to ``now``.

    A value moved by more than its intervals allow where its difference exceeds the standard normal quantile of
    (1 + c) / 2, with 1 - c the allowed error of ``now.confidence`` divided by the number of contributors compared
    (Bonferroni), times the root of the sum of both squared standard errors. That is right for two independent draws of
    coalitions. Valuations that share coalitions err alike, which makes their difference smaller than that: the test
    then says too little rather than too much.

    Args:
        then: the last valuation.
        now: this one.
        reused: coalitions whose utilities were known.
        measured: coalitions that were measured.
    """
    before = {row.contributor: row for row in then.contributors}
    present = {row.contributor for row in now.contributors}
    pairs = [(before[row.contributor], row) for row in now.contributors if row.contributor in before]
    known = sum(one.std_error is not None and other.std_error is not None for one, other in pairs)
    reach = -float(ndtri((1 - now.confidence) / (2 * max(known, 1))))
    return SinceLastTime(
        then=then,
        same_game=then.game_id == now.game_id,
        moves=tuple(_move(one, other, reach) for one, other in pairs),
        new=tuple(row.contributor for row in now.contributors if row.contributor not in before),
        gone=tuple(row.contributor for row in then.contributors if row.contributor not in present),
        reused=reused,
        measured=measured,
        confidence=now.confidence,
    )


def _move(then: PastValue, now: PastValue, reach: float) -> Move:
    by = now.value - then.value
    beyond = None
    if then.std_error is not None and now.std_error is not None:
        rounding = _ROUNDING * max(abs(then.value), abs(now.value))
        beyond = abs(by) > max(reach * math.hypot(then.std_error, now.std_error), rounding)
    return Move(then, now, by, beyond, then.fingerprint != now.fingerprint)
