"""The ``plan_counterfactuals`` component: whose top contributors are removed, or kept alone."""

from kfp import dsl

from components.images import ESTIMATOR


@dsl.component(base_image=ESTIMATOR, install_kfp_package=False)
def plan_counterfactuals(
    config: dsl.Input[dsl.Artifact],
    values: dsl.Input[dsl.Artifact],
    plan: dsl.Input[dsl.Dataset],
    attributions: dsl.Input[dsl.Dataset],
    retrained: dsl.Input[dsl.Dataset],
    game: dsl.Input[dsl.Artifact],
    store: str,
    coalitions: dsl.Output[dsl.Dataset],
    purposes: dsl.Output[dsl.Dataset],
    log: dsl.Output[dsl.Artifact],
) -> list[int]:
    """Takes the values and the best baseline of each kind, and draws the coalitions to retrain for them.

    Args:
        config: The valuation's configuration.
        values: The valuation's values.
        plan: The valuation's plan.
        attributions: The baselines' attributions.
        retrained: The measurements of retraining.
        game: The game of retraining.
        store: Where utilities are kept.
        coalitions: The plan of the counterfactual coalitions.
        purposes: What each of them is for.
        log: The stage log.

    Returns:
        Numbers of the shards, at most 64.
    """
    from pathlib import Path

    from shapley_core.stages import plan_counterfactuals, task

    return task.run(
        plan_counterfactuals.plan_counterfactuals,
        Path(config.path),
        Path(values.path),
        Path(plan.path),
        Path(attributions.path),
        Path(retrained.path),
        Path(game.path),
        store,
        coalitions=Path(coalitions.path),
        purposes=Path(purposes.path),
        log=Path(log.path),
    )
