"""Tables that name image files and their contributors."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources import load_source
from shapley_core.errors import UserError


def load(path: Path, skip_bad_images: bool = False) -> ContributorDataset:
    return load_source(
        DataConfig(source="manifest", path=str(path), mode="RGB", resolution=4, skip_bad_images=skip_bad_images)
    )


def colour(value: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (value, 0, 0))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images 0.png .. 9.png whose red value is their number, beside the manifest."""
    for i in range(10):
        colour(i).save(tmp_path / f"{i}.png")
    return tmp_path


def write_csv(path: Path, *rows: Sequence[object]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_images_labels_and_captions_come_together(images: Path) -> None:
    rows = [(f"{i}.png", "ann" if i < 4 else "bob", 10 * (i % 3), f"number {i}, of\n“ten”", "x") for i in range(10)]
    header = ("path", "contributor", "label", "caption", "ignored")
    by_csv = load(write_csv(images / "m.csv", header, *rows))
    frame = pd.DataFrame(rows, columns=list(header))
    frame[["ignored", *header[:-1]]].to_parquet(images / "M.PARQUET")
    by_parquet = load(images / "M.PARQUET")
    for dataset in (by_csv, by_parquet):
        assert dataset.n_images == {"ann": 4, "bob": 6}
        assert dataset.label_names == ("0", "10", "20")
        red = dataset.images()[:, 0, 0, 0].tolist()
        assert dataset.labels is not None
        assert dataset.labels.tolist() == [value % 3 for value in red]
        assert dataset.captions == tuple(f"number {value}, of\n“ten”" for value in red)
    assert by_csv.fingerprints == by_parquet.fingerprints
    assert by_csv.source["source"] == "manifest"


def test_paths_are_relative_to_the_table_or_absolute(images: Path) -> None:
    (images / "tables").mkdir()
    path = write_csv(images / "tables/m.csv", ("path", "contributor"), ("../1.png", "ann"), (images / "2.png", "bob"))
    dataset = load(path)
    assert dataset.images(["ann"])[0, 0, 0, 0] == 1
    assert dataset.images(["bob"])[0, 0, 0, 0] == 2
    assert dataset.labels is None
    assert dataset.captions is None


def test_the_order_of_rows_does_not_matter(images: Path) -> None:
    rows = [(f"{i}.png", f"c{i % 3}", f"caption {i}") for i in range(10)]
    header = ("contributor", "caption", "path")
    one = load(write_csv(images / "m.csv", ("path", "contributor", "caption"), *rows))
    two = load(write_csv(images / "n.csv", header, *[(c, t, p) for p, c, t in reversed(rows)]))
    assert one.fingerprints == two.fingerprints
    np.testing.assert_array_equal(one.images(), two.images())


def test_one_file_may_be_listed_by_two_contributors(images: Path) -> None:
    dataset = load(
        write_csv(images / "m.csv", ("path", "contributor"), ("1.png", "ann"), ("1.png", "bob"), ("1.png", "bob"))
    )
    assert dataset.n_images == {"ann": 1, "bob": 2}


def test_contributor_names_are_data(images: Path) -> None:
    names = [
        "<script>alert(1)</script>",
        "two\r\nlines \x07",
        "n" * 300,
        "Zoë 北京 🎨",
        "../../etc",
        "NA",
        "null",
        " padded ",
        '"quoted", with a comma',
        "007",
    ]
    rows = [(f"{i}.png", name) for i, name in enumerate(names)]
    dataset = load(write_csv(images / "m.csv", ("path", "contributor"), *rows))
    dataset.save(images / "out")
    loaded = ContributorDataset.load(images / "out")
    assert loaded.contributors == tuple(sorted(names))
    assert [loaded.images([name])[0, 0, 0, 0] for name in names] == list(range(10))


def test_numbers_in_parquet_become_names(images: Path) -> None:
    frame = pd.DataFrame({"path": ["1.png", "2.png", "3.png"], "contributor": [7, 8, 8], "label": [1.0, 2.0, 10.0]})
    frame.to_parquet(images / "m.parquet")
    dataset = load(images / "m.parquet")
    assert dataset.contributors == ("7", "8")
    assert dataset.label_names == ("1", "2", "10")


def test_empty_captions_are_allowed_and_empty_columns_left_out(images: Path) -> None:
    header = ("path", "contributor", "label", "caption")
    dataset = load(write_csv(images / "m.csv", header, ("1.png", "ann", "", ""), ("2.png", "bob", "", "two")))
    assert dataset.labels is None
    assert dataset.captions is not None
    assert sorted(dataset.captions) == ["", "two"]
    frame = pd.DataFrame([("1.png", "ann", None, None), ("2.png", "bob", None, None)], columns=list(header))
    frame.to_parquet(images / "m.parquet")
    dataset = load(images / "m.parquet")
    assert dataset.labels is None
    assert dataset.captions is None


def test_a_byte_order_mark_is_no_part_of_a_column(images: Path) -> None:
    path = images / "m.csv"
    path.write_text("path,contributor\n1.png,ann\n2.png,bob\n", encoding="utf-8-sig")
    assert load(path).contributors == ("ann", "bob")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_column_is_told_with_those_there(images: Path, suffix: str) -> None:
    frame = pd.DataFrame({"file": ["1.png"], "contributor": ["ann"], "we\nird": [0]})
    path = images / f"m{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    with pytest.raises(UserError, match=r"column path; its columns are 'file', 'contributor', 'we\\nird'\."):
        load(path)


def test_a_column_given_twice_is_told(images: Path) -> None:
    path = write_csv(images / "m.csv", ("path", "contributor", "path"), ("1.png", "ann", "2.png"))
    with pytest.raises(UserError, match="exactly one column path"):
        load(path)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (("", "bob", "1"), "no path in row 2"),
        (("2.png", "", "1"), "no contributor in row 2"),
        (("2.png", "  ", "1"), "no contributor in row 2"),
        (("2.png", "bob", ""), "no label in row 2 .*leave the column out"),
    ],
)
def test_an_empty_cell_is_told_with_its_row(images: Path, row: tuple[str, ...], sentence: str) -> None:
    header = ("path", "contributor", "label")
    rows = [header, ("1.png", "ann", "0"), row, ("3.png", "cyd", "0")]
    with pytest.raises(UserError, match=sentence):
        load(write_csv(images / "m.csv", *rows))
    frame = pd.DataFrame(rows[1:], columns=list(header)).replace("", None)
    frame.to_parquet(images / "m.parquet")
    with pytest.raises(UserError, match=sentence):
        load(images / "m.parquet")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", b""),
        ("m.csv", b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe\xff"),
        ("m.csv", b"path,contributor\n1.png,ann,more\n2.png,bob,more\n"),
        ("m.csv", b"path,contributor\n1.png,ann\n2.png\n"),
        ("m.parquet", b""),
        ("m.parquet", b"path,contributor\n1.png,ann\n2.png,bob\n"),
    ],
)
def test_what_is_no_table_is_told(images: Path, name: str, content: bytes) -> None:
    (images / name).write_bytes(content)
    with pytest.raises(
        UserError, match=rf"m{name[1:]} (cannot be read|must have exactly one column|holds .* not valid UTF-8)"
    ):
        load(images / name)


def test_a_truncated_parquet_file_is_told(images: Path) -> None:
    path = images / "m.parquet"
    pd.DataFrame({"path": ["1.png"] * 100, "contributor": ["ann", "bob"] * 50}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match="cannot be read"):
        load(path)


def test_no_manifest_and_other_files_are_told(images: Path) -> None:
    with pytest.raises(UserError, match=r"there is no manifest file .*absent\.csv"):
        load(images / "absent.csv")
    with pytest.raises(UserError, match=r"must be a \.csv or \.parquet file"):
        load(images / "1.png")
    (images / "folder.csv").mkdir()
    with pytest.raises(UserError, match="there is no manifest file"):
        load(images / "folder.csv")


def test_fewer_than_two_contributors_are_told(images: Path) -> None:
    header = ("path", "contributor")
    with pytest.raises(UserError, match="at least two contributors, but none was found"):
        load(write_csv(images / "m.csv", header))
    with pytest.raises(UserError, match="but only 'ann' was found"):
        load(write_csv(images / "m.csv", header, ("1.png", "ann"), ("2.png", "ann")))


def test_missing_and_bad_images_are_told_or_skipped(images: Path) -> None:
    (images / "2.png").write_bytes(b"no image")
    rows = [
        ("1.png", "ann"),
        ("2.png", "ann"),
        ("gone.png", "bob"),
        (".", "bob"),
        ("nul\0.png", "bob"),
        ("3.png", "bob"),
    ]
    path = write_csv(images / "m.csv", ("path", "contributor"), *rows)
    with pytest.raises(UserError) as caught:
        load(path)
    sentence = str(caught.value)
    assert sentence.startswith("4 of 6 images cannot be read: '2.png' (not an image that Pillow can read), ")
    assert "'gone.png' (there is no such file)" in sentence
    assert "'.' (Is a directory)" in sentence
    assert r"'nul\x00.png' (embedded null byte)" in sentence
    dataset = load(path, skip_bad_images=True)
    assert dataset.n_skipped == 4
    assert dataset.n_images == {"ann": 1, "bob": 1}


@pytest.mark.parametrize("column", ["path", "contributor", "label", "caption"])
def test_a_cell_that_is_not_utf8_is_shown(images: Path, column: str) -> None:
    cells = {"path": b"1.png", "contributor": b"bob", "label": b"1", "caption": b"one"}
    good, bad = cells | {"path": b"0.png", "contributor": b"ann"}, cells | {column: b"caf\xe9"}
    lines = [",".join(cells).encode(), b",".join(good.values()), b",".join(bad.values())]
    (images / "m.csv").write_bytes(b"\n".join(lines))
    pd.DataFrame([good, bad]).to_parquet(images / "m.parquet")
    for name in ("m.csv", "m.parquet"):
        with pytest.raises(UserError, match=rf"{name} holds 'caf\\udce9', which is not valid UTF-8: save"):
            load(images / name)


def test_text_that_parquet_holds_as_bytes(images: Path) -> None:
    names = ["Zoë".encode(), "山田".encode()]
    pd.DataFrame({"path": [b"0.png", b"1.png"], "contributor": names}).to_parquet(images / "m.parquet")
    assert load(images / "m.parquet").contributors == ("Zoë", "山田")
