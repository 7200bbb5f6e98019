"""Published archives: read whole from a file or S3, and held against the checksum of the one that is known."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shapley_core.errors import UserError
from shapley_core.storage import open_store


@dataclass(frozen=True)
class Archive:
    """A published archive: its file name, size in bytes, SHA-256, and where people get it."""

    name: str
    n_bytes: int
    sha256: str
    origin: str

    def differs(self, data: bytes) -> str | None:
        """In what ``data`` is not this archive; None where it is."""
        if len(data) != self.n_bytes:
            return f"it has {len(data):,} bytes instead of {self.n_bytes:,}"
        digest = hashlib.sha256(data).hexdigest()
        return None if digest == self.sha256 else f"its SHA-256 is {digest} instead of {self.sha256}"

    def read(self, path: str) -> bytes:
        """The archive's bytes from ``path``, a local file or s3:// address.

        Raises:
            UserError: there is no such file, or it is truncated or another one.
        """
        data = _read_file(path)
        if data is None:
            raise UserError(f"there is no archive {path}: get {self.name} from {self.origin} and check data.path.")
        if difference := self.differs(data):
            raise UserError(
                f"{path} is not the {self.name} that was published: {difference}; get it again from {self.origin}."
            )
        return data


def members(archive: bytes, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """The files of a .tar.gz whose names are wanted, in memory: nothing is written to where a name says."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        files = ((member.name, tar.extractfile(member)) for member in tar if member.isfile() and wanted(member.name))
        return {name: file.read() for name, file in files if file is not None}


def _read_file(path: str) -> bytes | None:
    if path.startswith("s3://"):
        folder, _, name = path.rpartition("/")
        return open_store(folder).read(name)
    try:
        return Path(path).expanduser().read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read the archive {path}: {error.strerror}; check data.path.") from error
