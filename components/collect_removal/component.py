"""The ``collect_removal`` component: what was measured by a removal method, in one table."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def collect_removal(
    config: dsl.Input[dsl.Artifact],
    game: dsl.Input[dsl.Artifact],
    purposes: dsl.Input[dsl.Dataset],
    utilities: dsl.Input[list[dsl.Dataset]],
    retraining: dsl.Input[dsl.Artifact],
    lens: dsl.Input[dsl.Model],
    store: str,
    measured: dsl.Output[dsl.Dataset],
    log: dsl.Output[dsl.Artifact],
) -> None:
    """Joins measurements with what they are for, and compares images with those of retraining (FID).

    Args:
        config: The method's configuration.
        game: The method's game.
        purposes: What its coalitions are for.
        utilities: One artifact per shard.
        retraining: The game of retraining.
        lens: The embedder that images are compared through.
        store: Where images are kept.
        measured: The measurements.
        log: The stage log.
    """
    from pathlib import Path

    from shapley_core.stages import collect_removal, task

    task.run(
        collect_removal.collect_removal,
        Path(config.path),
        Path(game.path),
        Path(purposes.path),
        [Path(shard.path) for shard in utilities],
        Path(retraining.path),
        Path(lens.path),
        store,
        measured=Path(measured.path),
        log=Path(log.path),
    )
