"""The ``evaluate`` component: the paper's tables and figures for a valuation, and the MLflow run."""

from kfp import dsl

from components.images import ESTIMATOR


@dsl.component(base_image=ESTIMATOR, install_kfp_package=False)
def evaluate(
    config: dsl.Input[dsl.Artifact],
    values: dsl.Input[dsl.Artifact],
    plan: dsl.Input[dsl.Dataset],
    attributions: dsl.Input[dsl.Dataset],
    retraining: dsl.Input[dsl.Dataset],
    finetuning: dsl.Input[dsl.Dataset],
    sparsified_finetuning: dsl.Input[dsl.Dataset],
    gradient_ascent: dsl.Input[dsl.Dataset],
    sparsified_gradient_ascent: dsl.Input[dsl.Dataset],
    influence_unlearning: dsl.Input[dsl.Dataset],
    sparsified_influence_unlearning: dsl.Input[dsl.Dataset],
    counterfactuals: dsl.Input[dsl.Dataset],
    open_log: dsl.Input[dsl.Artifact],
    attribute_log: dsl.Input[dsl.Artifact],
    tracking_uri: str,
    results: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Judges attributions by retrained models, and removal methods by retraining; logs both to MLflow.

    Args:
        config: The valuation's configuration.
        values: The valuation's values.
        plan: The valuation's plan.
        attributions: The baselines' attributions.
        retraining: Measurements of retraining.
        finetuning: Measurements of fine-tuning the full model.
        sparsified_finetuning: Measurements of fine-tuning the pruned model.
        gradient_ascent: Measurements of gradient ascent on the full model.
        sparsified_gradient_ascent: Measurements of gradient ascent on the pruned model.
        influence_unlearning: Measurements of influence unlearning of the full model.
        sparsified_influence_unlearning: Measurements of influence unlearning of the pruned model.
        counterfactuals: Measurements of retraining without top contributors, or with them alone.
        open_log: Stage log.
        attribute_log: Stage log.
        tracking_uri: MLflow's address, unless MLFLOW_TRACKING_URI is set.
        results: evaluation.json, evaluation.html, evaluation.md, a table each, figures.
        report: The report, for the Kubeflow UI.
        metrics: LDS, costs, FID and relative changes.
    """
    import shutil
    from pathlib import Path

    from shapley_core.stages import evaluate, task

    measured = {
        "retraining": retraining,
        "finetuning": finetuning,
        "sparsified_finetuning": sparsified_finetuning,
        "gradient_ascent": gradient_ascent,
        "sparsified_gradient_ascent": sparsified_gradient_ascent,
        "influence_unlearning": influence_unlearning,
        "sparsified_influence_unlearning": sparsified_influence_unlearning,
    }
    found = task.run(
        evaluate.evaluate,
        Path(config.path),
        Path(values.path),
        Path(plan.path),
        Path(attributions.path),
        {method: Path(table.path) for method, table in measured.items()},
        Path(counterfactuals.path),
        [Path(log.path) for log in (open_log, attribute_log)],
        tracking_uri,
        results=Path(results.path),
    )
    shutil.copyfile(Path(results.path) / "evaluation.html", report.path)
    for name, value in found.items():
        metrics.log_metric(name, value)
