"""collect_removal: what was measured by a removal method, with what each measurement is for, and FID to retraining."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from shapley_core.config import ValuationConfig
from shapley_core.evaluation.removal import NOT_MEASURED
from shapley_core.games.utilities import merge_utilities, read_utilities
from shapley_core.stage_log import StageLog
from shapley_core.stages.game_files import images_key, read_game_id, utility_file
from shapley_core.stages.removal_files import read_purposes, write_measured
from shapley_core.storage import Store, open_store


def collect_removal(
    config: Path,
    game: Path,
    purposes: Path,
    utilities: Sequence[Path],
    retraining: Path,
    lens: Path,
    store: str,
    *,
    measured: Path,
    log: Path,
) -> dict[str, float]:
    """Write the method's measurements (:func:`~shapley_core.stages.removal_files.write_measured`).

    Args:
        config: the method's configuration.
        game: the method's game.
        purposes: what its coalitions are for.
        utilities: one folder per shard.
        retraining: the game of retraining, whose images are the yardstick of FID.
        lens: the embedder that FID looks through.
        store: where images are kept.
        measured: output file.
        log: output file, the stage log.
    """
    record = StageLog("collect_removal")
    settings = ValuationConfig.load(config)
    known = merge_utilities(read_utilities(utility_file(shard)) for shard in utilities)
    known = known[known["property"] == settings.property.name].drop(columns="property")
    table = read_purposes(purposes).merge(known, on=["key", "seed"], how="left")
    table["status"] = table["status"].fillna(NOT_MEASURED)
    table["fid"] = np.nan
    rows = table["purpose"] == "compared"
    if rows.any() and read_game_id(game) != read_game_id(retraining):
        with record.phase("scoring"):
            table.loc[rows, "fid"] = _fids(settings, table[rows], game, retraining, lens, open_store(store))
    write_measured(table, measured)
    record.save(log)
    return {"measured": float((table["status"] == "ok").sum())}


def _fids(
    settings: ValuationConfig, rows: pd.DataFrame, game: Path, retraining: Path, lens: Path, store: Store
) -> list[float]:
    """FID between a coalition's images in the two games; NaN where one of them has none."""
    from shapley_core.properties.diversity import Diversity  # here, because a method may have nothing to compare
    from shapley_core.properties.fid import fid

    embedder = Diversity.load(lens, settings.property).embedder
    fids = []
    for key, seed in zip(rows["key"], rows["seed"], strict=True):
        files = [store.read(images_key(of, key, seed)) for of in (game, retraining)]
        images = [np.load(io.BytesIO(file), allow_pickle=False) for file in files if file is not None]
        fids.append(fid(images[0], images[1], embedder) if len(images) == 2 else np.nan)
    return fids
