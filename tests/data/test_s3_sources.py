"""Folders and tables on a real S3 server give the data set that they give on a local disk."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shapley_core.config import DataConfig
from shapley_core.data.sources import load_source
from shapley_core.data.sources.archive import Archive
from shapley_core.errors import UserError
from shapley_core.storage import open_store


def config(source: str, path: str) -> DataConfig:
    return DataConfig.model_validate({"source": source, "path": path, "mode": "RGB", "resolution": 4})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate(["ann", "ann/deep", "Zoë & <b>", "bob"]):
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("RGB", (9, 7), (i, 0, 0)).save(tmp_path / "in" / name / f"{i}.png")
    (tmp_path / "in/bob/notes.txt").write_text("not an image")
    (tmp_path / "in/tables").mkdir()
    (tmp_path / "in/tables/m.csv").write_text("path,contributor,caption\n../ann/0.png,ann,a\n../bob/3.png,bob,b\n")
    (tmp_path / "in/m.csv").write_text("path,contributor,caption\nann/0.png,ann,a\n./bob/3.png,bob,b\n")
    return tmp_path / "in"


def upload(folder: Path, uri: str) -> None:
    store = open_store(uri)
    for path in folder.rglob("*"):
        if path.is_file():
            store.upload(path.relative_to(folder).as_posix(), path)


def test_a_folder(folder: Path, s3_bucket: str) -> None:
    (folder / "tables/m.csv").unlink()
    (folder / "tables").rmdir()
    upload(folder, f"s3://{s3_bucket}/some/prefix")
    local = load_source(config("image_folder", str(folder)))
    remote = load_source(config("image_folder", f"s3://{s3_bucket}/some/prefix"))
    assert remote.entries == local.entries
    assert remote.source["n_ignored_files"] == local.source["n_ignored_files"] == 2
    np.testing.assert_array_equal(remote.images(), local.images())


def test_a_manifest(folder: Path, s3_bucket: str) -> None:
    upload(folder, f"s3://{s3_bucket}/data")
    local = load_source(config("manifest", str(folder / "m.csv")))
    remote = load_source(config("manifest", f"s3://{s3_bucket}/data/m.csv"))
    assert remote.entries == local.entries
    assert remote.captions == local.captions


def test_an_archive(s3_bucket: str) -> None:
    content = b"not only a checksum"
    open_store(f"s3://{s3_bucket}/data").write("known.tgz", content)
    known = Archive("known.tgz", len(content), hashlib.sha256(content).hexdigest(), "a shelf")
    assert known.read(f"s3://{s3_bucket}/data/known.tgz") == content
    with pytest.raises(UserError, match=r"there is no archive s3://.*/data/absent.tgz: get known.tgz from a shelf"):
        known.read(f"s3://{s3_bucket}/data/absent.tgz")


def test_what_is_missing_or_wrong_is_told(folder: Path, s3_bucket: str) -> None:
    upload(folder, f"s3://{s3_bucket}/data")
    with pytest.raises(UserError, match=r"tables' in .* has no images"):
        load_source(config("image_folder", f"s3://{s3_bucket}/data"))
    with pytest.raises(UserError, match="but none was found"):
        load_source(config("image_folder", f"s3://{s3_bucket}/elsewhere"))
    with pytest.raises(UserError, match=r"there is no manifest s3://.*/data/absent\.csv"):
        load_source(config("manifest", f"s3://{s3_bucket}/data/absent.csv"))
    with pytest.raises(UserError, match=r"names '\.\./ann/0\.png', which is not under its own folder"):
        load_source(config("manifest", f"s3://{s3_bucket}/data/tables/m.csv"))
    open_store(f"s3://{s3_bucket}/data").delete("ann/0.png")
    with pytest.raises(UserError, match=r"1 of 2 .*'ann/0\.png' \(there is no such file\)"):
        load_source(config("manifest", f"s3://{s3_bucket}/data/m.csv"))


def test_a_refused_address_is_told_as_such(folder: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(folder, f"s3://{s3_bucket}/data")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    for source, path in [("image_folder", "data"), ("manifest", "data/m.csv")]:
        with pytest.raises(UserError, match="refuses access"):
            load_source(config(source, f"s3://{s3_bucket}/{path}"))
