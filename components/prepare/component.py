"""The ``prepare`` component: configuration and training data, checked before anything expensive starts."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def prepare(
    preset: str,
    overrides: dict,
    store: str,
    dataset: dsl.Output[dsl.Dataset],
    config: dsl.Output[dsl.Artifact],
    log: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    data: str = "",
    coalitions: int = 0,
    shard_size: int = 0,
    property: str = "",
    method: str = "",
    seed: int = -1,
    experiment: str = "",
) -> None:
    """Validates the configuration and brings the training images into their one on-disk form.

    Args:
        preset: Name of a preset.
        overrides: Settings that differ from the preset, dotted keys to values; they count before the inputs below.
        store: Where models and utilities are kept, a folder or s3://bucket/prefix.
        dataset: The contributor data set.
        config: The whole resolved configuration (YAML).
        log: The stage log.
        metrics: Number of images and contributors.
        data: Images of one's own, a folder or table, local or s3://.
        coalitions: Distinct coalitions to measure.
        shard_size: Coalitions that one task measures.
        property: The property that is shared out.
        method: How a coalition's model is made.
        seed: Seed of every random draw; -1 for the preset's.
        experiment: The MLflow experiment.
    """
    from pathlib import Path

    from components.prepare.inputs import as_settings
    from shapley_core.stages import prepare, task

    inputs = as_settings(
        data=data,
        coalitions=coalitions,
        shard_size=shard_size,
        property=property,
        method=method,
        seed=seed,
        experiment=experiment,
    )
    counts = task.run(
        prepare.prepare,
        preset,
        inputs | overrides,
        store,
        dataset=Path(dataset.path),
        config=Path(config.path),
        log=Path(log.path),
    )
    for name, value in counts.items():
        metrics.log_metric(name, value)
