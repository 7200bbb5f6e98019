"""CelebA-HQ in both its forms: identities that are drawn or named, and identities that cannot be valued."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources import load_source
from shapley_core.errors import UserError

#: Images per identity; CelebA numbers identities, which are no counts.
PEOPLE = {"8692": 4, "117": 3, "2880": 3, "5": 1}


def colour(identity: str, number: int) -> tuple[int, int, int]:
    return int(identity) % 256, int(identity) // 256, number


def official(folder: Path) -> Path:
    """As CelebAMask-HQ and CelebA publish it: the numbers of CelebA-HQ are not those of CelebA."""
    (folder / "CelebA-HQ-img").mkdir(parents=True)
    mapping, identities = ["idx       orig_idx  orig_file"], []
    owners = [(identity, i) for i in range(4) for identity, n in PEOPLE.items() if i < n]
    for number, (identity, i) in enumerate(owners):
        Image.new("RGB", (12, 12), colour(identity, i)).save(folder / "CelebA-HQ-img" / f"{number}.png")
        original = 119613 - 7 * number
        mapping.append(f"{number:<10}{original - 1:<10}{original:06}.jpg")
        identities.append(f"{original:06}.jpg {identity}")
    (folder / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(mapping) + "\n")
    # CelebA has many images that are not in CelebA-HQ.
    (folder / "identity_CelebA.txt").write_text("\n".join(["000001.jpg 2880", *reversed(identities)]) + "\n")
    return folder


def sorted_(folder: Path) -> Path:
    """As the paper's download has it: split, then identity."""
    for identity, n in PEOPLE.items():
        for i in range(n):
            place = folder / ("test" if i == 0 else "train") / identity / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 12), colour(identity, i)).save(place)
    return folder


def load(path: Path, **settings: Any) -> ContributorDataset:
    chosen = {"n_identities": 3, "min_images": 3, **settings}
    return load_source(
        DataConfig.model_validate(
            {"source": "celebahq", "path": str(path), "resolution": 8, "mode": "RGB", "celebahq": chosen}
        )
    )


def test_an_image_goes_to_the_identity_that_the_files_give_it(tmp_path: Path) -> None:
    dataset = load(official(tmp_path))
    assert dataset.n_images == {"identity 117": 3, "identity 2880": 3, "identity 8692": 4}
    for name in dataset.contributors:
        pixels = {tuple(image[0, 0].tolist()) for image in dataset.images([name])}
        identity = name.split()[1]
        assert pixels == {colour(identity, i) for i in range(PEOPLE[identity])}
    assert "non-commercial" in dataset.source["licence"]


def test_both_forms_give_the_same_data(tmp_path: Path) -> None:
    assert load(official(tmp_path / "a")).digest == load(sorted_(tmp_path / "b")).digest


def test_numbers_of_images_may_have_leading_zeros(tmp_path: Path) -> None:
    folder = official(tmp_path / "a")
    before = load(folder).digest
    for path in (folder / "CelebA-HQ-img").iterdir():
        path.rename(path.with_name(f"{int(path.stem):05}.png"))
    assert load(folder).digest == before


def test_the_draw_hangs_on_the_seed_and_not_on_who_else_is_there(tmp_path: Path) -> None:
    folder = sorted_(tmp_path)
    draws = {load(folder, n_identities=2, seed=seed).contributors for seed in range(12)}
    assert len(draws) == 3
    before = load(folder, n_identities=2, min_images=1).contributors
    other = next(identity for identity in PEOPLE if f"identity {identity}" not in before)
    for place in folder.glob(f"*/{other}"):
        shutil.rmtree(place)
    assert load(folder, n_identities=2, min_images=1).contributors == before


def test_identities_can_be_named(tmp_path: Path) -> None:
    dataset = load(sorted_(tmp_path), identities=["8692", "117", "117"])
    assert dataset.contributors == ("identity 117", "identity 8692")


def test_a_named_identity_with_too_few_images_is_told(tmp_path: Path) -> None:
    sorted_(tmp_path)
    with pytest.raises(UserError, match=r"identity '5' has 1 of the 3 images that are asked for in .*: leave it out"):
        load(tmp_path, identities=["117", "5"])
    with pytest.raises(UserError, match=r"identity 'nobody' has 0 of the 3 images"):
        load(tmp_path, identities=["117", "nobody"])


def test_too_few_identities_with_enough_images_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds 3 identities with 3 images or more, and 50 are asked for"):
        load(sorted_(tmp_path), n_identities=50)


def test_one_identity_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"at least two contributors, but only 'identity 117'"):
        load(sorted_(tmp_path), identities=["117"])


def test_missing_files_are_told(tmp_path: Path) -> None:
    folder = official(tmp_path / "a")
    (folder / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    with pytest.raises(UserError, match=r"identity_CelebA.txt but not CelebA-HQ-to-CelebA-mapping.txt"):
        load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"there are no images in .*: get CelebA-HQ from https"):
        load(tmp_path / "empty")
    with pytest.raises(UserError, match="there is no folder"):
        load(tmp_path / "none")
    with pytest.raises(UserError, match=r"is not a folder; give the folder that holds CelebA-HQ-img"):
        load(folder / "identity_CelebA.txt")


def test_truncated_tables_are_told(tmp_path: Path) -> None:
    folder = official(tmp_path)
    whole = (folder / "identity_CelebA.txt").read_text()
    lines = whole.splitlines()
    (folder / "identity_CelebA.txt").write_text("\n".join(lines[:-1]))
    with pytest.raises(UserError, match=r"the image 'CelebA-HQ-img/0.png' in .* has no identity"):
        load(folder)
    (folder / "identity_CelebA.txt").write_text(whole.rstrip("\n").rpartition(" ")[0])
    with pytest.raises(UserError, match=r"must be a table of 2 columns.*row 12 of it has other columns"):
        load(folder)
    (folder / "identity_CelebA.txt").write_bytes(b"")
    with pytest.raises(UserError, match="it is empty"):
        load(folder)


def test_a_damaged_image_is_told_or_skipped_on_demand(tmp_path: Path) -> None:
    folder = sorted_(tmp_path)
    (folder / "train" / "117" / "1.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"1 of 10 images cannot be read: 'train/117/1.png'"):
        load(folder)
