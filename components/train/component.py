"""The ``train`` component: the diffusion model whose contributors are valued."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def train(
    dataset: dsl.Input[dsl.Dataset],
    config: dsl.Input[dsl.Artifact],
    store: str,
    model: dsl.Output[dsl.Model],
    log: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Trains the diffusion model on everybody's images; takes up its checkpoint after an interruption.

    Args:
        dataset: The contributor data set.
        config: The resolved configuration.
        store: Where models and checkpoints are kept.
        model: The trained UNet (diffusers layout, safetensors).
        log: The stage log with the training curve.
        metrics: Number of parameters.
    """
    from pathlib import Path

    from shapley_core.stages import task, train

    facts = task.run(
        train.train,
        Path(dataset.path),
        Path(config.path),
        store,
        model=Path(model.path),
        log=Path(log.path),
    )
    for name, value in facts.items():
        metrics.log_metric(name, value)
