"""Models that are made once: kept in the store under a key of everything that decides them, and taken from there."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from shapley_core.storage import Store, get_folder, put_folder

logger = logging.getLogger(__name__)


def made_once(store: Store, key: str, folder: Path, make: Callable[[], None]) -> bool:
    """Fill ``folder`` from the store's ``key``, or by ``make()``, which is then kept; True if it was there."""
    if get_folder(store, key, folder):
        logger.info("taken from the store: %s", key)
        return True
    folder.mkdir(parents=True, exist_ok=True)
    make()
    put_folder(store, key, folder)
    return False


def folder_digest(folder: Path) -> str:
    """SHA-256 (16 hex digits) over the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()}\n{path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
