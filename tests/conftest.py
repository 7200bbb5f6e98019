"""Servers shared by the tests of a session; each starts when the first test asks for it."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from pipelines import servers

# No test asserts a time, and hypothesis' deadline is one: a busy machine is no failure. What decides about a landing
# (.ci/run) draws the same examples every time, so that it tells of the change; by hand, new ones are looked for.
settings.register_profile("by hand", deadline=None)
settings.register_profile("landing", deadline=None, derandomize=True)
settings.load_profile("landing" if "CI" in os.environ else "by hand")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.S3Server]:
    """A real S3 server (SeaweedFS) on loopback."""
    with servers.s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server: servers.S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a new, empty bucket; the AWS variables point to its server while the test runs."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    with servers.s3_bucket(s3_server) as bucket:
        yield bucket


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server on loopback, with runs in SQLite."""
    with servers.mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address
