"""The baselines of a valuation that was done stage by stage."""

from pathlib import Path

import numpy as np
import pandas as pd

from shapley_core.baselines import BASELINES
from shapley_core.config import ValuationConfig
from shapley_core.stages.attribute import attribute


def attributed(valuation: Path, folder: Path, n: int) -> pd.DataFrame:
    """Run the stage with one timestep; every baseline tells n finite numbers, or refuses and says why."""
    settings = ValuationConfig.load(valuation / "config")
    few = settings.evaluation.model_copy(update={"gradient_timesteps": 1, "projection_dim": 32})
    settings.model_copy(update={"evaluation": few}).save(folder / "config")
    names = {"attributions": folder / "attributions", "lens": folder / "lens", "log": folder / "log"}
    inputs = valuation / "dataset", folder / "config", valuation / "model", valuation / "game"
    attribute(*inputs, str(folder / "store"), **names)
    table = pd.read_parquet(folder / "attributions")
    assert set(table["attribution"]) == set(BASELINES)
    values = table[table["refused"] == ""]
    assert np.isfinite(values["value"]).all() and (values.groupby("attribution").size() == n).all()
    assert set(BASELINES) - set(values["attribution"]) <= {"property_average", "property_maximum"}
    return table
