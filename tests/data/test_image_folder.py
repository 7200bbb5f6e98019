"""Image files of every kind, and folders of them with one sub-folder per contributor."""

import errno
import io
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources import load_source
from shapley_core.data.sources.image_folder import decode, image_extensions
from shapley_core.errors import UserError


def config(path: Path, mode: str = "RGB", resolution: int = 8, skip_bad_images: bool = False) -> DataConfig:
    return DataConfig.model_validate(
        {
            "source": "image_folder",
            "path": str(path),
            "mode": mode,
            "resolution": resolution,
            "skip_bad_images": skip_bad_images,
        }
    )


def picture(seed: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def quarters(mode: str = "RGB", size: int = 40) -> Image.Image:
    """Red, green, blue and white quarters, row by row."""
    image = Image.new("RGB", (size, size), "white")
    draw, half = ImageDraw.Draw(image), size // 2
    draw.rectangle((0, 0, half - 1, half - 1), "red")
    draw.rectangle((half, 0, size - 1, half - 1), "lime")
    draw.rectangle((0, half, half - 1, size - 1), "blue")
    return image.convert(mode)


def encoded(image: Image.Image | None, format_: str, **options: object) -> bytes:
    assert image is not None
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def corners(image: Image.Image) -> list[Any]:
    last = image.width - 1
    return [image.getpixel(at) for at in [(0, 0), (last, 0), (0, last), (last, last)]]


def fill(folder: Path, **parts: list[int]) -> None:
    for name, seeds in parts.items():
        (folder / name).mkdir(parents=True)
        for seed in seeds:
            picture(seed).save(folder / name / f"{seed}.png")


def load(folder: Path, **settings: object) -> ContributorDataset:
    return load_source(config(folder, **settings))  # type: ignore[arg-type]


RED, LIME, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.mark.parametrize(
    "data",
    [
        encoded(quarters(), "PNG"),
        encoded(quarters("P"), "PNG"),
        encoded(quarters("RGBA"), "PNG"),
        encoded(quarters().quantize(4), "GIF"),
        encoded(quarters(), "BMP"),
        encoded(quarters(), "TIFF", compression="tiff_lzw"),
        encoded(quarters("CMYK"), "TIFF"),
        encoded(quarters(), "WEBP", lossless=True),
        encoded(quarters(), "PPM"),
        encoded(quarters(), "TGA"),
        encoded(quarters(), "ICO", sizes=[(40, 40)]),
        encoded(quarters(), "QOI"),
        encoded(quarters(), "JPEG2000"),
    ],
    ids=["png", "palette", "rgba", "gif", "bmp", "tiff", "cmyk", "webp", "ppm", "tga", "ico", "qoi", "jp2"],
)
def test_formats_give_the_same_colours(data: bytes) -> None:
    assert corners(decode(data, "RGB", 8)) == [RED, LIME, BLUE, WHITE]


@pytest.mark.parametrize(
    "data",
    [
        encoded(quarters(), "JPEG", quality=95),
        encoded(quarters("CMYK"), "JPEG", quality=95),
        encoded(quarters(), "AVIF", quality=95),
        encoded(
            ImageCms.profileToProfile(
                quarters(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
            ),
            "TIFF",
        ),
    ],
    ids=["jpeg", "cmyk jpeg", "avif", "lab"],
)
def test_lossy_formats_give_nearly_the_same_colours(data: bytes) -> None:
    np.testing.assert_allclose(corners(decode(data, "RGB", 8)), [RED, LIME, BLUE, WHITE], atol=25)


def test_grey_is_the_luma_of_itu_601() -> None:
    assert corners(decode(encoded(quarters(), "PNG"), "L", 8)) == [76, 150, 29, 255]


@pytest.mark.parametrize(("mode", "format_"), [("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("1", "TIFF")])
def test_grey_modes(mode: str, format_: str) -> None:
    image = Image.new("L", (10, 10), 255)
    image.paste(0, (0, 0, 5, 10))
    data = encoded(image.convert(mode), format_)
    assert corners(decode(data, "RGB", 10)) == [(0, 0, 0), WHITE, (0, 0, 0), WHITE]
    assert corners(decode(data, "L", 10)) == [0, 255, 0, 255]


def test_sixteen_bit_grey_is_scaled() -> None:
    values = np.array([[0, 257], [32896, 65535]], np.uint16)
    for data in (encoded(Image.fromarray(values), "PNG"), encoded(Image.fromarray(values), "TIFF")):
        assert Image.open(io.BytesIO(data)).mode == "I;16"
        assert corners(decode(data, "L", 2)) == [0, 1, 128, 255]
    wide = encoded(Image.fromarray(values.astype(np.int32)), "TIFF")
    assert Image.open(io.BytesIO(wide)).mode == "I"
    assert corners(decode(wide, "RGB", 2)) == [(0, 0, 0), (1, 1, 1), (128, 128, 128), WHITE]


def test_floating_point_counts_as_unit_or_byte_range() -> None:
    unit = encoded(Image.fromarray(np.array([[0, 0.2], [np.nan, 1]], np.float32)), "TIFF")
    assert corners(decode(unit, "L", 2)) == [0, 51, 0, 255]
    byte = encoded(Image.fromarray(np.array([[-3, 51], [200, 300]], np.float32)), "TIFF")
    assert corners(decode(byte, "L", 2)) == [0, 51, 200, 255]


def test_transparency_is_laid_on_white() -> None:
    clear, half = (255, 0, 0, 0), (0, 0, 0, 128)
    image = Image.new("RGBA", (4, 4), clear)
    image.paste(half, (0, 0, 2, 4))
    assert corners(decode(encoded(image, "PNG"), "RGB", 4))[:2] == [(127, 127, 127), WHITE]
    grey = Image.new("LA", (4, 4), (0, 0))
    assert corners(decode(encoded(grey, "PNG"), "L", 4)) == [255] * 4

    palette = quarters("P")
    data = encoded(palette, "PNG", transparency=palette.getpixel((0, 0)))
    assert corners(decode(data, "RGB", 8)) == [WHITE, LIME, BLUE, WHITE]
    keyed = encoded(quarters(), "PNG", transparency=BLUE)
    assert corners(decode(keyed, "RGB", 8)) == [RED, LIME, WHITE, WHITE]


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it 90 degrees clockwise
    assert corners(decode(encoded(quarters(), "PNG", exif=exif), "RGB", 8)) == [BLUE, RED, WHITE, LIME]


def test_of_an_animation_the_first_frame_is_taken() -> None:
    later = [Image.new("RGB", (40, 40), name) for name in ("black", "yellow")]
    for format_, options in [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]:
        data = encoded(quarters(), format_, save_all=True, append_images=later, **options)
        assert Image.open(io.BytesIO(data)).n_frames == 3  # type: ignore[attr-defined]
        assert corners(decode(data, "RGB", 8)) == [RED, LIME, BLUE, WHITE]


@pytest.mark.parametrize("size", [(80, 40), (40, 80), (42, 40)])
def test_the_centre_square_is_taken(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "black")
    image.paste(quarters(), ((size[0] - 40) // 2, (size[1] - 40) // 2))
    assert corners(decode(encoded(image, "PNG"), "RGB", 8)) == [RED, LIME, BLUE, WHITE]


def test_making_smaller_averages_over_the_area() -> None:
    fine = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8))  # a one-pixel chequerboard
    assert set(np.asarray(decode(encoded(fine, "PNG"), "L", 8)).ravel().tolist()) <= {126, 127, 128, 129}


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 5)])
def test_tiny_and_thin_images(size: tuple[int, int]) -> None:
    image = decode(encoded(Image.new("RGB", size, "red"), "PNG"), "RGB", 8)
    assert image.size == (8, 8)
    assert corners(image) == [RED] * 4


def test_an_image_of_the_right_size_and_mode_keeps_its_pixels(tmp_path: Path) -> None:
    fill(tmp_path / "in", ann=[1], bob=[2])
    load(tmp_path / "in").save(tmp_path / "out")
    images = ContributorDataset.load(tmp_path / "out").images(["ann"])
    np.testing.assert_array_equal(images[0], np.asarray(picture(1)))


def test_every_readable_extension_counts_and_no_other() -> None:
    extensions = image_extensions()
    assert {".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".avif"} <= extensions
    assert not extensions & {".pdf", ".txt", ".json", ".db", ".svg", ".npy", ""}


def test_folders_are_read_at_any_depth_and_other_files_counted(tmp_path: Path) -> None:
    fill(tmp_path, ann=[1, 2], bob=[3])
    deep = tmp_path / "bob" / "2024" / "may"
    deep.mkdir(parents=True)
    picture(4).save(deep / "UPPER.JPEG")
    for ignored in [
        "readme.txt",
        "loose.png",
        ".DS_Store",
        "ann/notes.json",
        "ann/Thumbs.db",
        "ann/.hidden.png",
        "bob/.cache/x.png",
        ".git/y.png",
        "bob/2024/paper.pdf",
    ]:
        (tmp_path / ignored).parent.mkdir(exist_ok=True)
        (tmp_path / ignored).write_bytes(b"not an image")
    dataset = load(tmp_path)
    assert dataset.n_images == {"ann": 2, "bob": 2}
    assert dataset.source == {"source": "image_folder", "path": str(tmp_path), "n_ignored_files": 9}
    assert dataset.n_skipped == 0
    assert dataset.labels is None
    assert dataset.captions is None


def test_neither_file_names_nor_formats_nor_folders_matter(tmp_path: Path) -> None:
    fill(tmp_path / "one", ann=[1, 2, 3], bob=[4])
    (tmp_path / "two/zoe/sub").mkdir(parents=True)
    (tmp_path / "two/al").mkdir()
    for seed, name in [(3, "0.bmp"), (1, "sub/1.tiff"), (2, "x.webp")]:
        picture(seed).save(tmp_path / "two/zoe" / name, lossless=True)
    picture(4).save(tmp_path / "two/al/4.png")
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    assert one.fingerprints["ann"] == two.fingerprints["zoe"]
    assert one.digest == two.digest
    np.testing.assert_array_equal(one.images(), two.images())


def test_linked_contributor_folders_and_images_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "store", ann=[1], other=[2])
    (tmp_path / "in/bob").mkdir(parents=True)
    (tmp_path / "in/ann").symlink_to(tmp_path / "store/ann")
    (tmp_path / "in/bob/x.png").symlink_to(tmp_path / "store/other/2.png")
    (tmp_path / "in/bob/loop").symlink_to(tmp_path / "in")
    assert load(tmp_path / "in").n_images == {"ann": 1, "bob": 1}


def test_hostile_contributor_names_are_data(tmp_path: Path) -> None:
    names = [
        "<script>alert(1)<",
        "two\nlines \x1b[31m",
        "n" * 255,
        "Zoë 北京 🎨",
        "..etc",
        "a\\b",
        " ",
    ]
    for i, name in enumerate(names):
        (tmp_path / "in" / name).mkdir(parents=True)
        picture(i).save(tmp_path / "in" / name / "x.png")
    load(tmp_path / "in").save(tmp_path / "out")
    # A leading dot hides a folder, whatever follows it.
    assert set(ContributorDataset.load(tmp_path / "out").contributors) == set(names) - {"..etc"}


def test_what_is_no_such_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*/absent"):
        load(tmp_path / "absent")
    picture(1).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"x\.png is not a folder"):
        load(tmp_path / "x.png")


def test_fewer_than_two_contributors_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least two contributors, but none was found"):
        load(tmp_path)
    picture(0).save(tmp_path / "loose.png")
    fill(tmp_path, ann=[1])
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(UserError, match="at least two contributors, but only 'ann' was found"):
        load(tmp_path)


def test_contributors_without_images_are_told(tmp_path: Path) -> None:
    fill(tmp_path, ann=[1], bob=[2], **{"em\npty": []})
    with pytest.raises(UserError, match=r"contributor 'em\\npty' in .* has no images"):
        load(tmp_path)
    for i in range(8):
        (tmp_path / f"no{i}").mkdir()
    (tmp_path / "no1/text.txt").touch()
    with pytest.raises(UserError, match=r"'no0', 'no1', 'no2', 'no3' and 4 more .* have no images"):
        load(tmp_path)


def test_a_name_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    fill(tmp_path, ann=[1])
    shutil.copytree(tmp_path / "ann", tmp_path / os.fsdecode(b"caf\xe9"))
    with pytest.raises(UserError, match=r"'caf\\udce9' .*not valid UTF-8"):
        load(tmp_path)


def test_a_folder_that_cannot_be_listed_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, ann=[1], bob=[2])
    name = os.fsdecode(b"caf\xe9")

    def denied(*_: object, onerror: Callable[[OSError], None]) -> None:
        onerror(PermissionError(errno.EACCES, "Permission denied", name))

    monkeypatch.setattr(os, "walk", denied)
    with pytest.raises(UserError, match=r"cannot list 'caf\\udce9': Permission denied"):
        load(tmp_path)


def spoil(folder: Path) -> dict[str, bytes]:
    """Files that cannot be read, in the folder of a contributor who has a good one."""
    whole = encoded(picture(9, (64, 64)), "PNG")
    bad = {
        "empty.png": b"",
        "text.jpg": b"this is no image",
        "truncated.png": whole[: len(whole) // 2],
        "truncated.jpg": encoded(picture(9, (64, 64)), "JPEG")[:-400],
        "truncated.gif": encoded(picture(9, (64, 64)), "GIF")[:-900],
        "damaged.png": whole[:60] + b"\x00" * 50 + whole[110:],
        "damaged.tif": encoded(picture(9, (64, 64)), "TIFF", compression="tiff_lzw")[:-2000],
    }
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    return bad


def test_bad_images_are_told_all_at_once(tmp_path: Path) -> None:
    fill(tmp_path, ann=[1], bob=[2])
    n_bad = len(spoil(tmp_path / "bob"))
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    sentence = str(caught.value)
    assert f"{n_bad} of {n_bad + 2} images cannot be read" in sentence
    assert sentence.count("'bob/") == 5
    assert f" and {n_bad - 5} more" in sentence
    assert "--skip-bad-images" in sentence
    assert "'bob/empty.png' (not an image that Pillow can read)" in sentence


def test_every_kind_of_bad_image_is_noticed_and_named(tmp_path: Path) -> None:
    fill(tmp_path / "in", ann=[1], bob=[2])
    (tmp_path / "bad").mkdir()
    for name, data in spoil(tmp_path / "bad").items():
        path = tmp_path / "in/bob" / name
        path.write_bytes(data)
        with pytest.raises(UserError, match=rf"1 of 3 images cannot be read: 'bob/{name}' \(.+\)"):
            load(tmp_path / "in")
        path.unlink()


def test_bad_images_can_be_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, ann=[1], bob=[2])
    clean = load(tmp_path)
    n_bad = len(spoil(tmp_path / "bob"))
    with caplog.at_level(logging.WARNING):
        dataset = load(tmp_path, skip_bad_images=True)
    assert dataset.n_skipped == n_bad
    assert dataset.fingerprints == clean.fingerprints
    assert sum(message.startswith("skipped 'bob/") for message in caplog.messages) == n_bad

    (tmp_path / "bob/2.png").unlink()
    with pytest.raises(UserError, match="no image of contributor 'bob' can be read"):
        load(tmp_path, skip_bad_images=True)


def test_decompression_bombs_are_bad_images(tmp_path: Path) -> None:
    fill(tmp_path, ann=[1], bob=[2])
    # 100 million pixels (Pillow warns) and 256 million (Pillow refuses), in a few kilobytes
    Image.new("1", (10_000, 10_000)).save(tmp_path / "bob/large.png")
    Image.new("1", (16_000, 16_000)).save(tmp_path / "bob/larger.png")
    with pytest.raises(UserError, match=r"2 of 4 .*large\.png' \(.*decompression bomb.*larger\.png' \(.*bomb"):
        load(tmp_path)
    assert load(tmp_path, skip_bad_images=True).n_skipped == 2
