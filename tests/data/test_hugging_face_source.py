"""Hugging Face data sets: saved folders, columns of several kinds, and what is told when something is not there."""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources import load_source
from shapley_core.errors import UserError

ARTISTS = ["Zoë", "Zoë", "<b>&", "北京"]


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8))


def dataset(**columns: Any) -> datasets.Dataset:
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "artist": datasets.ClassLabel(names=sorted({*ARTISTS})),
            "year": datasets.Value("int64"),
            "text": datasets.Value("string"),
        }
    )
    content = {
        "picture": [picture(i) for i in range(4)],
        "artist": ARTISTS,
        "year": [1999, 2000, 1999, 2001],
        "text": ["a", "b", "c", "d"],
    }
    made = datasets.Dataset.from_dict({**content, **columns}, features=features)
    made.info.license, made.info.homepage = "CC0", "https://example.org"
    return made


def load(path: Path | str, **settings: str) -> ContributorDataset:
    columns = {"image": "picture", "contributor": "artist", **settings}
    return load_source(
        DataConfig.model_validate(
            {
                "source": "hugging_face",
                "path": str(path),
                "resolution": 8,
                "mode": "RGB",
                "hugging_face": columns,
            }
        )
    )


def test_columns_are_read_as_configured(tmp_path: Path) -> None:
    dataset().save_to_disk(tmp_path)
    found = load(tmp_path, label="year", caption="text")
    assert found.n_images == {"<b>&": 1, "Zoë": 2, "北京": 1}
    assert found.label_names == ("1999", "2000", "2001")
    assert set(found.captions or ()) == set("abcd")
    np.testing.assert_array_equal(found.images(["<b>&"])[0], np.asarray(picture(2)))
    assert found.source["licence"] == "CC0"
    assert found.source["origin"] == "https://example.org"


def test_without_labels_and_captions(tmp_path: Path) -> None:
    dataset().save_to_disk(tmp_path)
    found = load(tmp_path)
    assert (found.labels, found.captions) == (None, None)


def test_splits_are_chosen_by_name(tmp_path: Path) -> None:
    datasets.DatasetDict(train=dataset(), test=dataset().select([2, 3])).save_to_disk(tmp_path)
    assert len(load(tmp_path).images()) == 4
    assert load(tmp_path, split="test").contributors == ("<b>&", "北京")
    with pytest.raises(UserError, match=r"no split 'tset'; did you mean 'test'\?"):
        load(tmp_path, split="tset")


def test_by_name_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub answers from a folder of image files: such a data set names its images and does not hold them."""
    for i, artist in enumerate(ARTISTS):
        (tmp_path / artist).mkdir(exist_ok=True)
        picture(i).save(tmp_path / artist / f"{i}.png")
    load_dataset = datasets.load_dataset

    def hub(name: str) -> datasets.DatasetDict:
        assert name == "museum/paintings"
        return load_dataset("imagefolder", data_dir=str(tmp_path), cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", hub)
    found = load("museum/paintings", image="image", contributor="label")
    dataset().save_to_disk(tmp_path / "held")
    assert found.fingerprints == load(tmp_path / "held").fingerprints
    assert (found.source["origin"], found.source["licence"]) == ("museum/paintings", "not stated in the data set")


def test_a_transposed_image_is_decoded_as_files_are(tmp_path: Path) -> None:
    image, exif, buffer = picture(9), Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    image.save(buffer, "PNG", exif=exif)
    dataset(picture=[buffer.getvalue()] * 4).save_to_disk(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).images()[0], np.rot90(np.asarray(image), -1))


@pytest.mark.parametrize(("setting", "column"), [("image", "pictures"), ("contributor", "artists"), ("label", "yeer")])
def test_a_missing_column_is_told(tmp_path: Path, setting: str, column: str) -> None:
    dataset().save_to_disk(tmp_path)
    with pytest.raises(UserError, match=rf"no column '{column}' \(data.hugging_face.{setting}\); did you mean"):
        load(tmp_path, **{setting: column})


def test_a_column_without_images_is_told(tmp_path: Path) -> None:
    dataset().save_to_disk(tmp_path)
    with pytest.raises(UserError, match=r"the column text of .* holds no images"):
        load(tmp_path, image="text")


def test_rows_without_contributor_or_image_are_told(tmp_path: Path) -> None:
    dataset(artist=[ARTISTS[0], None, *ARTISTS[2:]]).save_to_disk(tmp_path / "a")
    with pytest.raises(UserError, match=r"the column artist of .* is empty in row 1"):
        load(tmp_path / "a")
    dataset(picture=[picture(0), picture(1), None, picture(3)]).save_to_disk(tmp_path / "b")
    with pytest.raises(UserError, match=r"1 of 4 images cannot be read: 'row 2' \(there is no such file\)"):
        load(tmp_path / "b")


def test_one_contributor_is_told(tmp_path: Path) -> None:
    dataset().select([0, 1]).save_to_disk(tmp_path)
    with pytest.raises(UserError, match=r"only 'Zoë' was found: choose the column with data.hugging_face.contributor"):
        load(tmp_path)


def test_what_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset().save_to_disk(tmp_path / "a")
    next((tmp_path / "a").glob("*.arrow")).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    for path in (tmp_path / "a", tmp_path / "empty", "nobody/nothing"):
        with pytest.raises(UserError, match=r"cannot open the data set .*: data.path must be a folder written by"):
            load(path)
