"""Where pretrained weights come from: one place that turns a reference into files on this machine.

A reference is a folder, an ``s3://`` address (of files as they are) or the name of a repository on the Hugging Face
hub, which is kept in the hub's own cache. Weights that are a single file may be named by that file, too. Without a
network the sentence says what is missing and where to put it.

Nothing is unpickled: weights are safetensors, or a state dict in a ``.pth`` file, read with ``weights_only``.
"""

import hashlib
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from shapley_core.errors import UserError
from shapley_core.storage import open_store, user_cache

_SAFETENSORS, _STATE_DICT = ".safetensors", ".pth"
#: What is fetched of a repository: not the same weights once more, pickled or for other frameworks.
_FETCHED = (".json", ".txt", _SAFETENSORS)
#: What of a folder decides what its network computes.
_DECISIVE = ("config.json", "preprocessor_config.json", "processor_config.json", f"*{_SAFETENSORS}")


def fetch_weights(reference: str) -> Path:
    """The folder that a reference names, after downloading it where it is not here yet.

    Raises:
        UserError: there is nothing under that reference, or it cannot be reached.
    """
    if reference.startswith("s3://"):
        return _from_s3(reference)
    folder = Path(reference).expanduser()
    if folder.is_dir():
        return folder
    if reference.startswith(("/", ".", "~")) or reference.count("/") != 1:
        raise UserError(f"there is no folder {reference} with weights: put them there, or say where they are")
    return _from_hub(reference)


def fetch_weights_file(reference: str) -> Path:
    """The file of weights that a reference names: the file itself, or the only one of a folder, bucket or repository.

    A name like ``inception_v3_google-0cc3c7bd.pth`` promises a SHA-256 that begins so, and is held to it.

    Raises:
        UserError: there is no such file, or several, or it is damaged; or it cannot be reached.
    """
    if reference.endswith((_SAFETENSORS, _STATE_DICT)):
        parent, _, name = reference.rpartition("/")
        folder = _from_s3(parent, name) if reference.startswith("s3://") else Path(parent).expanduser()
        path = folder / name
        if not path.is_file():
            raise UserError(f"there is no file {reference} with weights: put it there, or say where it is")
    else:
        folder = fetch_weights(reference)
        found = sorted(folder.glob(f"*{_SAFETENSORS}")) or sorted(folder.glob(f"*{_STATE_DICT}"))
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise UserError(f"{reference} must hold one file of weights, .safetensors or .pth, and has {names}")
        path = found[0]
    promised = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    if promised and not weights_digest(path).startswith(promised[1]):
        raise UserError(f"{path} is damaged: its SHA-256 does not begin with {promised[1]}. Download it anew")
    return path


def weights_digest(path: Path) -> str:
    """SHA-256 (64 hex digits) of a file of weights, or over those files of a folder that decide what it computes."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted({file for pattern in _DECISIVE for file in path.glob(pattern)})
    lines = "".join(f"{weights_digest(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a safetensors file, by name; reads no more than its header, and needs no torch.

    Raises:
        UserError: it is damaged.
    """
    from safetensors import safe_open

    with _damage_told(path), safe_open(path, framework="numpy") as tensors:
        return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118


def read_tensors(path: Path) -> Mapping[str, NDArray[Any]]:
    """The tensors of a safetensors file, or of a state dict in a ``.pth`` file (which takes torch), by name.

    Raises:
        UserError: it is damaged, or holds anything but tensors.
    """
    with _damage_told(path):
        if path.suffix == _SAFETENSORS:
            from safetensors.numpy import load_file

            return load_file(path)
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.numpy() for name, tensor in state.items()}


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read as weights ({type(error).__name__}): it must be a whole safetensors file, or a "
            "state dict of tensors alone"
        ) from error


def _from_s3(reference: str, name: str = "") -> Path:
    """Download what is needed of the files under an address, or only the one called ``name``."""
    store = open_store(reference)
    names = [key for key in store.list(name) if key.endswith((*_FETCHED, _STATE_DICT)) and name in ("", key)]
    if not names:
        raise UserError(f"there are no weights under {reference}" + (f"/{name}" if name else ""))
    folder = user_cache() / "weights" / reference.removeprefix("s3://").replace("/", "--")
    for key in names:
        if not (folder / key).is_file():
            store.download(key, folder / key)
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=[f"*{end}" for end in _FETCHED]))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise UserError(
            f"the weights {name} are not in the cache of the Hugging Face hub and cannot be downloaded "
            f"({type(error).__name__}): download the repository where there is a network, and give its folder or an "
            "s3:// address of it instead of its name"
        ) from error
