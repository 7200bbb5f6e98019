"""prepare: validates the whole configuration and brings the training images into their one on-disk form.

Whatever can be wrong with what the user gave is found here, before anything expensive starts.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapley_core.config import ValuationConfig, resolve
from shapley_core.data.sources import load_source
from shapley_core.errors import UserError
from shapley_core.estimators import check_design, get_estimator
from shapley_core.estimators.default import AUTO, default_estimator
from shapley_core.games.designs import DESIGNS, design_name
from shapley_core.games.plan import make_plan
from shapley_core.properties import check_property, check_requirements
from shapley_core.stage_log import StageLog
from shapley_core.stages.base_model import base_images, check_base
from shapley_core.stages.keeping import base_data, model_data
from shapley_core.stages.needs import check_given_autoencoder
from shapley_core.stages.stopping import check_stopping
from shapley_core.storage import open_store

logger = logging.getLogger(__name__)

#: Seconds a server has to take an empty file. Later it may need longer, for large ones; now somebody is waiting.
_FIRST_ANSWER = 5.0


def prepare(
    preset: str, overrides: Mapping[str, Any], store: str, *, dataset: Path, config: Path, log: Path
) -> dict[str, float]:
    """Resolve ``preset`` with ``overrides`` (dotted keys), check everything, and write the data set and the config.

    Args:
        preset: a preset's name or the path of a config.yaml.
        overrides: dotted keys to values.
        store: where models and utilities are kept; must be writable.
        dataset: output folder, a contributor data set.
        config: output file, the whole resolved configuration as YAML.
        log: output file, the stage log.

    Raises:
        UserError: anything the user gave that cannot work.
    """
    record = StageLog("prepare")
    settings = resolve(preset, overrides)
    check_names(settings)
    if not store:
        raise UserError(
            "there is no store: name an s3:// address or a folder that all tasks share, where models and utilities are "
            "kept from run to run"
        )
    probe = open_store(store, patience=_FIRST_ANSWER)
    probe.write("writable", b"")
    probe.delete("writable")
    check_base(settings)
    check_given_autoencoder(settings)
    data = load_source(settings.data)
    game = settings.game
    plan = make_plan(
        data.fingerprints,
        game.design,
        game.n_coalitions,
        settings.seed,
        settings.run.shard_size,
        game.unions,
        game.model_contributors,
    )
    check_stopping(settings, plan)
    n, drawn = len(data.contributors), int((plan.table["kind"] == "sampled").sum())
    if game.estimator == AUTO:
        default_estimator(game.design, n, drawn)
    if game.estimator == "exact":
        check_whole(n, drawn)
    for name in settings.property.names:
        check_requirements(name, model_data(settings, data), settings.property)
    data.save(dataset)
    if (base := base_images(settings)) is not None:
        base.save(base_data(dataset))
    settings.save(config)
    n_images = sum(data.n_images.values())
    logger.info("%d images of %d contributors", n_images, len(data.contributors))
    record.facts |= {
        "images": n_images,
        "contributors": len(data.contributors),
        "images_skipped": data.n_skipped,
        "dataset": data.digest[:16],
        **{fact: str(data.source[fact]) for fact in ("origin", "licence") if fact in data.source},
    }
    record.save(log)
    return {"images": n_images, "contributors": len(data.contributors)}


def check_names(settings: ValuationConfig) -> None:
    """Raise :class:`UserError` where a property or estimator of that name does not exist, or cannot use the design."""
    for name in settings.property.names:
        check_property(name)
    if settings.game.estimator == AUTO:
        return
    get_estimator(settings.game.estimator)
    if design_name(settings.game.design) in DESIGNS:  # what is no design is told as such, where it is drawn
        check_design(settings.game.estimator, settings.game.design)


def check_whole(n: int, drawn: int) -> None:
    """Raise :class:`UserError` where the estimator ``exact`` would miss coalitions: it fits no design by its name."""
    if drawn < 2**n - 2:
        raise UserError(
            f"the estimator 'exact' needs all {2**n - 2} coalitions of {n} contributors, and game.n_coalitions and "
            f"the design draw {drawn}: choose the design 'exhaustive', or another estimator such as 'odd_ridge'"
        )
