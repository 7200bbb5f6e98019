"""prepare: what it finds out before anything expensive starts."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines import servers
from shapley_core.errors import UserError
from shapley_core.stages import prepare as stage
from shapley_core.storage import open_store


class SlowHandler(BaseHTTPRequestHandler):
    """Takes an object, and thinks it over."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(1.5)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def slow_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 server that needs a while for every object; the AWS variables point to it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SlowHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        for name, value in servers.S3Server(address).environment.items():
            monkeypatch.setenv(name, value)
        yield address
        server.shutdown()


def test_a_store_has_to_be_named(tmp_path: Path) -> None:
    """In a cluster, the empty input of the UI would be a folder that ends with its pod."""
    outputs = {name: tmp_path / name for name in ("dataset", "config", "log")}
    with pytest.raises(UserError, match="there is no store: name an s3:// address"):
        stage.prepare("digits", {}, "", **outputs)


def test_a_silent_server_is_given_up_early_but_not_later(
    slow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_FIRST_ANSWER", 0.3)
    outputs = {name: tmp_path / name for name in ("dataset", "config", "log")}
    with pytest.raises(UserError, match=f"cannot reach s3://bucket/valuations: {slow_server} does not answer"):
        stage.prepare("digits", {}, "s3://bucket/valuations", **outputs)
    assert not list(tmp_path.iterdir())
    open_store("s3://bucket/valuations").write("model", b"large")
