"""valuation: values the contributors of a diffusion model, from their images to a report."""

from kfp import dsl

from components.estimate.component import estimate
from components.plan.component import plan
from components.prepare.component import prepare
from components.prune.component import prune
from components.reference.component import reference
from components.train.component import train
from pipelines.measure_coalitions import measure_coalitions
from pipelines.resources import LIGHT_CPU, LIGHT_MEMORY, accelerate, settle


@dsl.pipeline(
    name="valuation",
    description="Shapley values of a diffusion model's global property for the contributors of its training data.",
)
def valuation(
    store: str,
    preset: str = "digits",
    data: str = "",
    coalitions: int = 0,
    shard_size: int = 0,
    property: str = "",
    method: str = "",
    seed: int = -1,
    experiment: str = "",
    overrides: dict = {},  # noqa: B006 -- a pipeline's default is a constant of its specification
    tracking_uri: str = "sqlite:///mlflow.db",
    cpu: str = "2",
    memory: str = "4Gi",
    accelerator: str = "nvidia.com/gpu",
    accelerator_count: str = "0",
) -> dsl.Artifact:
    """Trains, prunes, measures coalitions of contributors, and solves for the contributors' values.

    Args:
        store: Where models and utilities are kept from run to run, s3://bucket/prefix or a shared folder.
        preset: What to value and how; digits, openmoji, openmoji-ldm, openmoji-lora, cifar20, celebahq or artbench.
        data: Your own images, e.g. s3://bucket/images with one folder per contributor; empty: the preset's.
        coalitions: Coalitions of contributors to measure, the more the narrower the intervals; 0: as the preset says.
        shard_size: Coalitions that one task measures; 0: as the preset says.
        property: The model property that is shared out, e.g. inception_score or colourfulness; empty: the preset's.
        method: How the model of a coalition is made, sparsified_finetuning or retraining; empty: as the preset says.
        seed: Seed of every random draw; -1: the preset's.
        experiment: MLflow experiment that the run belongs to; empty: the preset's.
        overrides: Any other setting as JSON, e.g. {"finetuning.steps": 100}; counts before the inputs above.
        tracking_uri: MLflow's address, unless the platform sets MLFLOW_TRACKING_URI.
        cpu: CPUs of a task that trains, samples or scores.
        memory: Memory of a task that trains, samples or scores.
        accelerator: Kind of accelerator for these tasks.
        accelerator_count: Accelerators of each of these tasks; 0 for none.

    Returns:
        values.json, values.parquet, utilities.parquet, report.html, config.yaml.
    """
    prepared = prepare(
        preset=preset,
        overrides=overrides,
        store=store,
        data=data,
        coalitions=coalitions,
        shard_size=shard_size,
        property=property,
        method=method,
        seed=seed,
        experiment=experiment,
    )
    dataset, config = prepared.outputs["dataset"], prepared.outputs["config"]
    trained = train(dataset=dataset, config=config, store=store)
    smaller = prune(dataset=dataset, config=config, model=trained.outputs["model"], store=store)
    game = reference(dataset=dataset, config=config, model=trained.outputs["model"], pruned=smaller.outputs["pruned"])
    planned = plan(dataset=dataset, config=config, game=game.outputs["game"], store=store)
    measured = measure_coalitions(
        dataset=dataset,
        config=config,
        pruned=smaller.outputs["pruned"],
        game=game.outputs["game"],
        coalitions=planned.outputs["coalitions"],
        prepare_log=prepared.outputs["log"],
        shards=planned.outputs["Output"],
        store=store,
        cpu=cpu,
        memory=memory,
        accelerator=accelerator,
        accelerator_count=accelerator_count,
    )
    solved = estimate(
        config=config,
        coalitions=planned.outputs["coalitions"],
        game=game.outputs["game"],
        prepare_log=prepared.outputs["log"],
        plan_log=planned.outputs["log"],
        train_log=trained.outputs["log"],
        prune_log=smaller.outputs["log"],
        reference_log=game.outputs["log"],
        utilities=measured.output,
        store=store,
        tracking_uri=tracking_uri,
    )
    for task in (planned, solved):
        settle(task, cpu=LIGHT_CPU, memory=LIGHT_MEMORY)
        # Small matrices: more threads of the linear algebra only get into each other's way.
        task.set_env_variable("OMP_NUM_THREADS", "1")
    for task in (prepared, trained, smaller, game):
        settle(task, cpu=cpu, memory=memory)
    for task in (trained, smaller, game):
        accelerate(task, accelerator=accelerator, count=accelerator_count)
    # A wrong configuration stays wrong however often it is tried.
    prepared.set_retry(0)
    measured.set_caching_options(False)  # as `settle` does for tasks
    return solved.outputs["results"]
