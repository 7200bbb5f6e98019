"""The ``estimate`` component: the contributors' values, the report and the MLflow run."""

from kfp import dsl

from components.images import ESTIMATOR


@dsl.component(base_image=ESTIMATOR, install_kfp_package=False)
def estimate(
    config: dsl.Input[dsl.Artifact],
    coalitions: dsl.Input[dsl.Dataset],
    game: dsl.Input[dsl.Artifact],
    prepare_log: dsl.Input[dsl.Artifact],
    plan_log: dsl.Input[dsl.Artifact],
    train_log: dsl.Input[dsl.Artifact],
    prune_log: dsl.Input[dsl.Artifact],
    reference_log: dsl.Input[dsl.Artifact],
    utilities: dsl.Input[list[dsl.Dataset]],
    store: str,
    tracking_uri: str,
    results: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Solves for the Shapley values and writes values, utilities and report; logs them to MLflow.

    Args:
        config: The resolved configuration.
        coalitions: The plan.
        game: The game's reference.
        prepare_log: Stage log.
        plan_log: Stage log.
        train_log: Stage log.
        prune_log: Stage log.
        reference_log: Stage log.
        utilities: One artifact per shard.
        store: Where the coalitions' sample images are kept.
        tracking_uri: MLflow's address, unless MLFLOW_TRACKING_URI is set.
        results: values.json, values.parquet, utilities.parquet, report.html, config.yaml.
        report: The report, for the Kubeflow UI.
        metrics: The values.
    """
    import shutil
    from pathlib import Path

    from shapley_core.stages import estimate, task

    logs = [prepare_log, plan_log, train_log, prune_log, reference_log]
    values = task.run(
        estimate.estimate,
        Path(config.path),
        Path(coalitions.path),
        Path(game.path),
        [Path(log.path) for log in logs],
        [Path(shard.path) for shard in utilities],
        store,
        tracking_uri,
        results=Path(results.path),
    )
    shutil.copyfile(Path(results.path) / "report.html", report.path)
    for name, value in values.items():
        metrics.log_metric(name, value)
