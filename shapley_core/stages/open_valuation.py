"""open_valuation: takes up a finished valuation to judge it: its configuration, its data and its values."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapley_core.data.dataset import ContributorDataset
from shapley_core.errors import UserError
from shapley_core.stages.prepare import prepare
from shapley_core.storage import open_store

#: Results of a valuation that are read, besides its configuration.
_VALUES = ("values.json", "values.parquet")
#: Sections that say how a valuation is judged and how work is spread, and change nothing in it.
_FREE = ("evaluation.", "run.")


def open_valuation(
    valuation: str, overrides: Mapping[str, Any], store: str, *, dataset: Path, config: Path, values: Path, log: Path
) -> dict[str, float]:
    """Write the valuation's data set, configuration and values, after checking that they belong together.

    Args:
        valuation: folder or s3:// address of the results of a valuation (docs/results.md).
        overrides: dotted keys to values, of the sections ``evaluation`` and ``run`` alone.
        store: the store of the valuation, where its models and utilities are.
        dataset: output folder.
        config: output file.
        values: output folder: values.json and values.parquet.
        log: output file, the stage log.

    Raises:
        UserError: there is no valuation, it is of other data than its configuration leads to now, or the overrides
            would make it another one.
    """
    if other := [key for key in overrides if not key.startswith(_FREE)]:
        raise UserError(
            f"{other[0]} belongs to the valuation, which is finished: an evaluation takes settings under evaluation "
            "and run alone; value the contributors anew with the other setting"
        )
    results = open_store(valuation)
    values.mkdir(parents=True, exist_ok=True)
    for name in _VALUES:
        (values / name).write_bytes(_result(results.read(name), name, valuation))
    with tempfile.TemporaryDirectory() as folder:
        preset = Path(folder) / "config.yaml"
        preset.write_bytes(_result(results.read("config.yaml"), "config.yaml", valuation))
        metrics = prepare(str(preset), overrides, store, dataset=dataset, config=config, log=log)
    known = json.loads((values / "values.json").read_text())
    if "dataset" not in known:
        raise UserError(
            f"the valuation at {valuation} was made by an older release, which did not keep what its data were: run "
            "it again (what its store has is not measured again)"
        )
    digest = ContributorDataset.load(dataset).digest[:16]
    if known["dataset"] != digest:
        raise UserError(
            f"the images of the valuation at {valuation} have changed since (data {known['dataset']} then, {digest} "
            "now): its values cannot be judged by models that are trained on others. Value the contributors anew"
        )
    return metrics


def _result(data: bytes | None, name: str, valuation: str) -> bytes:
    if data is None:
        raise UserError(
            f"there is no finished valuation at {valuation} ({name} is missing): name the folder of its results, as "
            "given to `python -m pipelines run --out`"
        )
    return data
