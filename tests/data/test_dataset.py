"""The contributor data set: what identifies the data, in which order it comes, and how it is kept on disk."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shapley_core.data.dataset import ContributorDataset, ImageRecord
from shapley_core.errors import UserError

HOSTILE = [
    "<script>alert(1)</script>",
    "two\nlines\tand \x00 control \x1b[31m characters",
    "n" * 300,
    "Zoë 北京 🎨 \u202ereversed",
    "../../etc/passwd",
    "' OR 1=1 --",
    "NA",
]


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Image.Image:
    channels = () if mode == "L" else (3,)
    shape = (size[1], size[0], *channels)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def dataset_of(*parts: tuple[str, list[int]], caption: str = "c", label: str = "7") -> ContributorDataset:
    records = [
        ImageRecord.encode(name, picture(seed), label=label, caption=caption) for name, seeds in parts for seed in seeds
    ]
    return ContributorDataset.from_records(records, {"source": "test"})


def test_image_hash_and_fingerprint_are_as_documented() -> None:
    grey = picture(1, "L")
    record = ImageRecord.encode("ann", grey, caption="a cat")
    before = b'["L", 6, 4, null, "a cat"]'
    assert record.hash == hashlib.sha256(before + np.asarray(grey).tobytes()).hexdigest()

    other = ImageRecord.encode("ann", picture(2, "L"), caption="a dog")
    dataset = ContributorDataset.from_records([record, other], {})
    lines = "\n".join(sorted([record.hash, other.hash]))
    fingerprint = hashlib.sha256(lines.encode()).hexdigest()
    assert dataset.fingerprints == {"ann": fingerprint}
    assert dataset.digest == hashlib.sha256(fingerprint.encode()).hexdigest()


def test_some_contributors_alone_are_the_data_set_without_the_rest(tmp_path: Path) -> None:
    def records(name: str, label: str) -> list[ImageRecord]:
        return [ImageRecord.encode(name, picture(ord(name[0]) + i), label=label, caption=name) for i in range(3)]

    parts = {
        "ann": records("ann", "10"),
        "bo": records("bo", "2"),
        "cy": records("cy", "9"),
        "dee": records("dee", "2"),
    }
    whole = ContributorDataset.from_records([record for part in parts.values() for record in part], {"source": "test"})
    whole.save(tmp_path)
    wanted = ContributorDataset.from_records(parts["ann"] + parts["cy"], {"source": "test"})
    for some in (whole.only(["cy", "ann"]), ContributorDataset.load(tmp_path).only(["cy", "ann"])):
        assert (some.digest, some.entries, some.label_names) == (wanted.digest, wanted.entries, ("9", "10"))
        assert some.captions == wanted.captions
        np.testing.assert_array_equal(some.labels, wanted.labels)
        np.testing.assert_array_equal(some.images(), wanted.images())
        np.testing.assert_array_equal(some.contributor_ids, wanted.contributor_ids)
    with pytest.raises(KeyError):
        whole.only(["eve"])


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(5)), st.text(min_size=1).filter(lambda s: s.isprintable()))
def test_fingerprint_depends_on_neither_order_nor_name(order: list[int], name: str) -> None:
    assert dataset_of((name, order)).fingerprints[name] == dataset_of(("ann", [0, 1, 2, 3, 4])).fingerprints["ann"]


def test_fingerprint_changes_with_pixel_caption_label_and_size() -> None:
    original = picture(0)
    values = np.array(original)
    values[3, 5, 2] ^= 1
    pixel = Image.fromarray(values)
    turned = Image.frombytes("RGB", (4, 6), original.tobytes())
    variants = [
        ImageRecord.encode("ann", original),
        ImageRecord.encode("ann", pixel),
        ImageRecord.encode("ann", turned),
        ImageRecord.encode("ann", original.convert("L")),
        ImageRecord.encode("ann", original, caption=""),
        ImageRecord.encode("ann", original, caption="x"),
        ImageRecord.encode("ann", original, label="x"),
        ImageRecord.encode("ann", original, label="y"),
    ]
    fingerprints = {ContributorDataset.from_records([r], {}).fingerprints["ann"] for r in variants}
    assert len(fingerprints) == len(variants)


def test_duplicate_images_count() -> None:
    once, twice = dataset_of(("ann", [1, 2])), dataset_of(("ann", [1, 2, 2]))
    assert once.fingerprints != twice.fingerprints
    assert twice.n_images == {"ann": 3}


def test_a_new_contributor_changes_nothing_for_the_others() -> None:
    before = dataset_of(("bob", [3, 4]), ("cyd", [5]))
    after = dataset_of(("ann", [9, 8, 7]), ("bob", [4, 3]), ("cyd", [5]), ("dan", [1]))
    assert before.fingerprints.items() <= after.fingerprints.items()
    assert before.digest != after.digest
    np.testing.assert_array_equal(before.images(["bob", "cyd"]), after.images(["cyd", "bob"]))
    np.testing.assert_array_equal(before.images(["bob"]), after.images(["bob"]))


def test_equal_data_have_equal_fingerprints_and_images() -> None:
    dataset = dataset_of(("ann", [1, 2]), ("bob", [2, 1]), ("cyd", [3]))
    assert dataset.fingerprints["ann"] == dataset.fingerprints["bob"] != dataset.fingerprints["cyd"]
    np.testing.assert_array_equal(dataset.images(["ann", "cyd"]), dataset.images(["bob", "cyd"]))
    renamed = dataset_of(("xaver", [3]), ("yves", [1, 2]), ("zoe", [1, 2]))
    assert renamed.digest == dataset.digest
    np.testing.assert_array_equal(renamed.images(), dataset.images())


def test_images_are_those_put_in_and_stand_by_fingerprint_then_hash() -> None:
    parts = {"ann": [1, 2, 3], "bob": [4], "cyd": [5, 6]}
    dataset = dataset_of(*parts.items())
    assert dataset.contributors == ("ann", "bob", "cyd")
    expected = []
    for name in sorted(parts, key=lambda name: dataset.fingerprints[name]):
        records = [ImageRecord.encode(name, picture(s), label="7", caption="c") for s in parts[name]]
        by_hash = sorted(zip([r.hash for r in records], parts[name], strict=True))
        expected += [np.asarray(picture(seed)) for _, seed in by_hash]
    images = dataset.images()
    assert images.dtype == np.uint8
    assert images.shape == (6, 4, 6, 3)
    np.testing.assert_array_equal(images, np.stack(expected))


def test_images_of_a_repeated_nobody_and_unknown_contributor() -> None:
    dataset = dataset_of(("ann", [1]), ("bob", [2, 3]))
    np.testing.assert_array_equal(dataset.images(["bob", "bob"]), dataset.images(["bob"]))
    assert dataset.images([]).shape == (0, 4, 6, 3)
    with pytest.raises(KeyError, match="eve"):
        dataset.images(["eve"])


def test_labels_and_captions_stand_beside_their_images() -> None:
    # The red value of an image is its label, so that the three can be compared.
    values = [10, 9, 2, 30, 4, 9]
    records = [
        ImageRecord.encode(f"c{i % 3}", Image.new("RGB", (2, 2), (v, i, 0)), label=str(v), caption=f"image {v}")
        for i, v in enumerate(values)
    ]
    dataset = ContributorDataset.from_records(records, {})
    assert dataset.label_names == ("2", "4", "9", "10", "30")
    assert dataset.labels is not None
    assert dataset.labels.dtype == np.int64
    red = dataset.images()[:, 0, 0, 0]
    assert [int(dataset.label_names[i]) for i in dataset.labels] == red.tolist()
    assert dataset.captions == tuple(f"image {v}" for v in red)


def test_labels_that_are_words_are_sorted_as_text() -> None:
    records = [ImageRecord.encode("ann", picture(i), label=name) for i, name in enumerate(["10", "9", "cat"])]
    assert ContributorDataset.from_records(records, {}).label_names == ("10", "9", "cat")


def test_without_labels_and_captions_there_are_none() -> None:
    dataset = ContributorDataset.from_records([ImageRecord.encode("ann", picture(1, "L"))], {})
    assert dataset.labels is None
    assert dataset.label_names == ()
    assert dataset.captions is None
    assert dataset.images().shape == (1, 4, 6, 1)


def test_images_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="agree"):
        ContributorDataset.from_records(
            [ImageRecord.encode("a", picture(1)), ImageRecord.encode("b", picture(1, size=(3, 3)))], {}
        )
    with pytest.raises(ValueError, match="agree"):
        ContributorDataset.from_records([], {})


def test_metadata_of_an_image_is_not_kept() -> None:
    image = picture(1)
    image.info.update(icc_profile=b"profile" * 100, transparency=(1, 2, 3))
    assert ImageRecord.encode("ann", image) == ImageRecord.encode("ann", picture(1))


def test_save_and_load_keep_everything(tmp_path: Path) -> None:
    names = [(name, [3 * i, 3 * i + 1]) for i, name in enumerate(HOSTILE)]
    saved = dataset_of(*names, caption=HOSTILE[0], label=HOSTILE[1])
    saved.save(tmp_path / "deep" / "data")
    loaded = ContributorDataset.load(tmp_path / "deep" / "data")
    assert loaded.contributors == tuple(sorted(HOSTILE))
    assert loaded.entries == saved.entries
    assert loaded.digest == saved.digest
    assert (loaded.mode, loaded.size, loaded.n_skipped) == ("RGB", (6, 4), 0)
    assert loaded.source == {"source": "test"}
    assert loaded.label_names == saved.label_names == (HOSTILE[1],)
    assert loaded.captions == saved.captions
    np.testing.assert_array_equal(loaded.labels, saved.labels)
    np.testing.assert_array_equal(loaded.images(), saved.images())
    assert [p.name for p in tmp_path.rglob("*") if p.is_dir()] == ["deep", "data"]


def test_the_folder_is_one_that_datasets_opens(tmp_path: Path) -> None:
    saved = dataset_of(("bob", [1, 2]), ("ann", [3]))
    saved.save(tmp_path)
    opened = datasets.load_from_disk(str(tmp_path))
    assert opened.features["image"] == datasets.Image()
    assert opened.features["label"].names == ["7"]
    assert opened["contributor"][:] == ["ann", "bob", "bob"]
    np.testing.assert_array_equal(np.asarray(opened[0]["image"]), np.asarray(picture(3)))
    kinds = {path.suffix for path in tmp_path.iterdir()}
    assert kinds == {".arrow", ".json"}


def test_many_shards_are_loaded_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "MAX_SHARD_SIZE", "20KB")
    saved = dataset_of(*[(f"c{i:02}", list(range(20 * i, 20 * i + 20))) for i in range(12)])
    saved.save(tmp_path)
    assert len(list(tmp_path.glob("data-*.arrow"))) > 1
    np.testing.assert_array_equal(ContributorDataset.load(tmp_path).images(), saved.images())


def test_saving_again_replaces_also_when_loaded_from_there(tmp_path: Path) -> None:
    dataset_of(("ann", [1]), ("bob", [2])).save(tmp_path)
    other = dataset_of(("ann", [5, 6]), ("bob", [7]))
    other.save(tmp_path)
    loaded = ContributorDataset.load(tmp_path)
    loaded.save(tmp_path)
    again = ContributorDataset.load(tmp_path)
    assert again.entries == other.entries
    np.testing.assert_array_equal(again.images(), other.images())


def test_a_killed_save_is_incomplete(tmp_path: Path) -> None:
    """Kill a save between the images and contributors.json, over a complete former one."""
    dataset_of(("ann", [1]), ("bob", [2])).save(tmp_path)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from shapley_core.data.dataset import ContributorDataset\n"
        "data = ContributorDataset.load(Path(sys.argv[1]))\n"
        "def audit(event, args):\n"
        "    if event == 'open' and str(args[0]).endswith('contributors.tmp'): os._exit(9)\n"
        "sys.addaudithook(audit)\n"
        "data.save(Path(sys.argv[1]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert result.returncode == 9
    assert list(tmp_path.glob("data-*.arrow"))
    with pytest.raises(UserError, match=r"contributors.json is missing"):
        ContributorDataset.load(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": {"data-00000-of-00001.arrow": "x"}}', "\udcff"])
def test_a_broken_index_is_told(tmp_path: Path, content: str) -> None:
    dataset_of(("ann", [1]), ("bob", [2])).save(tmp_path)
    (tmp_path / "contributors.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match="damaged"):
        ContributorDataset.load(tmp_path)


def test_broken_images_are_told(tmp_path: Path) -> None:
    dataset_of(("ann", [1]), ("bob", [2])).save(tmp_path)
    (arrow,) = tmp_path.glob("data-*.arrow")
    whole = arrow.read_bytes()
    arrow.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=r"damaged.*bytes it was written with"):
        ContributorDataset.load(tmp_path)
    arrow.write_bytes(b"\xff" * len(whole))
    with pytest.raises(UserError, match="damaged"):
        ContributorDataset.load(tmp_path)
    arrow.unlink()
    with pytest.raises(UserError, match="arrow is missing"):
        ContributorDataset.load(tmp_path)
    with pytest.raises(UserError, match="complete contributor data set"):
        ContributorDataset.load(tmp_path / "elsewhere")


def test_an_index_with_other_counts_is_told(tmp_path: Path) -> None:
    dataset_of(("ann", [1]), ("bob", [2])).save(tmp_path)
    index = json.loads((tmp_path / "contributors.json").read_text())
    index["contributors"].pop()
    (tmp_path / "contributors.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="there are 2 images"):
        ContributorDataset.load(tmp_path)


@pytest.mark.parametrize("name", ["contributors.tmp", "dataset_info.json"])
def test_a_full_disk_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/full")  # Linux: every write fails as on a full disk
    with pytest.raises(UserError, match=r"cannot write.*the disk is full"):
        dataset_of(("ann", [1]), ("bob", [2])).save(tmp_path)
    with pytest.raises(UserError, match="complete contributor data set"):
        ContributorDataset.load(tmp_path)


def test_opening_a_data_set_imports_neither_datasets_nor_torch(tmp_path: Path) -> None:
    dataset_of(("ann", [1]), ("bob", [2])).save(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from shapley_core.data.dataset import ContributorDataset\n"
        "ContributorDataset.load(Path(sys.argv[1])).images()\n"
        "sys.exit(bool({'datasets', 'torch', 'pandas', 'sklearn'} & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0
