"""Which measurements of a plan are in the store already, so that nobody makes them again."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from shapley_core.config import ValuationConfig
from shapley_core.games.plan import COMPARED
from shapley_core.stages.coalitions import OK
from shapley_core.stages.game_files import images_key, read_game_id
from shapley_core.storage import Store


def known_measurements(
    settings: ValuationConfig, rows: pd.DataFrame, kept: pd.DataFrame, reference: Path, root: Store
) -> npt.NDArray[np.bool_]:
    """Whether every property of a coalition was measured with its seed, and its images are there if they are compared.

    Args:
        settings: whose properties.
        rows: of a plan's table.
        kept: all utilities of the game (:meth:`~shapley_core.games.store.UtilityStore.load`).
        reference: the game's.
        root: the store, which holds the images.

    Returns:
        (rows,) bool.
    """
    measured = kept[kept["property"].isin(settings.property.names) & (kept["status"] == OK)]
    n_properties = measured.groupby(["key", "seed"])["property"].nunique()
    whole = n_properties.index[n_properties == len(settings.property.names)]
    known = pd.MultiIndex.from_frame(rows[["key", "seed"]]).isin(whole)
    if (rows["kind"] == COMPARED).any():
        images = {*root.list(f"{read_game_id(reference)}/images/")}
        there = [images_key(reference, key, seed) in images for key, seed in rows[["key", "seed"]].to_numpy()]
        known &= (rows["kind"] != COMPARED).to_numpy() | np.array(there)
    return np.asarray(known, dtype=bool)
