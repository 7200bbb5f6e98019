"""The ``score`` component: the utility of each coalition of a shard."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def score(
    config: dsl.Input[dsl.Artifact],
    game: dsl.Input[dsl.Artifact],
    coalitions: dsl.Input[dsl.Dataset],
    images: dsl.Input[dsl.Dataset],
    shard: int,
    store: str,
    utilities: dsl.Output[dsl.Dataset],
) -> None:
    """Measures the global model property of each coalition's images and keeps the utilities in the store.

    Args:
        config: The resolved configuration.
        game: The game's reference.
        coalitions: The plan.
        images: Images and records of the coalitions.
        shard: Number of the shard.
        store: Where utilities are kept.
        utilities: The shard's utility table and the logs of its tasks.
    """
    from pathlib import Path

    from shapley_core.stages import score, task

    task.run(
        score.score,
        Path(config.path),
        Path(game.path),
        Path(coalitions.path),
        Path(images.path),
        shard,
        store,
        utilities=Path(utilities.path),
    )
