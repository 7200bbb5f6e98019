"""What the three loop stages hand to each other: one small record per coalition, beside its weights or images.

A record is written after the data it speaks of, so a stage that is run again takes what has a record as done. A
coalition that fails keeps its reason and travels on; it never stops the others of its shard.
"""

import json
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from shapley_core.errors import UserError, unwritable

logger = logging.getLogger(__name__)

OK = "ok"


@dataclass
class CoalitionRecord:
    """One coalition on its way through fine-tuning, sampling and scoring.

    Attributes:
        key: the coalition's key.
        seed: seed of its fine-tuning.
        status: "ok", or the reason why it could not be measured.
        training_seconds: fine-tuning.
        sampling_seconds: generation.
        scoring_seconds: the property.
        device: where it was computed.
    """

    key: str
    seed: int
    status: str = OK
    training_seconds: float = 0.0
    sampling_seconds: float = 0.0
    scoring_seconds: float = 0.0
    device: str = "cpu"

    def save(self, folder: Path) -> None:
        """Write the record; from now on the coalition counts as done in this folder."""
        path = folder / f"{self.key}.json"
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(path)


def read_records(folder: Path) -> dict[str, CoalitionRecord]:
    """The records in a folder, by coalition key, in the order of their keys."""
    records = [CoalitionRecord(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    return {record.key: record for record in records}


def attempt(records: Sequence[CoalitionRecord], step: str, work: Callable[[Sequence[CoalitionRecord]], None]) -> None:
    """Do ``work`` on some coalitions together; if it fails, on each by itself; a second failure becomes its status.

    A disk that cannot be written to is no fault of the coalition: it is raised, and so is what is meant for the user.
    """
    if (error := _failure(records, step, work)) is None:
        return
    for record in records:
        if (error := _failure([record], step, work)) is not None:
            record.status = f"{step} failed: {type(error).__name__}: {error}"


def _failure(
    records: Sequence[CoalitionRecord], step: str, work: Callable[[Sequence[CoalitionRecord]], None]
) -> Exception | None:
    try:
        work(records)
    except UserError:
        raise
    except Exception as error:
        if unwritable(error):
            raise
        keys = ", ".join(record.key for record in records)
        logger.warning("%s of coalition %s failed:\n%s", step, keys, traceback.format_exc())
        return error
    return None
