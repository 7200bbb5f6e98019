"""Where results are kept: a local folder or a bucket on S3, behind the same few operations on keys and bytes.

A key is a relative path with forward slashes (``"games/3f2a/part.parquet"``), the same in a folder and on S3.
What stands under a key is always whole: a write that is killed half-way leaves the key as it was. On S3 that
is the service's own promise; in a folder a file is filled beside its place, synced, and then renamed.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from shapley_core.errors import UserError, unwritable

#: Names of files being filled begin with this; no key may.
_PARTIAL = ".partial-"
#: Seconds after which nobody is filling such a file any more.
_STALE = 24 * 3600
#: The marker :func:`put_folder` writes when every file of a folder is there.
_COMPLETE = "_complete.json"


class Store(Protocol):
    """Bytes under keys. Operations raise :class:`UserError` where the place cannot be reached or used."""

    uri: str

    def read(self, key: str) -> bytes | None:
        """What stands under ``key``; None if nothing does."""

    def write(self, key: str, data: bytes) -> None:
        """Put ``data`` under ``key``, in place of what was there."""

    def write_new(self, key: str, data: bytes) -> bool:
        """Put ``data`` under ``key`` unless something is there: of several that race, one gets True.

        On S3, False may also mean that this very write succeeded and its answer was lost on the way. On a server
        without conditional writes, several that race may get True, and the last one's data stay: what is put so should
        be named by its content, or by what decides it.
        """

    def list(self, prefix: str = "") -> list[str]:
        """All keys that begin with ``prefix``, sorted."""

    def delete(self, key: str) -> None:
        """Remove what stands under ``key``, if anything does."""

    def upload(self, key: str, path: Path) -> None:
        """Put the content of the file ``path`` under ``key``, in place of what was there."""

    def download(self, key: str, path: Path) -> None:
        """Write what stands under ``key`` to the file ``path``, whole or not at all.

        Raises:
            UserError: nothing stands under ``key``.
        """


def open_store(uri: str, patience: float = 30.0) -> Store:
    """The store at a folder (a path or ``file://``, made at the first write) or at ``s3://bucket/prefix``.

    S3 is set up by the usual variables: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and so on, and
    ``AWS_ENDPOINT_URL`` for a server that is not Amazon's.

    Args:
        uri: the place.
        patience: seconds a server may be silent before it is asked once more, and then given up.

    Raises:
        UserError: another scheme, no valid bucket name, or unusable AWS settings.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalStore(Path(uri))
    if scheme == "file":
        return LocalStore(Path(unquote(urlsplit(uri).path)))
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        return S3Store(bucket, prefix.strip("/"), patience)
    raise UserError(f"cannot keep anything at {uri}: give a folder or an address s3://bucket/prefix")


class LocalStore:
    """A :class:`Store` in a local folder (a file system with hard links, which ``write_new`` needs)."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self.uri = str(self._root)

    def read(self, key: str) -> bytes | None:
        """See :class:`Store`."""
        path = self._path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except PermissionError as error:
            raise _unreadable(path) from error

    def write(self, key: str, data: bytes) -> None:
        """See :class:`Store`."""
        with _whole_file(self._path(key)) as file:
            file.write(data)

    def write_new(self, key: str, data: bytes) -> bool:
        """See :class:`Store`."""
        try:
            with _whole_file(self._path(key), publish=os.link) as file:
                file.write(data)
        except FileExistsError:
            return False
        return True

    def list(self, prefix: str = "") -> list[str]:
        """See :class:`Store`."""
        _check_prefix(prefix)
        start = self._root / prefix.rpartition("/")[0]
        keys = [
            (Path(folder) / name).relative_to(self._root).as_posix()
            for folder, _, names in os.walk(start, onerror=_raise_unless_absent)
            for name in names
            if not name.startswith(_PARTIAL)
        ]
        return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """See :class:`Store`."""
        path = self._path(key)
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            pass
        except OSError as error:
            _raise_unwritable(path, error)
            raise

    def upload(self, key: str, path: Path) -> None:
        """See :class:`Store`."""
        with path.open("rb") as source, _whole_file(self._path(key)) as target:
            shutil.copyfileobj(source, target)

    def download(self, key: str, path: Path) -> None:
        """See :class:`Store`."""
        try:
            source = self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise _absent(self.uri, key) from error
        except PermissionError as error:
            raise _unreadable(self._path(key)) from error
        with source, _whole_file(path) as target:
            shutil.copyfileobj(source, target)

    def _path(self, key: str) -> Path:
        _check_key(key)
        return self._root / key


class S3Store:
    """A :class:`Store` under a prefix of a bucket on S3, Amazon's or any server that speaks it."""

    def __init__(self, bucket: str, prefix: str, patience: float) -> None:
        import boto3  # here, because a run on a local folder should not pay for it
        from botocore.config import Config

        if re.search("[:@]", bucket):  # not repeated in the sentence: it may be a secret
            raise UserError(
                "an address s3://bucket/prefix takes no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and "
                "begin the address with the bucket's name"
            )
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
            raise UserError(
                f"{self.uri} names no valid bucket: give s3://bucket/prefix with a bucket name of 3 to 63 "
                "small letters, digits, dots and hyphens"
            )
        if prefix:
            _check_key(prefix)
        self._bucket = bucket
        self._base = f"{prefix}/" if prefix else ""
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        self._server = endpoint or "Amazon S3"
        # A server that is not there must be told within ten seconds, before a run seems to hang; one that is there and
        # silent, after twice the patience.
        # Self-hosted servers rarely answer at bucket.host: the bucket goes into the path.
        config = Config(
            connect_timeout=3,
            read_timeout=patience,
            retries={"mode": "standard", "total_max_attempts": 2},
            s3={"addressing_style": "path" if endpoint else "auto"},
        )
        with self._errors_told():
            self._client: Any = boto3.Session().client("s3", config=config)

    def read(self, key: str) -> bytes | None:
        """See :class:`Store`."""
        with self._errors_told():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key))
            except self._client.exceptions.NoSuchKey:
                return None
            data: bytes = answer["Body"].read()
            return data

    def write(self, key: str, data: bytes) -> None:
        """See :class:`Store`."""
        with self._errors_told():
            self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=data)

    def write_new(self, key: str, data: bytes) -> bool:
        """See :class:`Store`."""
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"}
        with self._errors_told():
            # Looked at first, because older servers pass over the condition and would replace what is there.
            if self._has(key):
                return False
            while True:
                try:
                    self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=data, **condition)
                    return True
                except ClientError as error:
                    code = error.response["Error"]["Code"]
                    if code in ("PreconditionFailed", "412"):
                        return False
                    if code in ("NotImplemented", "501") and condition:
                        condition = {}
                    # Amazon's answer when a race is undecided; its documentation says to try again.
                    elif code != "ConditionalRequestConflict":
                        raise

    def list(self, prefix: str = "") -> list[str]:
        """See :class:`Store`."""
        _check_prefix(prefix)
        pages = self._client.get_paginator("list_objects_v2")
        with self._errors_told():
            keys = [
                item["Key"].removeprefix(self._base)
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._base + prefix)
                for item in page.get("Contents", [])
            ]
        # Consoles mark empty "folders" with an object whose name ends in a slash.
        return sorted(key for key in keys if not key.endswith("/"))

    def delete(self, key: str) -> None:
        """See :class:`Store`."""
        with self._errors_told():
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))

    def upload(self, key: str, path: Path) -> None:
        """See :class:`Store`."""
        with path.open("rb") as source, self._errors_told():
            self._client.upload_fileobj(source, self._bucket, self._key(key))

    def download(self, key: str, path: Path) -> None:
        """See :class:`Store`."""
        from botocore.exceptions import ClientError

        name = self._key(key)
        with self._errors_told(), _whole_file(path) as target:
            try:
                self._client.download_fileobj(self._bucket, name, target)
            except ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                    raise _absent(self.uri, key) from error
                raise

    def _has(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.head_object(Bucket=self._bucket, Key=self._key(key))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return False
            raise
        return True

    def _key(self, key: str) -> str:
        _check_key(key)
        return self._base + key

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        """Turns what boto3 raises for a wrong set-up or a missing server into a sentence for the user."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectionError,  # nothing listens
            HTTPClientError,  # no connection or answer in time
            IncompleteReadError,
        )
        from s3transfer.exceptions import RetriesExceededError

        try:
            yield
        except ClientError as error:
            if sentence := self._refused(error.response):
                raise sentence from error
            raise
        except (ConnectionError, HTTPClientError, IncompleteReadError, RetriesExceededError) as error:
            raise UserError(
                f"cannot reach {self.uri}: {self._server} does not answer ({error}). Check that it runs "
                "and that AWS_ENDPOINT_URL is its address"
            ) from error
        except (BotoCoreError, Boto3Error) as error:
            raise UserError(
                f"cannot use {self.uri}: {error}. Check the AWS_* environment variables, above all "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except ValueError as error:
            if not str(error).startswith("Invalid endpoint"):
                raise
            raise UserError(
                f"AWS_ENDPOINT_URL is '{self._server}', which is no address: give one like http://host:9000"
            ) from error

    def _refused(self, response: Any) -> UserError | None:
        """The sentence for an answer of the server that says no; None for those the user did not cause."""
        status = response["ResponseMetadata"]["HTTPStatusCode"]
        code, message = response["Error"]["Code"], response["Error"].get("Message", "")
        answer = " ".join(dict.fromkeys((str(status), code)))  # the code may be the status itself
        if code == "NoSuchBucket":
            return UserError(
                f"cannot use {self.uri}: {self._server} has no bucket '{self._bucket}'. Create it or check its name"
            )
        if status in (401, 403):
            return UserError(
                f"cannot use {self.uri}: {self._server} refuses access ({answer}). Check "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may list, read and write in the "
                f"bucket '{self._bucket}'"
            )
        if status >= 500:
            return UserError(
                f"cannot use {self.uri}: {self._server} fails ({answer}: {message}). Check the server "
                "and run the same command again: what was already written is kept"
            )
        return None


def user_cache() -> Path:
    """The folder of this user where downloads are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffusion-shapley"


def put_folder(store: Store, prefix: str, folder: Path) -> None:
    """Upload all files of ``folder`` under ``prefix/`` and mark them complete; nothing if they already are.

    The marker, ``prefix/_complete.json``, is written last and lists the files with their sizes in bytes.
    Empty folders are not kept.
    """
    marker = f"{prefix}/{_COMPLETE}"
    if store.read(marker) is not None:
        return
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    files = {name: path for name, path in files.items() if not path.name.startswith(_PARTIAL)}
    if _COMPLETE in files:
        raise ValueError(f"{files[_COMPLETE]} has the name of the marker of complete folders")
    for name, path in files.items():
        store.upload(f"{prefix}/{name}", path)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    store.write(marker, json.dumps({"files": sizes}, indent=1).encode())


def get_folder(store: Store, prefix: str, folder: Path) -> bool:
    """Download what :func:`put_folder` kept under ``prefix`` into ``folder``; False if it is not complete.

    Raises:
        UserError: a file of a complete folder is missing or has another size than it had.
    """
    marker = store.read(f"{prefix}/{_COMPLETE}")
    if marker is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in json.loads(marker)["files"].items():
        store.download(f"{prefix}/{name}", folder / name)
        if (folder / name).stat().st_size != size:
            raise UserError(
                f"{store.uri}/{prefix}/{name} is damaged: it should have {size} bytes. Delete "
                f"{store.uri}/{prefix}/{_COMPLETE} and run the same command again to make it anew"
            )
    return True


def _check_key(key: str) -> None:
    """A key must mean the same everywhere and must not leave its store."""
    parts = key.split("/")
    sizes = [len(part.encode(errors="replace")) for part in parts]
    if (
        any(part in ("", ".", "..") or part.startswith(_PARTIAL) for part in parts)
        or max(sizes) > 255
        or sum(sizes) + len(parts) > 1024
        or any(ord(c) < 32 or c in "\\\x7f" or "\ud800" <= c <= "\udfff" for c in key)
    ):
        raise UserError(
            f"{key!r} cannot be the name of a stored file: it must be a relative path without '..', empty "
            "parts, backslashes or control characters, of at most 255 bytes a part and 1,024 in all"
        )


def _check_prefix(prefix: str) -> None:
    if prefix:
        _check_key(prefix.removesuffix("/"))


@contextmanager
def _whole_file(path: Path, publish: Callable[[Path, Path], None] = os.replace) -> Iterator[BinaryIO]:
    """A file to fill, which ``publish`` puts at ``path`` after the block; after an error nothing is left."""
    _make_way(path)
    _remove_stale(path.parent)
    partial = path.with_name(f"{_PARTIAL}{uuid4().hex}")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        publish(partial, path)
    except OSError as error:
        _raise_unwritable(path, error)
        raise
    finally:
        partial.unlink(missing_ok=True)


def _make_way(path: Path) -> None:
    """Make the folder of ``path``; a file among its parents, or a folder in its place, stands in the way."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"cannot write {path}: {error.filename} is, or lies in, a file. Choose another place"
        ) from error
    except OSError as error:
        _raise_unwritable(path, error)
        raise
    if path.is_dir():
        raise UserError(f"cannot write {path}: there is a folder of that name. Choose another place")


@cache  # once per process: listing a large folder at every write would be dear
def _remove_stale(folder: Path) -> None:
    """Remove the files that writers who were killed had begun to fill in a folder, one day after."""
    for partial in folder.glob(_PARTIAL + 32 * "[0-9a-f]"):
        with suppress(OSError):
            if time.time() - partial.stat().st_mtime > _STALE:
                partial.unlink()


def _raise_unwritable(path: Path, error: OSError) -> None:
    """Raise the sentence for a full disk or a place that may not be written to; nothing for other errors."""
    # The error may name a partial file, or (disk full) none at all.
    if sentence := unwritable(OSError(error.errno, error.strerror, str(path))):
        raise sentence from error


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise _unreadable(Path(error.filename)) from error


def _unreadable(path: Path) -> UserError:
    return UserError(f"cannot read {path}: permission is denied. Give yourself the right to read it")


def _absent(uri: str, key: str) -> UserError:
    return UserError(f"{uri}/{key} does not exist")
