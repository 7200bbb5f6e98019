"""ArtBench-10: artists by file name or table, names with unusual characters, and incomplete copies."""

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources import artbench, load_source
from shapley_core.errors import UserError

#: (artist, title); as WikiArt writes them, and worse.
PAINTINGS = [
    ("vincent-van-gogh", "the-starry-night-1889(1)"),
    ("vincent-van-gogh", "irises_1889"),
    ("théo-van-rysselberghe", "la-lecture"),
    ("m.-c.-escher-ii", "self_portrait_1"),
    ("jean-metzinger' OR 1=1", "x"),
    ("<b>&", "y"),
    ("梅原龍三郎", "z"),
]


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artbench, "N_IMAGES", len(PAINTINGS))


def write(folder: Path, style: str = "post_impressionism") -> Path:
    place = folder / "train" / style
    place.mkdir(parents=True)
    for i, (artist, title) in enumerate(PAINTINGS):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(place / f"{artist}_{title}.png")
    for other in [folder / "test" / style, folder / "train" / "realism"]:
        other.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(other / "ilya-repin_a.png")
    return folder


def load(folder: Path, style: str = "post_impressionism") -> ContributorDataset:
    return load_source(
        DataConfig.model_validate(
            {"source": "artbench", "path": str(folder), "resolution": 8, "mode": "RGB", "artbench": {"style": style}}
        )
    )


def test_artists_are_read_from_the_training_images_of_the_style(tmp_path: Path) -> None:
    dataset = load(write(tmp_path))
    assert dataset.n_images == {**{artist: 1 for artist, _ in PAINTINGS}, "vincent-van-gogh": 2}
    assert {image[0, 0, 0] for image in dataset.images(["vincent-van-gogh"])} == {0, 1}
    assert dataset.labels is None
    assert "fair use" in dataset.source["licence"]


def test_another_style(tmp_path: Path) -> None:
    assert len(load(write(tmp_path, "ukiyo_e"), "ukiyo_e").contributors) == 6


def test_one_artist_written_in_two_unicode_forms_is_one_contributor(tmp_path: Path) -> None:
    folder = write(tmp_path) / "train" / "post_impressionism"
    (folder / "<b>&_y.png").rename(folder / unicodedata.normalize("NFD", "théo-van-rysselberghe_y.png"))
    assert load(tmp_path).n_images[unicodedata.normalize("NFC", "théo-van-rysselberghe")] == 2


def test_the_table_names_artists_where_it_is_there(tmp_path: Path) -> None:
    folder = write(tmp_path)
    rows = ["name,artist,url,label,split"]
    for artist, title in PAINTINGS:
        name = unicodedata.normalize("NFD", f"{artist}_{title}.png")
        rows.append(f'"{name}","{artist}, {len(artist)}",https://example.org,post_impressionism,train')
    (folder / "ArtBench-10.csv").write_text("\ufeff" + "\n".join(rows), encoding="utf-8")
    assert load(folder).contributors == tuple(sorted({f"{artist}, {len(artist)}" for artist, _ in PAINTINGS}))
    rows[-1] = rows[-1].split(",")[0]  # cut off where the artist would stand
    (folder / "ArtBench-10.csv").write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(UserError, match=r"梅原龍三郎.* has no artist in ArtBench-10.csv, so nobody can be credited"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"file,artist\nx,y\n", b"name,artist\n\xff\xfe,y\n"])
def test_another_table_is_told(tmp_path: Path, content: bytes) -> None:
    folder = write(tmp_path)
    (folder / "ArtBench-10.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"ArtBench-10.csv is not the table that was published"):
        load(folder)


def test_incomplete_copies_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "train" / "post_impressionism" / "<b>&_y.png").unlink()
    with pytest.raises(
        UserError, match=r"6 images in train/post_impressionism, and ArtBench-10 has 7: give the folder"
    ):
        load(folder)
    with pytest.raises(UserError, match=r"0 images in train/post_impressionism"):
        load(folder / "train")
    with pytest.raises(UserError, match="there is no folder"):
        load(folder / "none")


@pytest.mark.parametrize("name", ["anonymous.png", "_untitled.png", " _untitled.png"])
def test_an_image_without_an_artist_is_told(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path) / "train" / "post_impressionism"
    (folder / "<b>&_y.png").rename(folder / name)
    with pytest.raises(UserError, match=r"is not called <artist>_<title>, so nobody can be credited"):
        load(tmp_path)


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path) / "train" / "post_impressionism"
    (folder / "<b>&_y.png").rename(folder / "caf\udce9_y.png")  # Latin-1, as old archives have it
    with pytest.raises(UserError, match=r"'caf\\udce9' in .* is not valid UTF-8: rename it"):
        load(tmp_path)


def test_the_count_is_that_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert artbench.N_IMAGES == 5_000
