"""CelebA-HQ (Karras et al., arXiv 1710.10196): portraits, one contributor per person.

The paper (appendix A) draws 50 of the 307 identities that have 15 images or more. Two forms of the data are read:

* the official one of CelebAMask-HQ: image files named by their number (``CelebA-HQ-img/0.jpg`` ...),
  ``CelebA-HQ-to-CelebA-mapping.txt`` (number, original number, original file name) and CelebA's ``identity_CelebA.txt``
  (original file name, identity), all in one folder;
* the paper's, already sorted: the image files of a person in a sub-folder that is named by the identity, such as
  ``train/117/0.jpg``; there is no ``identity_CelebA.txt``.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath

from shapley_core.config import CelebAHQConfig, DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources.image_folder import (
    ImageFile,
    check_contributors,
    dataset_from_files,
    image_keys,
    open_folder,
    shown,
)
from shapley_core.errors import UserError
from shapley_core.seeds import derive_seed

ORIGIN = "https://github.com/switchablenorms/CelebAMask-HQ and https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
LICENCE = "CelebA agreement: non-commercial research and education only"

IDENTITIES = "identity_CelebA.txt"
MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"


def load(config: DataConfig) -> ContributorDataset:
    """The images of the identities that ``config.celebahq`` chooses; a contributor is called ``identity 117``.

    Raises:
        UserError: a file is missing or is not of its form, an image has no identity, or an identity too few images.
    """
    keys, read = open_folder(
        config.path, "the folder that holds CelebA-HQ-img, or one sub-folder of images per identity"
    )
    images = image_keys(keys)
    if not images:
        raise UserError(f"there are no images in {config.path}: get CelebA-HQ from {ORIGIN} and check data.path.")
    identities = _listed_identities(keys, read, images, config.path) if IDENTITIES in keys else _folder_names(images)
    by_identity = defaultdict(list)
    for key in images:
        by_identity[identities[key]].append(key)
    chosen = _choose({name: len(owned) for name, owned in by_identity.items()}, config.celebahq, config.path)
    files = [ImageFile(f"identity {name}", key, partial(read, key)) for name in chosen for key in by_identity[name]]
    check_contributors({file.contributor for file in files}, f"the folder {config.path}", "choose more identities")
    return dataset_from_files(files, config, origin=ORIGIN, licence=LICENCE)


def _listed_identities(
    keys: list[str], read: Callable[[str], bytes | None], images: list[str], path: str
) -> dict[str, str]:
    """Identity by image, through the number in the image's file name and CelebA's own file name."""
    if MAPPING not in keys:
        raise UserError(
            f"{path} holds {IDENTITIES} but not {MAPPING}, which tells the number of an image: it comes with "
            f"CelebAMask-HQ ({ORIGIN})."
        )
    original = {number: name for number, _, name in _rows(read(MAPPING), 3, f"{path}/{MAPPING}")}
    identity = dict(_rows(read(IDENTITIES), 2, f"{path}/{IDENTITIES}"))
    found = {}
    for key in images:
        number = PurePosixPath(key).stem.lstrip("0") or "0"
        if (name := identity.get(original.get(number, ""))) is None:
            raise UserError(
                f"the image {shown(key)} in {path} has no identity in {MAPPING} and {IDENTITIES}: remove the image, or "
                "get whole files."
            )
        found[key] = name
    return found


def _rows(content: bytes | None, n_columns: int, name: str) -> list[list[str]]:
    """The rows of a table of columns between spaces; a header, which has no number in it, is left out."""
    rows = [line.split() for line in (content or b"").decode(errors="replace").splitlines()]
    rows = [row for row in rows if any(char.isdigit() for cell in row for char in cell)]
    wrong = next((number for number, row in enumerate(rows, start=1) if len(row) != n_columns), None)
    if wrong or not rows:
        where = f"row {wrong} of it has other columns" if wrong else "it is empty"
        raise UserError(
            f"{name} must be a table of {n_columns} columns, as it was published, but {where}: get it again."
        )
    return rows


def _folder_names(images: list[str]) -> dict[str, str]:
    return {key: PurePosixPath(key).parent.name for key in images}


def _choose(n_images: dict[str, int], config: CelebAHQConfig, path: str) -> list[str]:
    """The identities asked for, or a draw of those with enough images that does not depend on the others."""
    if config.identities:
        few = [name for name in config.identities if n_images.get(name, 0) < config.min_images]
        if few:
            raise UserError(
                f"identity {shown(few[0])} has {n_images.get(few[0], 0)} of the {config.min_images} images that are "
                f"asked for in {path}: leave it out of data.celebahq.identities, or lower data.celebahq.min_images."
            )
        return list(dict.fromkeys(config.identities))
    enough = [name for name, n in n_images.items() if n >= config.min_images]
    if len(enough) < config.n_identities:
        raise UserError(
            f"{path} holds {len(enough)} identities with {config.min_images} images or more, and {config.n_identities} "
            "are asked for: get the whole data set, or lower data.celebahq.n_identities or data.celebahq.min_images."
        )
    return sorted(enough, key=lambda name: derive_seed(config.seed, "identity", name))[: config.n_identities]
