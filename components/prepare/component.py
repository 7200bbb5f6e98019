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
) -> None:
    """Validates the configuration and brings the training images into their one on-disk form.

    Args:
        preset: Name of a preset.
        overrides: Settings that differ from the preset, dotted keys to values.
        store: Where models and utilities are kept, a folder or s3://bucket/prefix.
        dataset: The contributor data set.
        config: The whole resolved configuration (YAML).
        log: The stage log.
        metrics: Number of images and contributors.
    """
    from pathlib import Path

    from shapley_core.stages import prepare, task

    counts = task.run(
        prepare.prepare,
        preset,
        overrides,
        store,
        dataset=Path(dataset.path),
        config=Path(config.path),
        log=Path(log.path),
    )
    for name, value in counts.items():
        metrics.log_metric(name, value)
