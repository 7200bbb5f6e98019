"""The ``attribute`` component: the baselines of the paper's Table 1."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def attribute(
    dataset: dsl.Input[dsl.Dataset],
    config: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    game: dsl.Input[dsl.Artifact],
    store: str,
    attributions: dsl.Output[dsl.Dataset],
    lens: dsl.Output[dsl.Model],
    log: dsl.Output[dsl.Artifact],
) -> None:
    """Attributes the property by similarity, distance, and gradients of the full model.

    Args:
        dataset: The contributor data set.
        config: The resolved configuration.
        model: The trained UNet.
        game: The valuation's reference.
        store: Where attributions are kept.
        attributions: One row per baseline and contributor.
        lens: The embedder that images of removal methods are compared through.
        log: The stage log.
    """
    from pathlib import Path

    from shapley_core.stages import attribute, task

    task.run(
        attribute.attribute,
        Path(dataset.path),
        Path(config.path),
        Path(model.path),
        Path(game.path),
        store,
        attributions=Path(attributions.path),
        lens=Path(lens.path),
        log=Path(log.path),
    )
