"""The ``reference`` component: the yardstick of the game."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def reference(
    dataset: dsl.Input[dsl.Dataset],
    config: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    pruned: dsl.Input[dsl.Model],
    game: dsl.Output[dsl.Artifact],
    log: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Makes what the property scores with, names the game, and measures the full and the pruned model.

    Args:
        dataset: The contributor data set.
        config: The resolved configuration.
        model: The trained UNet.
        pruned: The pruned UNet.
        game: The property's reference, the game's identity, and grids of sample images.
        log: The stage log.
        metrics: The property of the full and of the pruned model.
    """
    from pathlib import Path

    from shapley_core.stages import reference, task

    facts = task.run(
        reference.reference,
        Path(dataset.path),
        Path(config.path),
        Path(model.path),
        Path(pruned.path),
        reference=Path(game.path),
        log=Path(log.path),
    )
    for name, value in facts.items():
        metrics.log_metric(name, value)
