"""The store, on a local folder and on a real S3 server: one suite for both, then what only one can do."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import shapley_core
from pipelines import servers
from shapley_core.errors import UserError
from shapley_core.storage import Store, get_folder, open_store, put_folder

REPOSITORY = Path(shapley_core.__file__).parents[1]
MIB = 1 << 20

Operation = Callable[[Store, str, Path], object]
#: Every operation of a store on a key and a file.
OPERATIONS: dict[str, Operation] = {
    "read": lambda store, key, file: store.read(key),
    "write": lambda store, key, file: store.write(key, b"x"),
    "write_new": lambda store, key, file: store.write_new(key, b"x"),
    "list": lambda store, key, file: store.list(key),
    "delete": lambda store, key, file: store.delete(key),
    "upload": lambda store, key, file: store.upload(key, file),
    "download": lambda store, key, file: store.download(key, file),
}

ODD_KEYS = [
    "with space",
    " leading and trailing ",
    "Zoë/雪/😀.png",
    "full\u3000width",
    "e\u0301 is not \u00e9",
    "\u00e9 is not e\u0301",
    "%2e%2e/%41",
    "a+b&c=d?e#f;g",
    "<script>alert('1')</script>",
    '"quoted" | *',
    "a..b/.../.hidden",
    "~",
    "c:/d",
    "x" * 255,
]
BAD_PREFIXES = [
    "/",
    "//",
    "..",
    "../outside",
    "a/../../outside",
    "a/..",
    "./a",
    "a//b",
    "/etc/passwd",
    "..\\outside",
    "nul\0",
    "line\nbreak",
    "lone \ud800 surrogate",
    ".partial-1",
    "a/.partial-/b",
    "x" * 256,
    "/".join(["x" * 200] * 6),
]


@pytest.fixture(params=["local", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "store")
    return f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix"


@pytest.fixture
def store(uri: str) -> Store:
    return open_store(uri)


@contextmanager
def writer(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs ``code``; it has printed a first line by the time the block starts."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() != "", "the writer did not start"
        yield process
    finally:
        process.kill()
        process.communicate()


class TestBothStores:
    def test_what_is_written_is_read(self, store: Store) -> None:
        data = bytes(range(256)) * 10
        store.write("a/b/c.bin", data)
        store.write("empty", b"")
        assert store.read("a/b/c.bin") == data
        assert store.read("empty") == b""
        assert store.list() == ["a/b/c.bin", "empty"]

    def test_write_replaces(self, store: Store) -> None:
        store.write("k", b"a longer first value")
        store.write("k", b"second")
        assert store.read("k") == b"second"

    def test_absent_keys(self, store: Store, tmp_path: Path) -> None:
        assert store.list() == []
        assert store.list("no/such/") == []
        assert store.read("a/b") is None
        store.delete("a/b")
        with pytest.raises(UserError, match="a/b does not exist"):
            store.download("a/b", tmp_path / "file")
        assert not (tmp_path / "file").exists()
        store.write("a/b", b"x")
        assert store.read("a") is None
        assert store.read("a/b/c") is None

    def test_delete(self, store: Store) -> None:
        store.write("a/b", b"x")
        store.write("a/c", b"y")
        store.delete("a/b")
        assert store.read("a/b") is None
        assert store.list() == ["a/c"]
        assert store.write_new("a/b", b"again")

    def test_list_selects_by_any_prefix_and_sorts(self, store: Store) -> None:
        keys = ["a", "ab/1", "ab/2", "abc", "b/1", "a b/é", "Z"]
        for key in keys:
            store.write(key, b"")
        assert store.list() == ["Z", "a", "a b/é", "ab/1", "ab/2", "abc", "b/1"]
        assert store.list("a") == ["a", "a b/é", "ab/1", "ab/2", "abc"]
        assert store.list("ab") == ["ab/1", "ab/2", "abc"]
        assert store.list("ab/") == ["ab/1", "ab/2"]
        assert store.list("ab/2") == ["ab/2"]

    def test_list_is_complete_beyond_a_page_of_a_thousand(self, store: Store) -> None:
        keys = [f"part-{i:04d}" for i in range(1050)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda key: store.write(key, b"x"), keys))
        assert store.list("part-") == keys

    def test_write_new_never_replaces(self, store: Store) -> None:
        assert store.write_new("k", b"first") is True
        assert store.write_new("k", b"second") is False
        assert store.read("k") == b"first"
        store.write("k", b"third")
        assert store.write_new("k", b"fourth") is False
        assert store.read("k") == b"third"
        assert store.list() == ["k"]

    def test_of_eight_that_race_one_wins(self, uri: str) -> None:
        stores = [open_store(uri) for _ in range(8)]
        start = threading.Barrier(8)

        def race(i: int, key: str) -> bool:
            start.wait()
            return stores[i].write_new(key, b"%d" % i * 10_000)

        with ThreadPoolExecutor(8) as pool:
            for key in (f"race/{turn}" for turn in range(2)):
                won = list(pool.map(race, range(8), [key] * 8))
                assert won.count(True) == 1
                assert stores[0].read(key) == b"%d" % won.index(True) * 10_000
        assert len(stores[0].list()) == 2

    def test_odd_names_are_kept_as_they_are(self, store: Store, tmp_path: Path) -> None:
        for key in ODD_KEYS:
            store.write(key, key.encode())
        assert store.list() == sorted(ODD_KEYS)
        for key in ODD_KEYS:
            assert store.read(key) == key.encode()
            assert key in store.list(key[:3])
            store.download(key, tmp_path / "file")
            assert (tmp_path / "file").read_bytes() == key.encode()
        for key in ODD_KEYS:
            store.delete(key)
        assert store.list() == []

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_names_that_would_leave_the_store_or_break_it(
        self, store: Store, tmp_path: Path, operation: Operation
    ) -> None:
        store.write("kept", b"")
        (tmp_path / "outside").write_bytes(b"not in the store")
        keys = BAD_PREFIXES if operation is OPERATIONS["list"] else [*BAD_PREFIXES, "", "a/"]
        for key in keys:
            with pytest.raises(UserError, match="cannot be the name of a stored file"):
                operation(store, key, tmp_path / "outside")
        assert (tmp_path / "outside").read_bytes() == b"not in the store"
        assert {path.name for path in tmp_path.iterdir()} <= {"outside", "store"}
        assert store.list() == ["kept"]

    def test_large_file(self, store: Store, tmp_path: Path) -> None:
        content = random.Random(0).randbytes(20 * MIB + 1)
        (tmp_path / "large").write_bytes(content)
        store.upload("model/large", tmp_path / "large")
        store.download("model/large", tmp_path / "new folder" / "back")
        assert sha(tmp_path / "new folder" / "back") == hashlib.sha256(content).hexdigest()
        assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["back"]

    def test_upload_and_download_replace(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"new")
        store.write("k", b"the old value")
        store.upload("k", tmp_path / "file")
        assert store.read("k") == b"new"
        (tmp_path / "target").write_bytes(b"the old content")
        store.download("k", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"new"

    def test_stores_under_other_prefixes_are_apart(self, store: Store, uri: str) -> None:
        open_store(f"{uri}2").write("k", b"elsewhere")
        store.write("k", b"here")
        assert store.list() == ["k"]
        assert open_store(f"{uri}/").read("k") == b"here"
        assert open_store(store.uri).read("k") == b"here"
        open_store(f"{uri}/below").write("k", b"below")
        assert store.list() == ["below/k", "k"]

    def test_a_killed_writer_leaves_whole_values_only(self, store: Store, tmp_path: Path) -> None:
        code = """
import sys
from pathlib import Path
from shapley_core.storage import open_store
store, file = open_store(sys.argv[1]), Path(sys.argv[2])
value = 0
while True:
    store.write("written", bytes([value]) * (4 << 20))
    store.write_new(f"new/{sys.argv[3]}/{value}", bytes([value]) * (4 << 20))
    file.write_bytes(bytes([value]) * (9 << 20))
    store.upload("uploaded", file)
    store.list() and value == 0 and print("started", flush=True)
    value += 1
"""
        sizes = {"written": 4 * MIB, "uploaded": 9 * MIB}
        delays = random.Random(1)
        for turn in range(4):
            with writer(code, store.uri, str(tmp_path / "file"), str(turn)) as process:
                time.sleep(delays.uniform(0, 0.1))
                process.send_signal(signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL
            keys = store.list()
            assert {"written", "uploaded", f"new/{turn}/0"} <= set(keys)
            for key in keys:
                value = store.read(key)
                assert value is not None
                assert len(value) == sizes.get(key, 4 * MIB), key
                assert value == value[:1] * len(value), key


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "folder"
        (folder / "unet" / "deep").mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "unet" / "weights 1.bin").write_bytes(b"w" * 1000)
        (folder / "unet" / "deep" / "empty").touch()
        return folder

    def test_round_trip(self, store: Store, folder: Path, tmp_path: Path) -> None:
        put_folder(store, "models/full", folder)
        assert get_folder(store, "models/full", tmp_path / "back") is True
        assert content(tmp_path / "back") == content(folder)
        marker = store.read("models/full/_complete.json")
        assert marker is not None
        assert json.loads(marker)["files"] == {
            "config.json": 2,
            "unet/deep/empty": 0,
            "unet/weights 1.bin": 1000,
        }

    def test_empty_folder(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        put_folder(store, "empty", tmp_path / "empty")
        assert get_folder(store, "empty", tmp_path / "back") is True
        assert content(tmp_path / "back") == {}

    def test_absent_and_incomplete(self, store: Store, folder: Path, tmp_path: Path) -> None:
        assert get_folder(store, "m", tmp_path / "back") is False
        store.upload("m/config.json", folder / "config.json")
        assert get_folder(store, "m", tmp_path / "back") is False
        assert not (tmp_path / "back").exists()
        put_folder(store, "m", folder)
        assert get_folder(store, "m", tmp_path / "back") is True
        assert content(tmp_path / "back") == content(folder)

    def test_a_complete_folder_is_not_written_again(self, store: Store, folder: Path, tmp_path: Path) -> None:
        put_folder(store, "m", folder)
        (folder / "config.json").write_text("{1}")
        (folder / "more").touch()
        put_folder(store, "m", folder)
        get_folder(store, "m", tmp_path / "back")
        assert (tmp_path / "back" / "config.json").read_text() == "{}"
        assert not (tmp_path / "back" / "more").exists()

    def test_killed_half_way(self, store: Store, tmp_path: Path) -> None:
        folder = tmp_path / "folder"
        folder.mkdir()
        for i in range(100):
            (folder / f"{i:02d}").write_bytes(bytes([i]) * 100_000)
        code = """
import sys, time
from pathlib import Path
from shapley_core.storage import open_store, put_folder
store = open_store(sys.argv[1])
upload = store.upload
def upload_half(key, path):
    if key == "m/50":
        print("half", flush=True)
        time.sleep(600)
    upload(key, path)
store.upload = upload_half
print("started", flush=True)
put_folder(store, "m", Path(sys.argv[2]))
"""
        with writer(code, store.uri, str(folder)) as process:
            assert process.stdout is not None and process.stdout.readline() == "half\n"
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(store.list("m/")) == 50
        assert get_folder(store, "m", tmp_path / "back") is False
        put_folder(store, "m", folder)
        assert get_folder(store, "m", tmp_path / "back") is True
        assert content(tmp_path / "back") == content(folder)

    def test_damage_is_named(self, store: Store, folder: Path, tmp_path: Path) -> None:
        put_folder(store, "m", folder)
        store.write("m/unet/weights 1.bin", b"w" * 999)
        with pytest.raises(UserError, match=r"m/unet/weights 1\.bin is damaged"):
            get_folder(store, "m", tmp_path / "back")
        store.delete("m/unet/weights 1.bin")
        with pytest.raises(UserError, match=r"m/unet/weights 1\.bin does not exist"):
            get_folder(store, "m", tmp_path / "back")

    def test_a_forged_marker_writes_nothing_outside(self, store: Store, tmp_path: Path) -> None:
        store.write("outside", b"x")
        for name in ("../outside", "/outside", str(tmp_path / "outside")):
            store.write("m/_complete.json", json.dumps({"files": {name: 1}}).encode())
            with pytest.raises(UserError):
                get_folder(store, "m", tmp_path / "inner" / "back")
        assert [p for p in tmp_path.rglob("outside") if p != tmp_path / "store" / "outside"] == []

    def test_no_folder_or_a_reserved_name(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(NotADirectoryError):
            put_folder(store, "m", tmp_path / "absent")
        (tmp_path / "f").mkdir()
        (tmp_path / "f" / "_complete.json").touch()
        with pytest.raises(ValueError, match="marker"):
            put_folder(store, "m", tmp_path / "f")
        assert store.list() == []


class TestOpening:
    def test_a_folder_in_every_spelling(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "a folder"
        monkeypatch.chdir(tmp_path)
        open_store("a folder").write("k", b"x")
        assert (folder / "k").read_bytes() == b"x"
        assert open_store(str(folder)).read("k") == b"x"
        assert open_store(folder.as_uri()).read("k") == b"x"
        relative = open_store("a folder")
        monkeypatch.chdir("/")
        assert relative.read("k") == b"x"
        assert open_store(relative.uri).read("k") == b"x"

    @pytest.mark.parametrize("uri", ["gs://bucket/prefix", "https://example.com/x"])
    def test_an_unknown_scheme(self, uri: str) -> None:
        with pytest.raises(UserError, match=r"give a folder or an address s3://"):
            open_store(uri)

    @pytest.mark.parametrize("uri", ["s3://", "s3:///prefix", "s3://My_Bucket/x", "s3://ab/x"])
    def test_no_valid_bucket(self, uri: str) -> None:
        with pytest.raises(UserError, match="names no valid bucket"):
            open_store(uri)

    @pytest.mark.parametrize("uri", ["s3://AKIA:a-secret@bucket/x", "s3://AKIA:a-secret/more@bucket/x"])
    def test_keys_in_the_address(self, uri: str) -> None:
        with pytest.raises(UserError, match=r"takes no keys: set AWS_ACCESS_KEY_ID") as refusal:
            open_store(uri)
        assert "secret" not in str(refusal.value)

    def test_no_credentials(self, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(UserError, match="AWS_ACCESS_KEY_ID"):
            open_store(f"s3://{s3_bucket}").read("k")

    def test_an_endpoint_without_scheme(self, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
        with pytest.raises(UserError, match="AWS_ENDPOINT_URL is 'localhost:9000'"):
            open_store(f"s3://{s3_bucket}")


class TestS3Refuses:
    def everything_fails(self, uri: str, folder: Path, sentence: str) -> None:
        store = open_store(uri)
        (folder / "file").write_bytes(b"untouched")
        for operation in OPERATIONS.values():
            with pytest.raises(UserError, match=sentence):
                operation(store, "k", folder / "file")
            assert content(folder) == {"file": b"untouched"}

    @pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
    def test_wrong_keys(self, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
        open_store(f"s3://{s3_bucket}").write("k", b"x")
        monkeypatch.setenv(variable, "wrong")
        self.everything_fails(f"s3://{s3_bucket}", tmp_path, r"refuses access \(403.*AWS_SECRET_ACCESS_KEY")

    def test_missing_bucket(self, s3_bucket: str, tmp_path: Path) -> None:
        # A download only learns that there is no such object.
        sentence = f"has no bucket '{s3_bucket}-no'|prefix/k does not exist"
        self.everything_fails(f"s3://{s3_bucket}-no/prefix", tmp_path, sentence)

    def test_nothing_listens(self, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        endpoint = f"http://127.0.0.1:{servers.free_ports(1)[0]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        self.everything_fails(f"s3://{s3_bucket}", tmp_path, f"{endpoint} does not answer.*AWS_ENDPOINT_URL")


def test_large_uploads_to_s3_go_in_parts(s3_server: servers.S3Server, s3_bucket: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(20 * MIB))
    open_store(f"s3://{s3_bucket}/p").upload("large", tmp_path / "large")
    stored = s3_server.client.head_object(Bucket=s3_bucket, Key="p/large")
    assert stored["ContentLength"] == 20 * MIB
    assert stored["ETag"].strip('"').endswith("-3")  # S3's mark of an object made of three parts


class TestWithoutConditionalWrites:
    """S3 servers that are older than conditional writes: some pass over the condition, some refuse it."""

    @pytest.fixture(params=[501, None], ids=["refused", "passed over"])
    def store(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
        with old_s3_server(request.param) as address:
            for name, value in servers.S3Server(address).environment.items():
                monkeypatch.setenv(name, value)
            yield open_store("s3://bucket/prefix")

    def test_write_new_never_replaces_what_is_there(self, store: Store) -> None:
        assert store.write_new("k", b"first") is True
        assert store.write_new("k", b"second") is False
        assert store.read("k") == b"first"
        store.delete("k")
        assert store.write_new("k", b"third") is True
        assert store.read("k") == b"third"

    def test_of_several_that_race_the_data_of_one_stay_whole(self, store: Store) -> None:
        start = threading.Barrier(4)

        def race(i: int) -> bool:
            start.wait()
            return store.write_new("k", b"%d" % i * 10_000)

        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(race, range(4)))
        kept = store.read("k")
        assert kept in [b"%d" % i * 10_000 for i in range(4) if won[i]]


@contextmanager
def old_s3_server(answer: int | None) -> Iterator[str]:
    """The address of a server that keeps objects as S3 does, and whose ``answer`` to a conditional write is an error.

    None: it passes over the condition.
    """
    objects: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def refuse(self, status: int, code: str) -> None:
            self.reply(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

        def do_GET(self) -> None:
            if self.path in objects:
                self.reply(200, objects[self.path])
            else:
                self.refuse(404, "NoSuchKey")

        do_HEAD = do_GET  # noqa: N815

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["If-None-Match"] and answer:
                return self.refuse(answer, "NotImplemented")
            objects[self.path] = data
            self.reply(200)

        def do_DELETE(self) -> None:
            objects.pop(self.path, None)
            self.reply(204)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


class TestS3ServerKilled:
    def test_killed_half_way_and_back_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was written before is there after; what was being written when it went is written by the next try."""
        folder = tmp_path / "folder"
        folder.mkdir()
        for i in range(200):
            (folder / f"{i:03d}").write_bytes(bytes([i]) * 20_000)
        (port,) = servers.free_ports(1)
        with servers.s3_server(tmp_path / "s3", port) as server:
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            server.client.create_bucket(Bucket="kept")
            store = open_store("s3://kept/store")
            store.write("before", b"x" * 100_000)
            with ThreadPoolExecutor(1) as pool:
                putting = pool.submit(put_folder, store, "m", folder)
                while len(before := store.list("m/")) < 10:
                    assert not putting.done()
                os.killpg(server.process_id, signal.SIGKILL)
                with pytest.raises(UserError, match=r"does not answer|fails \(50"):
                    putting.result()
            with pytest.raises(UserError, match="does not answer"):
                store.read("before")
        with servers.s3_server(tmp_path / "s3", port):
            assert store.read("before") == b"x" * 100_000  # the same store: a task that waits for its next try
            assert set(before) <= set(store.list("m/")) and len(store.list("m/")) < 201
            assert get_folder(store, "m", tmp_path / "back") is False
            put_folder(store, "m", folder)
            assert get_folder(store, "m", tmp_path / "back") is True
            assert content(tmp_path / "back") == content(folder)


@pytest.mark.parametrize(
    "operation",
    [
        'store.write("k", new)',
        'store.write_new("new", new)',
        'store.upload("k", folder / "file")',
        'open_store(str(folder)).download("file", folder / "store" / "k")',
    ],
)
def test_killed_in_the_middle_of_a_local_file(tmp_path: Path, operation: str) -> None:
    """The kernel kills the writer at a file size of 1 MiB, a quarter of the way."""
    store = open_store(str(tmp_path / "store"))
    store.write("k", b"old")
    (tmp_path / "file").write_bytes(bytes(4 * MIB))
    code = f"""
import resource, signal, sys
from pathlib import Path
from shapley_core.storage import open_store
folder = Path(sys.argv[1])
store, new = open_store(str(folder / "store")), bytes(4 << 20)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
{operation}
"""
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY)
    assert result.returncode == -signal.SIGXFSZ
    assert store.list() == ["k"]
    assert store.read("k") == b"old"
    assert store.read("new") is None


def test_the_next_writer_removes_what_killed_ones_left(tmp_path: Path) -> None:
    stale, fresh, foreign = f".partial-{0:032x}", f".partial-{1:032x}", ".partial-notes"
    yesterday = time.time() - 25 * 3600
    for name in (stale, fresh, foreign):
        (tmp_path / name).write_bytes(b"half")
    for name in (stale, foreign):
        os.utime(tmp_path / name, (yesterday, yesterday))
    open_store(str(tmp_path)).write("k", b"x")
    assert {path.name for path in tmp_path.iterdir()} == {fresh, foreign, "k"}


def test_a_file_larger_than_allowed(tmp_path: Path) -> None:
    code = """
import resource, sys
from shapley_core.errors import UserError
from shapley_core.storage import open_store
store = open_store(sys.argv[1])
store.write("k", b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    store.write("k", bytes(4 << 20))
except UserError as error:
    print(error)
"""
    told = subprocess.check_output([sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, text=True)
    assert told.startswith(f"cannot write at {tmp_path / 'k'}: the file is larger than")
    assert content(tmp_path) == {"k": b"old"}


class TestLocalRefuses:
    def writes_fail(self, store: Store, tmp_path: Path, sentence: str) -> None:
        (tmp_path / "source").write_bytes(b"x")
        for use in (
            lambda: store.write("a/k", b"x"),
            lambda: store.write_new("a/k", b"x"),
            lambda: store.upload("a/k", tmp_path / "source"),
        ):
            with pytest.raises(UserError, match=sentence):
                use()

    def test_a_file_where_a_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for root in (tmp_path / "file", tmp_path / "file" / "below"):
            store = open_store(str(root))
            self.writes_fail(store, tmp_path, "cannot write .*file")
            assert store.read("a/k") is None
            assert store.list() == []
            store.delete("a/k")

    def test_a_folder_where_a_file_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "k").mkdir(parents=True)
        self.writes_fail(open_store(str(tmp_path)), tmp_path, "there is a folder of that name")

    def test_permission_denied(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path / "store"))
        store.write("a/k", b"x")
        locked = tmp_path / "store" / "a"
        with as_somebody_without_rights(locked):
            self.writes_fail_for_nobody(store)
        assert store.read("a/k") == b"x"
        assert store.list() == ["a/k"]

    def writes_fail_for_nobody(self, store: Store) -> None:
        for use in (
            lambda: store.write("a/k", b"y"),
            lambda: store.write_new("a/l", b"y"),
            lambda: store.delete("a/k"),
        ):
            with pytest.raises(UserError, match=r"cannot write at .*a/[kl]: permission is denied"):
                use()

    def test_unreadable(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path / "store"))
        store.write("a/k", b"x")
        with as_somebody_without_rights(tmp_path / "store" / "a", mode=0):
            for use in (lambda: store.read("a/k"), lambda: store.list(), lambda: store.list("a/")):
                with pytest.raises(UserError, match=r"cannot read .*/a.*: permission is denied"):
                    use()

    def test_read_only_file_system(self, tmp_path: Path) -> None:
        with mounted(tmp_path / "mount", "ro,size=1m") as folder:
            self.writes_fail(open_store(str(folder)), tmp_path, "cannot write at .*: the file system is read-only")

    def test_full_disk(self, tmp_path: Path) -> None:
        with mounted(tmp_path / "mount", "size=1m") as folder:
            store = open_store(str(folder))
            store.write("kept", b"x" * 1000)
            (tmp_path / "source").write_bytes(bytes(2 * MIB))
            for use in (
                lambda: store.write("kept", bytes(2 * MIB)),
                lambda: store.write_new("new", bytes(2 * MIB)),
                lambda: store.upload("kept", tmp_path / "source"),
                lambda: open_store(str(tmp_path)).download("source", folder / "target"),
            ):
                with pytest.raises(UserError, match=r"cannot write at .*(kept|new|target): the disk is full"):
                    use()
            assert store.read("kept") == b"x" * 1000
            assert [p.name for p in folder.iterdir()] == ["kept"]
            assert store.write_new("new", bytes(MIB // 2)), "what did not fit has been removed"


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@contextmanager
def as_somebody_without_rights(folder: Path, mode: int = 0o555) -> Iterator[None]:
    """Take away rights on ``folder``, and those of root, whom none would stop."""
    modes = {path: path.stat().st_mode for path in (folder, *folder.parents)}
    closed = {path: before for path, before in modes.items() if path == folder or before & 0o055 != 0o055}
    for path, before in closed.items():
        path.chmod(mode if path == folder else before | 0o055)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, before in closed.items():
            path.chmod(before)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small file system in memory, where mounting is permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
