"""The ``open_valuation`` component: a finished valuation is taken up to be judged."""

from kfp import dsl

from components.images import DIFFUSION


@dsl.component(base_image=DIFFUSION, install_kfp_package=False)
def open_valuation(
    valuation: str,
    overrides: dict,
    store: str,
    dataset: dsl.Output[dsl.Dataset],
    config: dsl.Output[dsl.Artifact],
    values: dsl.Output[dsl.Artifact],
    log: dsl.Output[dsl.Artifact],
) -> None:
    """Reads a valuation's results, and checks that its data are still what they were.

    Args:
        valuation: Folder or s3:// address of the valuation's results.
        overrides: Settings under evaluation and run.
        store: The valuation's store.
        dataset: The contributor data set.
        config: The resolved configuration.
        values: values.json and values.parquet.
        log: The stage log.
    """
    from pathlib import Path

    from shapley_core.stages import open_valuation, task

    task.run(
        open_valuation.open_valuation,
        valuation,
        overrides,
        store,
        dataset=Path(dataset.path),
        config=Path(config.path),
        values=Path(values.path),
        log=Path(log.path),
    )
