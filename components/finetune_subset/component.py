"""The ``finetune_subset`` component: the pruned model, fine-tuned on each coalition of a shard."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def finetune_subset(
    dataset: dsl.Input[dsl.Dataset],
    config: dsl.Input[dsl.Artifact],
    pruned: dsl.Input[dsl.Model],
    game: dsl.Input[dsl.Artifact],
    coalitions: dsl.Input[dsl.Dataset],
    prepare_log: dsl.Input[dsl.Artifact],
    shard: int,
    store: str,
    models: dsl.Output[dsl.Model],
) -> None:
    """Fine-tunes the pruned model on each coalition of the shard that has not been measured yet.

    Args:
        dataset: The contributor data set.
        config: The resolved configuration.
        pruned: The pruned UNet.
        game: The game's reference.
        coalitions: The plan.
        prepare_log: The log of the task prepare, which knows when the run started.
        shard: Number of the shard.
        store: Where utilities are kept.
        models: Averaged weights and a record per coalition.
    """
    from pathlib import Path

    from shapley_core.stages import finetune_subset, task

    task.run(
        finetune_subset.finetune_subset,
        Path(dataset.path),
        Path(config.path),
        Path(pruned.path),
        Path(game.path),
        Path(coalitions.path),
        Path(prepare_log.path),
        shard,
        store,
        models=Path(models.path),
    )
