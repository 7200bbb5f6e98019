"""The ``prune`` component: the smaller model that stands in for the full one."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def prune(
    dataset: dsl.Input[dsl.Dataset],
    config: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    store: str,
    pruned: dsl.Output[dsl.Model],
    log: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Prunes the trained model by magnitude and fine-tunes it on everybody's images.

    Args:
        dataset: The contributor data set.
        config: The resolved configuration.
        model: The trained UNet.
        store: Where models and checkpoints are kept.
        pruned: The pruned UNet: base config, pruning history, safetensors.
        log: The stage log with the training curve.
        metrics: Number of parameters before and after.
    """
    from pathlib import Path

    from shapley_core.stages import prune, task

    facts = task.run(
        prune.prune,
        Path(dataset.path),
        Path(config.path),
        Path(model.path),
        store,
        pruned=Path(pruned.path),
        log=Path(log.path),
    )
    for name, value in facts.items():
        metrics.log_metric(name, value)
