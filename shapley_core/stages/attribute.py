"""attribute: what the other methods of the paper's Table 1 say of the contributors, from the full model alone.

Also makes the lens that images of different removal methods are compared through: an embedder, and clusters of the full
model's images.
"""

import json
import logging
from functools import partial
from pathlib import Path

import pandas as pd

from shapley_core.baselines import BASELINES, Evidence
from shapley_core.baselines.gradients import Gradients
from shapley_core.baselines.projection import CountSketch
from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.device import compute_device, moved
from shapley_core.errors import UserError
from shapley_core.games.identity import game_id
from shapley_core.properties import get_property
from shapley_core.properties.diversity import Diversity
from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.game_files import generation_seed, property_folder, read_game
from shapley_core.stages.keeping import checkpoint_digest
from shapley_core.stages.networks import networks_of
from shapley_core.stages.networks.base import n_trained
from shapley_core.stages.sample_space import Sampler, samples_of, training_samples
from shapley_core.storage import Store, open_store

logger = logging.getLogger(__name__)

#: To be raised where a change of code changes what a baseline says.
_VERSION = 1


def attribute(
    dataset: Path, config: Path, model: Path, reference: Path, store: str, *, attributions: Path, lens: Path, log: Path
) -> dict[str, float]:
    """Write the baselines' attributions: columns ``attribution``, ``contributor``, ``value``, ``refused``.

    One row per baseline and contributor; of a baseline that cannot judge this property, one row that says why in
    ``refused``. Each baseline that is done is kept in the store and taken from there.

    Args:
        dataset: the contributor data set.
        config: the resolved configuration.
        model: the full model.
        reference: the properties' references.
        store: where attributions are kept.
        attributions: output file (Parquet).
        lens: output folder, a fitted :class:`~shapley_core.properties.diversity.Diversity`.
        log: output file, the stage log.
    """
    record = StageLog("attribute")
    settings = ValuationConfig.load(config)
    data = ContributorDataset.load(dataset)
    device = compute_device(settings.run.threads)
    images = data.images()
    network = moved(networks_of(settings).load(model), device)
    sampler = Sampler.of(settings, model, device)
    seed = generation_seed(settings)
    with record.phase("sampling"):
        generated = sampler.images(network, seed)
    lens.mkdir(parents=True, exist_ok=True)
    with record.phase("training"):
        n_clusters = min(settings.property.n_clusters, len(generated))
        seen_by = settings.property.model_copy(update={"n_clusters": n_clusters})
        Diversity.fit(data, generated, seen_by, derive_seed(settings.seed, "property"), lens)
    seen = Diversity.load(lens, settings.property)
    chosen = settings.evaluation
    evidence = Evidence(
        owners=data.contributor_ids,
        training=images,
        generated=generated,
        embedder=seen.embedder,
        clusters=seen.clusters,
        measure=get_property(settings.property.name).load(
            property_folder(reference, settings.property.name), settings.property
        ),
        gradients=Gradients(
            network,
            settings.noise_schedule,
            training_samples(settings, data, model),
            samples_of(settings, generated, model),
            paths=partial(sampler.paths, network, seed),
            projection=CountSketch(n_trained(network), chosen.projection_dim, settings.seed).to(device),
            seed=settings.seed,
            n_timesteps=chosen.gradient_timesteps,
        ),
        damping=chosen.damping,
    )
    kept = open_store(store)
    key = game_id(
        {
            "version": _VERSION,
            "model": checkpoint_digest(model),
            "data": data.digest,
            "game": read_game(reference),
            "evaluation": chosen.model_dump(include={"gradient_timesteps", "projection_dim", "damping"}),
        }
    )
    with record.phase("scoring"):
        tables = [
            _once(kept, f"attributions/{key}/{name}.json", name, evidence, data.contributors) for name in BASELINES
        ]
    pd.concat(tables, ignore_index=True).to_parquet(attributions, index=False)
    record.save(log)
    return {"baselines": len(tables)}


def _once(store: Store, folder: str, name: str, evidence: Evidence, contributors: tuple[str, ...]) -> pd.DataFrame:
    """A baseline's rows, from the store if they are there."""
    key = f"{folder}/{name}.json"
    known = store.read(key)
    if known is None:
        logger.info("attribute: %s", name.replace("_", " "))
        known = _attributed(name, evidence, contributors).to_json(orient="records", double_precision=15).encode()
        store.write_new(key, known)
    table = pd.DataFrame(json.loads(known), columns=["attribution", "contributor", "value", "refused"])
    return table.astype({"value": float})


def _attributed(name: str, evidence: Evidence, contributors: tuple[str, ...]) -> pd.DataFrame:
    columns = {"attribution": name, "contributor": contributors, "value": float("nan"), "refused": ""}
    try:
        return pd.DataFrame(columns | {"value": BASELINES[name](evidence)})
    except UserError as error:  # one that cannot judge this property does not stop the others
        return pd.DataFrame([columns | {"contributor": "", "refused": str(error)}])
