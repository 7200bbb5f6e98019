"""The ``plan_removal`` component: which coalitions an evaluation measures by a removal method."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def plan_removal(
    method: str,
    config: dsl.Input[dsl.Artifact],
    values: dsl.Input[dsl.Artifact],
    plan: dsl.Input[dsl.Dataset],
    reference: dsl.Input[dsl.Artifact],
    start: dsl.Input[dsl.Model],
    store: str,
    removal_config: dsl.Output[dsl.Artifact],
    game: dsl.Output[dsl.Artifact],
    coalitions: dsl.Output[dsl.Dataset],
    purposes: dsl.Output[dsl.Dataset],
    log: dsl.Output[dsl.Artifact],
) -> list[int]:
    """Draws the coalitions of a removal method, and names the game that they belong to.

    Args:
        method: Name of the removal method.
        config: The valuation's configuration.
        values: The valuation's values.
        plan: The valuation's plan.
        reference: The valuation's reference.
        start: The model that the method starts from.
        store: Where utilities are kept.
        removal_config: The method's configuration.
        game: The method's game.
        coalitions: The plan of the method's coalitions.
        purposes: What each of them is for.
        log: The stage log.

    Returns:
        Numbers of the shards, at most 64.
    """
    from pathlib import Path

    from shapley_core.stages import plan_removal, task

    return task.run(
        plan_removal.plan_removal,
        method,
        Path(config.path),
        Path(values.path),
        Path(plan.path),
        Path(reference.path),
        Path(start.path),
        store,
        removal_config=Path(removal_config.path),
        game=Path(game.path),
        coalitions=Path(coalitions.path),
        purposes=Path(purposes.path),
        log=Path(log.path),
    )
