"""Where pretrained weights come from: one place that turns a reference into a folder on this machine.

A reference is a folder, an ``s3://`` address (of files as they are) or the name of a repository on the Hugging Face
hub, which is kept in the hub's own cache. Without a network the sentence says what is missing and where to put it.
"""

from pathlib import Path

from shapley_core.errors import UserError
from shapley_core.storage import open_store, user_cache


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
        raise UserError(f"there is no folder {reference} with weights")
    return _from_hub(reference)


def _from_s3(reference: str) -> Path:
    store = open_store(reference)
    names = store.list()
    if not names:
        raise UserError(f"there are no weights under {reference}")
    folder = user_cache() / "weights" / reference.removeprefix("s3://").replace("/", "--")
    for name in names:
        if not (folder / name).is_file():
            store.download(name, folder / name)
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise UserError(
            f"the weights {name} are not in the cache of the Hugging Face hub and cannot be downloaded "
            f"({type(error).__name__}): download the repository where there is a network, and give its folder or an "
            "s3:// address of it instead of its name"
        ) from error
