"""The pipeline's short list of inputs, as settings: what people fill in in the Kubeflow UI, by the words used there."""

from typing import Any


def as_settings(
    *,
    data: str = "",
    coalitions: int = 0,
    shard_size: int = 0,
    property: str = "",
    method: str = "",
    seed: int = -1,
    experiment: str = "",
) -> dict[str, Any]:
    """The inputs that were filled in, as dotted settings to values; what is empty, 0, or for the seed -1, is left out.

    Whether a value can be is not looked at here: the configuration says it, by the name of the setting.
    """
    named = {
        "game.n_coalitions": coalitions,
        "run.shard_size": shard_size,
        "property.name": property,
        "game.coalition_model": method,
        "run.experiment": experiment,
    }
    settings = {key: value for key, value in named.items() if value}
    if seed != -1:
        settings["seed"] = seed
    return {**(source_of(data) if data else {}), **settings}


def source_of(data: str) -> dict[str, Any]:
    """The settings for images of one's own: a table of images by its ending, otherwise a folder of folders."""
    is_manifest = data.lower().endswith((".csv", ".parquet"))
    return {"data.source": "manifest" if is_manifest else "image_folder", "data.path": data}
