"""The ``generate`` component: images of each fine-tuned coalition of a shard."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def generate(
    config: dsl.Input[dsl.Artifact],
    pruned: dsl.Input[dsl.Model],
    models: dsl.Input[dsl.Model],
    shard: int,
    images: dsl.Output[dsl.Dataset],
) -> None:
    """Samples images from each coalition's model with DDIM, from the same initial noise for all.

    Args:
        config: The resolved configuration.
        pruned: The pruned UNet, whose architecture the coalitions share.
        models: Weights and records of the coalitions.
        shard: Number of the shard.
        images: Images and a record per coalition.
    """
    from pathlib import Path

    from shapley_core.stages import generate, task

    task.run(
        generate.generate,
        Path(config.path),
        Path(pruned.path),
        Path(models.path),
        shard,
        images=Path(images.path),
    )
