"""score: measures the properties of each coalition's images, and puts the utilities into the store, for ever."""

import logging
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from shapley_core.config import ValuationConfig
from shapley_core.device import compute_device
from shapley_core.games.plan import COMPARED, Plan
from shapley_core.games.store import UtilityStore
from shapley_core.games.utilities import UTILITY_SCHEMA, merge_utilities, write_utilities
from shapley_core.properties import get_property
from shapley_core.stage_log import StageLog
from shapley_core.stages.coalitions import OK, CoalitionRecord, attempt, read_records
from shapley_core.stages.game_files import (
    images_key,
    log_folder,
    property_folder,
    read_game,
    read_game_id,
    sample_key,
    utility_file,
)
from shapley_core.stages.grids import image_grid
from shapley_core.storage import open_store

logger = logging.getLogger(__name__)


def score(
    config: Path, reference: Path, plan: Path, images: Path, shard: int, store: str, *, utilities: Path
) -> dict[str, float]:
    """Write the utility table of ``shard``: what was just measured, and what the store knew already."""
    log = StageLog("score")
    settings = ValuationConfig.load(config)
    compute_device(settings.run.loop_threads)
    shutil.copytree(log_folder(images), log_folder(utilities), dirs_exist_ok=True)
    root = open_store(store)
    kept = UtilityStore(root, read_game_id(reference))
    kept.describe(read_game(reference))
    properties = {
        name: get_property(name).load(property_folder(reference, name), settings.property)
        for name in settings.property.names
    }
    drawn = Plan.load(plan)
    compared = {*drawn.table.loc[drawn.table["kind"] == COMPARED, "key"]}
    records = read_records(images).values()
    values: dict[tuple[str, str], float] = {}

    def measure(chosen: Sequence[CoalitionRecord]) -> None:
        for record in chosen:
            pixels = np.load(images / f"{record.key}.npy", allow_pickle=False)
            scores = {name: measured.score(pixels) for name, measured in properties.items()}
            for name, value in scores.items():
                if not math.isfinite(value):
                    raise ValueError(f"the {name} is {value}")
            root.write(sample_key(reference, record.key), image_grid(pixels))
            if record.key in compared:
                root.upload(images_key(reference, record.key, record.seed), images / f"{record.key}.npy")
            values.update({(record.key, name): value for name, value in scores.items()})

    with log.phase("scoring"):
        for record in records:
            begun = time.perf_counter()
            if record.status == OK:
                attempt([record], "scoring", measure)
            record.scoring_seconds = time.perf_counter() - begun
    rows = [
        {**asdict(record), "property": name, "value": values.get((record.key, name), math.nan)}
        for record in records
        for name in properties
    ]
    new = pd.DataFrame(rows, columns=UTILITY_SCHEMA.names)
    kept.append(new)
    everything = merge_utilities([kept.load(), new])
    in_shard = everything["key"].isin(drawn.shard(shard)["key"])
    mine = everything[in_shard & everything["property"].isin(settings.property.names)]
    write_utilities(mine, utility_file(utilities))
    logger.info("shard %d: scored %d coalitions", shard, len(records))
    log.save(log_folder(utilities) / f"score-{shard}.json")
    return {"scored": len(records)}
