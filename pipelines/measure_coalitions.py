"""measure_coalitions: the loop over shards of coalitions, a pipeline of its own that other pipelines call.

At most 64 iterations, whatever the number of coalitions: every iteration costs pods of its own.
"""

from kfp import dsl

from components.finetune_subset.component import finetune_subset
from components.generate.component import generate
from components.score.component import score
from pipelines.resources import accelerate, settle


@dsl.pipeline(name="measure-coalitions")
def measure_coalitions(
    dataset: dsl.Input[dsl.Dataset],
    config: dsl.Input[dsl.Artifact],
    pruned: dsl.Input[dsl.Model],
    game: dsl.Input[dsl.Artifact],
    coalitions: dsl.Input[dsl.Dataset],
    prepare_log: dsl.Input[dsl.Artifact],
    shards: list[int],
    store: str,
    cpu: str,
    memory: str,
    accelerator: str,
    accelerator_count: str,
) -> list[dsl.Dataset]:
    """Fine-tunes, samples and scores every coalition of the plan.

    Args:
        dataset: The contributor data set.
        config: The resolved configuration.
        pruned: The pruned UNet.
        game: The game's reference.
        coalitions: The plan.
        prepare_log: The log of the task prepare, which knows when the run started.
        shards: Numbers of the plan's shards.
        store: Where utilities are kept.
        cpu: CPUs of a task.
        memory: Memory of a task.
        accelerator: Kind of accelerator.
        accelerator_count: Accelerators of a task, 0 for none.

    Returns:
        One utility table per shard.
    """
    with dsl.ParallelFor(shards) as shard:
        tuned = finetune_subset(
            dataset=dataset,
            config=config,
            pruned=pruned,
            game=game,
            coalitions=coalitions,
            prepare_log=prepare_log,
            shard=shard,
            store=store,
        )
        sampled = generate(config=config, pruned=pruned, models=tuned.outputs["models"], shard=shard)
        scored = score(
            config=config,
            game=game,
            coalitions=coalitions,
            images=sampled.outputs["images"],
            shard=shard,
            store=store,
        )
        for task in (tuned, sampled, scored):
            settle(task, cpu=cpu, memory=memory)
            accelerate(task, accelerator=accelerator, count=accelerator_count)
    utilities: list[dsl.Dataset] = dsl.Collected(scored.outputs["utilities"])
    return utilities
