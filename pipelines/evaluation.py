"""evaluation: judges a finished valuation by retrained models, with the paper's tables and figures."""

from kfp import dsl

from components.attribute.component import attribute
from components.collect_removal.component import collect_removal
from components.evaluate.component import evaluate
from components.open_valuation.component import open_valuation
from components.plan.component import plan
from components.plan_counterfactuals.component import plan_counterfactuals
from components.plan_removal.component import plan_removal
from components.prune.component import prune
from components.reference.component import reference
from components.train.component import train
from pipelines.measure_coalitions import measure_coalitions
from pipelines.resources import LIGHT_CPU, LIGHT_MEMORY, accelerate, settle
from shapley_core.evaluation.removal import REMOVAL_METHODS


@dsl.pipeline(
    name="evaluation",
    description="How well the values of a valuation predict what retraining shows, beside the paper's baselines.",
)
def evaluation(
    valuation: str,
    store: str,
    overrides: dict = {},  # noqa: B006 -- a pipeline's default is a constant of its specification
    tracking_uri: str = "sqlite:///mlflow.db",
    cpu: str = "2",
    memory: str = "4Gi",
    accelerator: str = "nvidia.com/gpu",
    accelerator_count: str = "0",
) -> dsl.Artifact:
    """Retrains held-out coalitions, removes contributors by every method, and compares all attributions.

    Args:
        valuation: Where the results of a finished valuation are, s3://bucket/prefix or a shared folder.
        store: The store of that valuation: its models are taken from there, and every utility goes there.
        overrides: Settings under evaluation and run that differ from the valuation's, e.g. {"evaluation.n_sets": 5}.
        tracking_uri: MLflow's address, unless the platform sets MLFLOW_TRACKING_URI.
        cpu: CPUs of a task that trains, samples or scores.
        memory: Memory of a task that trains, samples or scores.
        accelerator: Kind of accelerator for these tasks.
        accelerator_count: Accelerators of each of these tasks; 0 for none.

    Returns:
        evaluation.json, evaluation.html, evaluation.md, tables and figures.
    """
    opened = open_valuation(valuation=valuation, overrides=overrides, store=store)
    dataset, config, values = (opened.outputs[name] for name in ("dataset", "config", "values"))
    trained = train(dataset=dataset, config=config, store=store)
    smaller = prune(dataset=dataset, config=config, model=trained.outputs["model"], store=store)
    game = reference(dataset=dataset, config=config, model=trained.outputs["model"], pruned=smaller.outputs["pruned"])
    planned = plan(dataset=dataset, config=config, game=game.outputs["game"], store=store)
    starts = {"full": trained.outputs["model"], "pruned": smaller.outputs["pruned"]}
    attributed = attribute(dataset=dataset, config=config, model=starts["full"], game=game.outputs["game"], store=store)
    light = [planned]
    heavy = [trained, smaller, game, attributed]

    drawn = {
        method: plan_removal(
            method=method,
            config=config,
            values=values,
            plan=planned.outputs["coalitions"],
            reference=game.outputs["game"],
            start=starts[removal.start],
            store=store,
        )
        for method, removal in REMOVAL_METHODS.items()
    }

    def measured_by(method: str, coalitions: dsl.PipelineTask):  # type: ignore[no-untyped-def]
        """The coalitions that a task has planned, measured in the game of a method, and brought together."""
        of_method = drawn[method].outputs
        measured = measure_coalitions(
            dataset=dataset,
            config=of_method["removal_config"],
            pruned=starts[REMOVAL_METHODS[method].start],
            game=of_method["game"],
            coalitions=coalitions.outputs["coalitions"],
            prepare_log=opened.outputs["log"],
            shards=coalitions.outputs["Output"],
            store=store,
            cpu=cpu,
            memory=memory,
            accelerator=accelerator,
            accelerator_count=accelerator_count,
        )
        collected = collect_removal(
            config=of_method["removal_config"],
            game=of_method["game"],
            purposes=coalitions.outputs["purposes"],
            utilities=measured.output,
            retraining=drawn["retraining"].outputs["game"],
            lens=attributed.outputs["lens"],
            store=store,
        )
        heavy.append(collected)
        return collected

    tables = {"retraining": measured_by("retraining", drawn["retraining"])}
    for method in REMOVAL_METHODS:
        if method not in tables:
            # Its images are compared with those of retraining, so these have to be there.
            drawn[method].after(tables["retraining"])
            tables[method] = measured_by(method, drawn[method])
    top = plan_counterfactuals(
        config=config,
        values=values,
        plan=planned.outputs["coalitions"],
        attributions=attributed.outputs["attributions"],
        retrained=tables["retraining"].outputs["measured"],
        game=drawn["retraining"].outputs["game"],
        store=store,
    )
    counterfactuals = measured_by("retraining", top)
    judged = evaluate(
        config=config,
        values=values,
        plan=planned.outputs["coalitions"],
        attributions=attributed.outputs["attributions"],
        **{method: table.outputs["measured"] for method, table in tables.items()},
        counterfactuals=counterfactuals.outputs["measured"],
        open_log=opened.outputs["log"],
        attribute_log=attributed.outputs["log"],
        tracking_uri=tracking_uri,
    )
    light += [*drawn.values(), top, judged]
    for task in light:
        settle(task, cpu=LIGHT_CPU, memory=LIGHT_MEMORY)
        task.set_env_variable("OMP_NUM_THREADS", "1")
    for task in (opened, *heavy):
        settle(task, cpu=cpu, memory=memory)
    for task in heavy:
        accelerate(task, accelerator=accelerator, count=accelerator_count)
    # What is wrong with the input stays wrong however often it is tried.
    opened.set_retry(0)
    return judged.outputs["results"]
