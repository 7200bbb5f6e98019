"""A valuation whose MLflow is down, silent or slow ends all the same, with every result but the run in MLflow."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from mlflow import MlflowClient
from tiny import TINY

from shapley_core.stages.chain import Chain

ROOT = Path(__file__).parents[2]
#: The last task of a valuation in a process of its own, as the pipeline starts it: it must end, too.
ESTIMATE = """
import sys
from pathlib import Path
from shapley_core.stages import task
from shapley_core.stages.chain import Chain
folder, store, *shards = sys.argv[1:]
task.run(Chain(Path(folder), store).estimate, [int(shard) for shard in shards])
"""
#: What a valuation leaves, whatever becomes of MLflow.
FILES = {"values.json", "values.parquet", "contributors.parquet", "utilities.parquet", "report.html", "config.yaml"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, list[int]]:
    """A tiny valuation up to its last task, and its shards."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("measured")
    chain = Chain(folder, str(folder / "store"))
    chain.prepare("digits", TINY)
    shards = chain.models()
    for shard in shards:
        chain.measure(shard)
    return chain, shards


def finish(measured: tuple[Chain, list[int]], address: str) -> str:
    """Run the last task with MLflow at ``address``; returns what it printed. Never ending is a failure."""
    chain, shards = measured
    results = chain.path("results")
    for path in results.rglob("*"):
        if path.is_file():
            path.unlink()
    command = [sys.executable, "-c", ESTIMATE, str(chain.folder), chain.store, *map(str, shards)]
    settings = {"MLFLOW_TRACKING_URI": address, "NO_PROXY": "127.0.0.1"}
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MLFLOW_")}
    ended = subprocess.run(
        command, cwd=ROOT, env=kept | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stdout
    assert {path.name for path in results.iterdir() if path.is_file()} - {"mlflow.txt"} == FILES
    assert (results / "figures" / "values.png").is_file()
    return ended.stdout


@contextmanager
def relay(
    target: str, forward: Callable[[socket.socket, socket.socket], None], opened: threading.Event
) -> Iterator[str]:
    """The address of a port that passes every connection on to ``target``, its answers by ``forward``.

    ``opened`` is set when the client has its run and sends the first of what belongs into it: how many parts an answer
    comes in is the machine's business, so nothing can be told by counting them.
    """
    there = urlsplit(target)
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections: list[socket.socket] = []

        def ask(client: socket.socket, upstream: socket.socket) -> None:
            with suppress(OSError):
                while data := client.recv(65536):
                    if b"/runs/log-batch" in data:
                        opened.set()
                    upstream.sendall(data)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    upstream = socket.create_connection((there.hostname, there.port))
                    connections.extend((client, upstream))
                    for run, ends in ((ask, (client, upstream)), (forward, (upstream, client))):
                        threading.Thread(target=run, args=ends, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            for connection in connections:
                connection.close()


def test_nobody_listens(measured: tuple[Chain, list[int]]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, so that nobody else takes it, but not listening
        printed = finish(measured, f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert "took nothing of it" in printed and "Connection refused" in printed
    assert not (measured[0].path("results") / "mlflow.txt").exists()


def test_nobody_answers(measured: tuple[Chain, list[int]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts, and nobody ever reads
        printed = finish(measured, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "took nothing of it" in printed and "timed out" in printed


def test_answers_come_late(measured: tuple[Chain, list[int]], mlflow_server: str) -> None:
    opened = threading.Event()

    def late(source: socket.socket, sink: socket.socket) -> None:
        # What opens the run is answered at once; then every part of an answer comes three seconds late, before the
        # client gives up, and far too late for it all.
        with suppress(OSError):
            while data := source.recv(65536):
                time.sleep(3 if opened.is_set() else 0)
                sink.sendall(data)

    with relay(mlflow_server, late, opened) as address:
        printed = finish(measured, address)
    assert "took only a part of it (it was not done after 30 s)" in printed
    # The run is there to look at, with what is small and important.
    hint = (measured[0].path("results") / "mlflow.txt").read_text().strip()
    assert hint.startswith(address)
    run = MlflowClient(mlflow_server).get_run(hint.rsplit("/", 1)[-1])
    assert run.data.params["preset"] == "digits"


def test_it_falls_silent_in_the_middle(measured: tuple[Chain, list[int]], mlflow_server: str) -> None:
    opened = threading.Event()

    def some(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while (data := source.recv(65536)) and not opened.is_set():
                sink.sendall(data)

    with relay(mlflow_server, some, opened) as address:
        printed = finish(measured, address)
    assert "took only a part of it" in printed and "timed out" in printed
