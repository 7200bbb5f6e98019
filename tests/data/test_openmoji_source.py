"""OpenMoji: designers as contributors; the package as archive, as folder or fetched by npm; what can be wrong."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shapley_core.config import DataConfig
from shapley_core.data.sources import load_source, openmoji
from shapley_core.errors import UserError

#: (hexcode, designer, group, skin tone)
EMOJI = [
    ("1F600", "Zoë Grün", "smileys", ""),
    ("1F601", "Zoë Grün", "smileys", ""),
    ("1F602", "Zoë Grün", "food", ""),
    ("1F44D", "loominade", "food", ""),
    ("1F44E", "loominade", "food", ""),
    ("1F44F", "<b>&'", "smileys", ""),
    ("1F450", "Δ 北京", "smileys", ""),
    ("1F44D-1F3FB", "loominade", "food", 1),
]


def svg(number: int) -> str:
    """A red disc, off the centre by ``number``, with a clear background."""
    disc = f'<circle cx="{30 + number}" cy="36" r="20" fill="red"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">{disc}</svg>'


def files() -> dict[str, bytes]:
    index = [
        {
            "hexcode": hexcode,
            "openmoji_author": designer,
            "group": group,
            "skintone": tone,
            "annotation": f"picture of {hexcode}",
        }
        for hexcode, designer, group, tone in EMOJI
    ]
    drawings = {f"color/svg/{hexcode}.svg": svg(i).encode() for i, (hexcode, *_) in enumerate(EMOJI)}
    return {"data/openmoji.json": json.dumps(index).encode(), "package.json": b"{}", **drawings}


def write_archive(path: Path, content: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(autouse=True)
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package of the published form, taken for the published one; the cache is the test's own."""
    path = write_archive(tmp_path / "openmoji-17.0.0.tgz", files())
    data = path.read_bytes()
    known = replace(openmoji.ARCHIVE, n_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(openmoji, "ARCHIVE", known)
    monkeypatch.setattr(openmoji, "N_ENTRIES", len(EMOJI))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return path


def config(path: Path | str = "", resolution: int = 16, mode: str = "RGB", **settings: Any) -> DataConfig:
    return DataConfig.model_validate(
        {
            "source": "openmoji",
            "path": str(path),
            "resolution": resolution,
            "mode": mode,
            "openmoji": {"min_images": 2, **settings},
        }
    )


def unpacked(tmp_path: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (tmp_path / "package" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "package" / name).write_bytes(data)
    return tmp_path / "package"


def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script in npm's place."""
    command = tmp_path / "bin" / "npm"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")


def test_designers_are_contributors_and_the_others_one(archive: Path) -> None:
    dataset = load_source(config(archive))
    assert dataset.n_images == {"Zoë Grün": 3, "loominade": 2, "others": 2}
    assert dataset.label_names == ("food", "smileys")
    assert set(dataset.captions or ()) == {f"picture of {hexcode}" for hexcode, *_, tone in EMOJI if not tone}
    assert "CC BY-SA 4.0" in dataset.source["licence"]


def test_others_can_be_left_out_or_everybody_named(archive: Path) -> None:
    assert load_source(config(archive, others="left_out")).contributors == ("Zoë Grün", "loominade")
    assert set(load_source(config(archive, min_images=1)).contributors) == {designer for _, designer, *_ in EMOJI}


def test_groups_choose_emoji_and_images_are_counted_in_them(archive: Path) -> None:
    assert load_source(config(archive, groups=["food"])).n_images == {"loominade": 2, "others": 1}
    with pytest.raises(UserError, match=r"has no group 'foot'; did you mean 'food'\?"):
        load_source(config(archive, groups=["foot"]))


def test_too_few_contributors_are_told(archive: Path) -> None:
    with pytest.raises(UserError, match=r"at least two contributors.*only 'others'.*lower data.openmoji.min_images"):
        load_source(config(archive, min_images=9))


@pytest.mark.parametrize("resolution", [8, 16, 33])
def test_drawings_lie_on_white_and_fill_the_resolution(archive: Path, resolution: int) -> None:
    dataset = load_source(config(archive, resolution=resolution, min_images=1))
    (image,) = dataset.images(["<b>&'"])  # its disc stands at 35 of 72
    assert image.shape == (resolution, resolution, 3)
    assert (image[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    centre = resolution // 2
    np.testing.assert_array_equal(image[centre, centre], [255, 0, 0])
    red = (255 - image[..., 1].astype(float)).sum() / 255
    assert red / resolution**2 == pytest.approx(np.pi * 20**2 / 72**2, rel=0.05)


def test_grey(archive: Path) -> None:
    assert load_source(config(archive, mode="L")).images().shape == (7, 16, 16, 1)


def test_archive_folder_and_npm_give_the_same_data(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unpacked(tmp_path / "unpacked", files())
    npm(tmp_path, monkeypatch, f'test "$1 $2 $3" = "pack openmoji@17.0.0 --pack-destination" && cp {archive} "$4"/')
    digests = {load_source(config(path)).digest for path in (archive, folder, folder.parent, "")}
    assert len(digests) == 1


def test_the_package_is_fetched_once(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(tmp_path, monkeypatch, f'echo fetched >> {tmp_path}/log; cp {archive} "$4"/')
    kept = tmp_path / "cache" / "diffusion-shapley" / "openmoji-17.0.0.tgz"
    for _ in range(2):
        load_source(config())
    assert (tmp_path / "log").read_text() == "fetched\n"
    kept.write_bytes(kept.read_bytes()[:100])  # as a full disk leaves it
    load_source(config())
    assert (tmp_path / "log").read_text() == "fetched\nfetched\n"
    assert list(kept.parent.iterdir()) == [kept]
    assert kept.read_bytes() == archive.read_bytes()


def test_without_npm_it_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"npm, which is not installed here: install npm, or bring openmoji-17.0.0.tgz"):
        load_source(config())


def test_offline_it_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(tmp_path, monkeypatch, 'echo "npm warn old" >&2; echo "npm error code ENOTFOUND" >&2; exit 1')
    with pytest.raises(
        UserError, match=r"cannot bring openmoji@17.0.0 \(npm error code ENOTFOUND\): check the network"
    ):
        load_source(config())


def test_npm_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(openmoji, "_PATIENCE", 0.2)
    with pytest.raises(UserError, match=r"did not bring openmoji@17.0.0 in 0.2 s"):
        load_source(config())


def test_a_registry_with_another_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(tmp_path, monkeypatch, 'echo other > "$4"/openmoji-17.0.0.tgz')
    with pytest.raises(UserError, match=r"is not the openmoji-17.0.0.tgz that was published: it has 6 bytes"):
        load_source(config())
    assert not list((tmp_path / "cache").rglob("*.tgz"))


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"cannot write.*permission is denied"):
        load_source(config())


def test_truncated_changed_and_missing_archives_are_told(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-9])
    with pytest.raises(UserError, match=r"bytes instead of .*get it again from npm \(npm pack openmoji@17.0.0\)"):
        load_source(config(archive))
    archive.write_bytes(whole[:-1] + bytes([whole[-1] ^ 255]))
    with pytest.raises(UserError, match=r"its SHA-256 is"):
        load_source(config(archive))
    with pytest.raises(UserError, match="there is no archive"):
        load_source(config(tmp_path / "none.tgz"))


def test_a_folder_of_another_version_or_kind_is_told(tmp_path: Path) -> None:
    content = files()
    content["data/openmoji.json"] = json.dumps(json.loads(content["data/openmoji.json"])[1:]).encode()
    with pytest.raises(UserError, match=r"lists 7 emoji instead of 8; get it from npm"):
        load_source(config(unpacked(tmp_path / "older", content)))
    with pytest.raises(UserError, match=r"lists 0 emoji instead of 8"):
        load_source(config(tmp_path))
    content["data/openmoji.json"] = content["data/openmoji.json"][:50]
    with pytest.raises(UserError, match=r"openmoji.json cannot be read \(.*\); get it from npm"):
        load_source(config(unpacked(tmp_path / "cut", content)))


def test_missing_and_damaged_drawings_are_told(tmp_path: Path) -> None:
    content = files()
    del content["color/svg/1F600.svg"]
    content["color/svg/1F44D.svg"] = b"<svg"
    with pytest.raises(UserError, match=r"2 of 7 images cannot be read: '1F600.svg' \(there is no such file\)"):
        load_source(config(unpacked(tmp_path / "holes", content)))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real package, where npm reaches its registry."""
    folder = tmp_path_factory.mktemp("npm")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    packed = subprocess.run(["npm", "pack", openmoji.PACKAGE], cwd=folder, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip("npm does not reach its registry")
    return folder / "openmoji-17.0.0.tgz"


def test_the_real_package(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real checksum and count
    dataset = load_source(config(real, resolution=32, min_images=20))
    with tarfile.open(real) as tar:
        index = json.load(tar.extractfile("package/data/openmoji.json"))  # type: ignore[arg-type]
    plain = [entry for entry in index if not entry["skintone"]]
    assert len(plain) == sum(dataset.n_images.values()) == 2465
    assert dataset.n_images["Ferdinand Sorg"] == sum(e["openmoji_author"] == "Ferdinand Sorg" for e in plain) == 204
    assert len(dataset.contributors) == 44
    assert min(n for name, n in dataset.n_images.items() if name != "others") >= 20
    images = dataset.images()
    assert (images[:, [0, 0, -1, -1], [0, -1, 0, -1]] >= 250).all(), "every emoji has white corners"
    assert (images.reshape(len(images), -1).min(axis=1) < 250).all(), "no emoji is blank"
