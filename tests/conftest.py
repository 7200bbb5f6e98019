"""Servers shared by the tests of a session; each starts when the first test asks for it."""

from collections.abc import Iterator

import pytest
import servers
from hypothesis import settings

# No test asserts a time, and hypothesis' deadline is one: a busy machine is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


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
