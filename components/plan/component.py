"""The ``plan`` component: which coalitions to measure, in which shard."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def plan(
    dataset: dsl.Input[dsl.Dataset],
    config: dsl.Input[dsl.Artifact],
    game: dsl.Input[dsl.Artifact],
    store: str,
    coalitions: dsl.Output[dsl.Dataset],
    log: dsl.Output[dsl.Artifact],
) -> list[int]:
    """Draws the coalitions, seeds them and shares out among at most 64 shards what the store does not have.

    Args:
        dataset: The contributor data set.
        config: The resolved configuration.
        game: The game's reference.
        store: Where utilities are kept.
        coalitions: The plan (Parquet).
        log: The stage log.

    Returns:
        The numbers of the shards.
    """
    from pathlib import Path

    from shapley_core.stages import plan, task

    return task.run(
        plan.plan,
        Path(dataset.path),
        Path(config.path),
        Path(game.path),
        store,
        plan=Path(coalitions.path),
        log=Path(log.path),
    )
