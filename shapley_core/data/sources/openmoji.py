"""OpenMoji 17.0.0: emoji drawn by real designers, each of whom is a contributor.

The npm package ``openmoji`` holds an SVG per emoji and ``data/openmoji.json``, which names the designer
(``openmoji_author``) and the group (``group``) of each. Emoji with a skin tone are left out: they are one drawing in
other colours. Label: the group. Caption: the annotation ("grinning face").
"""

import json
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from shapley_core.config import DataConfig, OpenMojiConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources.archive import Archive, members
from shapley_core.data.sources.image_folder import ImageFile, check_contributors, dataset_from_files, shown
from shapley_core.errors import UserError, did_you_mean, unwritable
from shapley_core.storage import user_cache

PACKAGE = "openmoji@17.0.0"
ARCHIVE = Archive(
    name="openmoji-17.0.0.tgz",
    n_bytes=4_339_458,
    sha256="55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
    origin=f"npm (npm pack {PACKAGE})",
)
LICENCE = "CC BY-SA 4.0; emoji by the OpenMoji project, https://openmoji.org"

#: Entries of data/openmoji.json, with skin tones.
N_ENTRIES = 4_495

#: The contributor who stands for the designers of fewer images.
OTHERS = "others"

_INDEX = "data/openmoji.json"

#: Seconds that npm has for five megabytes.
_PATIENCE = 300


def load(config: DataConfig) -> ContributorDataset:
    """The emoji on white, drawn at ``config.resolution``, by designer.

    ``config.path`` is the package as a .tgz (local or s3://) or as a folder; empty: npm fetches it into the user's
    cache folder.

    Raises:
        UserError: the package cannot be had or is another one, a drawing is missing, or a setting names no group.
    """
    read = _open_package(config.path)
    index = _index(read, config.path)
    emoji = [entry for entry in index if not entry["skintone"]]
    files = [
        ImageFile(
            contributor=designer,
            name=f"{entry['hexcode']}.svg",
            read=partial(_draw, read, entry["hexcode"], config.resolution),
            label=entry["group"],
            caption=entry["annotation"],
        )
        for entry, designer in _by_designer(emoji, config.openmoji)
    ]
    advice = "lower data.openmoji.min_images or name more groups"
    check_contributors({file.contributor for file in files}, "the chosen part of OpenMoji", advice)
    return dataset_from_files(files, config, origin=ARCHIVE.origin, licence=LICENCE)


def _index(read: Callable[[str], bytes | None], path: str) -> list[dict[str, Any]]:
    """What is known of each emoji of the package."""
    where = f"{path} is not the package {PACKAGE}: its {_INDEX}"
    try:
        index: list[dict[str, Any]] = json.loads(read(_INDEX) or b"[]")
    except ValueError as error:
        raise UserError(f"{where} cannot be read ({error}); get it from {ARCHIVE.origin}.") from error
    if len(index) != N_ENTRIES:
        raise UserError(f"{where} lists {len(index):,} emoji instead of {N_ENTRIES:,}; get it from {ARCHIVE.origin}.")
    return index


def _by_designer(emoji: list[dict[str, Any]], config: OpenMojiConfig) -> list[tuple[dict[str, Any], str]]:
    """The emoji that are valued, each with its contributor; images are counted in the chosen groups."""
    groups = {entry["group"] for entry in emoji}
    for group in config.groups:
        if group not in groups:
            raise UserError(f"OpenMoji has no group {shown(group)}; {did_you_mean(group, groups)}")
    chosen = [entry for entry in emoji if entry["group"] in (config.groups or groups)]
    n_images = Counter(entry["openmoji_author"] for entry in chosen)
    named = {designer for designer, n in n_images.items() if n >= config.min_images}
    pairs = [(entry, entry["openmoji_author"]) for entry in chosen]
    if config.others == "left_out":
        return [(entry, designer) for entry, designer in pairs if designer in named]
    return [(entry, designer if designer in named else OTHERS) for entry, designer in pairs]


def _draw(read: Callable[[str], bytes | None], hexcode: str, resolution: int) -> bytes | None:
    """An emoji as PNG; None where the package lacks it."""
    import resvg_py

    svg = read(f"color/svg/{hexcode}.svg")
    if svg is None:
        return None
    # No emoji has text, so fonts of this machine must not decide a pixel.
    return resvg_py.svg_to_bytes(
        svg_string=svg.decode(), width=resolution, height=resolution, background="#ffffff", skip_system_fonts=True
    )


def _open_package(path: str) -> Callable[[str], bytes | None]:
    """What reads a file of the package."""
    folder = Path(path).expanduser()
    if path and folder.is_dir():
        root = folder / "package" if (folder / "package").is_dir() else folder
        return lambda name: (root / name).read_bytes() if (root / name).is_file() else None
    archive = ARCHIVE.read(path) if path else _fetched()
    files = members(archive, lambda name: name == f"package/{_INDEX}" or name.startswith("package/color/svg/"))
    return lambda name: files.get(f"package/{name}")


def _fetched() -> bytes:
    """The package from the user's cache folder, or else from npm into it.

    Raises:
        UserError: there is no npm, it cannot reach its registry, or what it brings is another package.
    """
    kept = user_cache() / ARCHIVE.name
    if kept.is_file() and not ARCHIVE.differs(kept.read_bytes()):
        return kept.read_bytes()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            _npm_pack(folder)
            archive = ARCHIVE.read(f"{folder}/{ARCHIVE.name}")
            Path(folder, ARCHIVE.name).replace(kept)
    except OSError as error:
        if (refusal := unwritable(error)) is not None:
            raise refusal from error
        raise
    return archive


def _npm_pack(folder: str) -> None:
    """Let npm write the package into ``folder``."""
    instead = f"or bring {ARCHIVE.name} from another machine ({ARCHIVE.origin}) and set data.path to it."
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"OpenMoji comes with npm, which is not installed here: install npm, {instead}")
    try:
        command = [npm, "pack", PACKAGE, "--pack-destination", folder]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"npm did not bring {PACKAGE} in {_PATIENCE} s: try again, {instead}") from error
    except subprocess.CalledProcessError as error:
        reason = next((line for line in error.stderr.splitlines() if line.startswith("npm error")), "npm failed")
        raise UserError(f"npm cannot bring {PACKAGE} ({reason}): check the network, {instead}") from error
