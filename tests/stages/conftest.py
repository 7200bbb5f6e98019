"""What the tests of stages have in common."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One MLflow database for all valuations: to make a new one takes longer than a small valuation's loop."""
    patch = pytest.MonkeyPatch()
    if "MLFLOW_TRACKING_URI" not in os.environ:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")
    yield
    patch.undo()
