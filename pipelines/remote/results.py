"""The results of a run on the cluster, brought to a folder of this machine."""

import tempfile
from pathlib import Path

from pipelines.local import exclusive, publish
from pipelines.remote.connection import Cluster
from pipelines.remote.pipeline_versions import spec_of
from pipelines.remote.runs import get
from shapley_core.errors import UserError
from shapley_core.storage import open_store

#: The task that ends a pipeline and its output, a folder.
_TASK, _OUTPUT = "estimate", "results"


def fetch(cluster: Cluster, run_id: str, out: Path, pipeline_root: str) -> None:
    """Bring the results of a finished run to ``out``, each file whole, all of them or none.

    Args:
        cluster: where it ran.
        run_id: its id.
        out: folder, as a run on this machine leaves it.
        pipeline_root: where the cluster keeps artifacts; empty: where the run says.

    Raises:
        UserError: the run has not succeeded, or its results are not where they should be.
    """
    run = get(cluster, run_id)
    if run.state != "SUCCEEDED":
        raise UserError(
            f"the run {run_id} has no results: it is {str(run.state).lower()}. Wait for it with: status {run_id} --wait"
        )
    root = pipeline_root or (run.runtime_config and run.runtime_config.pipeline_root)
    if not root:
        raise UserError(
            f"the run {run_id} does not say where its artifacts are: give the cluster's place with --pipeline-root "
            "(defaultPipelineRoot in the ConfigMap kfp-launcher of the run's namespace)"
        )
    pipeline = spec_of(cluster, run)["pipelineInfo"]["name"]
    with exclusive(out), tempfile.TemporaryDirectory(dir=out, prefix=".fetching-") as folder:
        _download(f"{_address(root)}/{pipeline}/{run_id}/{_TASK}", Path(folder))
        publish(Path(folder), out)


def _address(root: str) -> str:
    """Kubeflow's word for the S3 server that comes with it is minio://; behind a question mark stand its settings."""
    return root.partition("?")[0].rstrip("/").replace("minio://", "s3://", 1)


def _download(task: str, folder: Path) -> None:
    """Download the output of a task.

    Kubeflow's REST API does not tell where artifacts are (kubeflow/pipelines #9858), but its driver puts them at
    <root>/<pipeline>/<run>/<task>/<a random id>/<output>.
    """
    store = open_store(task)
    keys = [key for key in store.list() if key.split("/")[1:2] == [_OUTPUT]]
    # Each attempt at a task by somebody's hand has an id of its own; whole are those with values.
    attempts = sorted({key.split("/")[0] for key in keys if key.endswith(f"/{_OUTPUT}/values.json")})
    if not attempts:
        raise UserError(
            f"there are no results at {store.uri}: check --pipeline-root, and that they have not been cleaned away"
        )
    prefix = f"{attempts[-1]}/{_OUTPUT}/"
    for key in keys:
        if key.startswith(prefix):
            store.download(key, folder / key.removeprefix(prefix))
