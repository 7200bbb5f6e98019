"""The commands ``services up``, ``down`` and ``s3``: real servers on this machine, to try things with."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipelines.local import make_folder
from pipelines.servers import S3Server, mlflow_server, s3_server
from shapley_core.errors import UserError

#: The bucket that is there from the start.
BUCKET = "valuations"
#: What a shell sets to use the servers.
_ENVIRONMENT = "environment"
#: The id of the process that serves, which holds a lock on the file.
_PROCESS = "process"

service_commands = typer.Typer(
    no_args_is_help=True,
    help="Start an S3 server (SeaweedFS) and an MLflow server on this machine, to try things with.",
)

Folder = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the servers keep what they are given.")]


@service_commands.command(short_help="Start both servers, and say how to use them.")
def up(folder: Folder = Path("runs/services")) -> None:
    """Start SeaweedFS and MLflow on loopback, print the variables to set, and serve until Ctrl-C or `services down`.

    What they hold stays in FOLDER, and is there when they are started again.
    """
    folder = folder.absolute()
    console = Console(file=sys.stdout, highlight=False)
    environment = folder / _ENVIRONMENT
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _held(folder), s3_server(folder / "s3") as server, mlflow_server(folder / "mlflow") as mlflow:
        _make_bucket(server)
        variables = {**server.environment, "MLFLOW_TRACKING_URI": mlflow}
        environment.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
        text = (
            f"S3 is at {server.endpoint}, with the bucket {BUCKET}; MLflow is at {mlflow}. In another shell:\n\n"
            f"{environment.read_text()}\nor: . {shlex.quote(str(environment))}\n"
            f"then, for one: make run STORE=s3://{BUCKET}/store\n"
            f"Ctrl-C stops them, and so does make services-down; what they hold stays in {folder}."
        )
        console.print(Text(text), soft_wrap=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(1)
        environment.unlink()


@service_commands.command(short_help="Stop the servers that `services up` started.")
def down(folder: Folder = Path("runs/services")) -> None:
    """Stop the servers that `services up` started, from another shell."""
    running = folder / _PROCESS
    if not running.is_file():
        raise _none(folder)
    with running.open() as process:
        if _locked(process):
            raise _none(folder)
        # Who holds the lock lives, so the number is no other process's.
        os.kill(int(process.read()), signal.SIGTERM)
        fcntl.flock(process, fcntl.LOCK_EX)


@service_commands.command(
    short_help="Run a command with an S3 server of its own.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def s3(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="What to run, with its arguments.")],
    folder: Folder = Path("runs/services"),
) -> None:
    """Start SeaweedFS on loopback, run COMMAND with the variables to use it, and stop it.

    The bucket s3://valuations is there. The exit code is the command's.
    """
    folder = folder.absolute()
    with _held(folder), s3_server(folder / "s3") as server:
        _make_bucket(server)
        process = subprocess.Popen(command, env={**os.environ, **server.environment})
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        # Ctrl-C reaches the command too: it says when it ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = process.wait()
    raise typer.Exit(code if code >= 0 else 128 - code)  # as a shell tells of a signal


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep a folder for the servers of one process; the lock goes with it, however it ends."""
    make_folder(folder)
    with (folder / _PROCESS).open("a") as process:
        if not _locked(process):
            raise UserError(
                f"servers are running in {folder} already: stop them with `make services-down`, or use them"
            )
        process.truncate(0)
        process.write(str(os.getpid()))
        process.flush()
        yield


def _locked(file: IO[str]) -> bool:
    """Take the lock on a file; False if another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _none(folder: Path) -> UserError:
    return UserError(f"no servers are running in {folder}: `make services-up` starts them")


def _make_bucket(server: S3Server) -> None:
    if BUCKET not in {bucket["Name"] for bucket in server.client.list_buckets()["Buckets"]}:
        server.client.create_bucket(Bucket=BUCKET)
