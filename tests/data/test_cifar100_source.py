"""The CIFAR-100 archive: its Python 2 pickles, the two choices of classes, and archives that must not be used."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.data.sources import cifar100, load_source
from shapley_core.errors import UserError

#: All 100 classes; the archive numbers them in alphabetical order.
NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
""".split()  # noqa: SIM905

#: Numbers of the fine classes of the superclasses 8, 2, 5 and 18, as the archive's coarse labels have them.
LARGE_CARNIVORES = {3, 42, 43, 88, 97}
FLOWERS = {54, 62, 70, 82, 92}
HOUSEHOLD_ELECTRICAL_DEVICES = {22, 39, 40, 86, 87}
VEHICLES_1 = {8, 13, 48, 58, 90}


def python2(value: object) -> bytes:
    """The opcodes by which Python 2 pickled a value (protocol 2): text as byte strings, arrays as numpy 1 did."""
    match value:
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"J" + struct.pack("<i", value)
        case bytes():
            return b"T" + struct.pack("<i", len(value)) + value
        case tuple():
            return b"(" + b"".join(map(python2, value)) + b"t"
        case list():
            return b"](" + b"".join(map(python2, value)) + b"e"
        case dict():
            return b"}(" + b"".join(python2(key) + python2(item) for key, item in value.items()) + b"u"
        case None:
            return b"N"
        case np.ndarray():
            empty = b"cnumpy\nndarray\n" + python2((0,)) + python2(b"b")
            dtype = b"cnumpy\ndtype\n" + python2((b"u1", 0, 1)) + b"R"
            dtype += python2((3, b"|", None, None, None, -1, -1, 0)) + b"b"
            state = python2(1) + python2(value.shape) + dtype + python2(False) + python2(value.tobytes())
            return b"cnumpy.core.multiarray\n_reconstruct\n(" + empty + b"tR(" + state + b"tb"
    raise TypeError(type(value))


def pickled(value: object) -> bytes:
    return b"\x80\x02" + python2(value) + b"."


def images(per_class: int = 2) -> tuple[np.ndarray, list[int]]:
    labels = [number for number in range(100) for _ in range(per_class)]
    return np.random.default_rng(0).integers(0, 256, (len(labels), 3072), dtype=np.uint8), labels


def write_archive(path: Path, train: bytes, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """An archive of the published form, which is taken for the published one."""
    meta = pickled({b"fine_label_names": [name.encode() for name in NAMES]})
    with tarfile.open(path, "w:gz") as tar:
        for name, data in [("train", train), ("test", b"not read"), ("meta", meta)]:
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    data = path.read_bytes()
    known = replace(cifar100.ARCHIVE, n_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(cifar100, "ARCHIVE", known)
    return config(path)


def config(path: Path, classes: str = "paper", resolution: int = 32, mode: str = "RGB") -> DataConfig:
    return DataConfig.model_validate(
        {
            "source": "cifar100",
            "path": str(path),
            "resolution": resolution,
            "mode": mode,
            "cifar100": {"classes": classes},
        }
    )


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data, labels = images()
    train = pickled({b"filenames": [b"a.png"], b"batch_label": b"training", b"fine_labels": labels, b"data": data})
    write_archive(tmp_path / "cifar-100-python.tar.gz", train, monkeypatch)
    return tmp_path / "cifar-100-python.tar.gz"


def test_python_2_pickles_are_read_as_numpy_reads_them() -> None:
    data, labels = images()
    content = pickled({b"data": data, b"fine_labels": labels, b"nested": [(1, None), b"x"]})
    with np.testing.suppress_warnings() as sup:
        sup.filter(DeprecationWarning)
        theirs = pickle.loads(content, encoding="bytes")  # noqa: S301
    ours = cifar100.unpickle(content, "x")
    np.testing.assert_array_equal(ours[b"data"].values, theirs[b"data"])
    assert {key: ours[key] for key in (b"fine_labels", b"nested")} == {
        key: theirs[key] for key in (b"fine_labels", b"nested")
    }


@pytest.mark.parametrize(
    ("classes", "numbers"),
    [
        ("paper", LARGE_CARNIVORES | FLOWERS | HOUSEHOLD_ELECTRICAL_DEVICES | VEHICLES_1),
        ("authors", {*range(40, 45), *range(55, 65), *range(80, 85)}),
    ],
)
def test_the_classes_are_those_named(archive: Path, classes: str, numbers: set[int]) -> None:
    dataset = load_source(config(archive, classes))
    assert set(dataset.contributors) == {NAMES[number] for number in numbers}
    assert set(dataset.n_images.values()) == {2}
    assert dataset.label_names == tuple(sorted(NAMES[number] for number in numbers))
    assert dataset.source["licence"]
    assert dataset.source["origin"].startswith("https://")


def test_pixels_are_those_of_the_archive(archive: Path, tmp_path: Path) -> None:
    load_source(config(archive)).save(tmp_path / "out")
    found = ContributorDataset.load(tmp_path / "out").images(["leopard"])
    data, labels = images()
    rows = data[np.array(labels) == NAMES.index("leopard")]
    # A row is the red plane, then the green and the blue one, each row by row.
    expected = {bytes(row[offset + i] for i in range(1024) for offset in (0, 1024, 2048)) for row in rows}
    assert {image.tobytes() for image in found} == expected


def test_another_resolution_and_grey(archive: Path) -> None:
    assert load_source(config(archive, resolution=16, mode="L")).images().shape == (40, 16, 16, 1)


def test_a_truncated_archive_is_told(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(
        UserError, match=r"is not the cifar-100-python.tar.gz.*bytes instead of.*get it again from http"
    ):
        load_source(config(archive))


def test_another_checksum_is_told(archive: Path) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match=r"its SHA-256 is [0-9a-f]{64} instead of [0-9a-f]{64}"):
        load_source(config(archive))


def test_the_checksum_is_that_of_the_published_archive() -> None:
    """As Keras and torchvision's prototype have it."""
    assert cifar100.ARCHIVE.n_bytes == 169_001_437
    assert cifar100.ARCHIVE.sha256 == "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"


def test_a_missing_archive_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no archive .*: get cifar-100-python.tar.gz from https"):
        load_source(config(tmp_path / "none.tar.gz"))
    with pytest.raises(UserError, match=r"cannot read the archive .*Is a directory"):
        load_source(config(tmp_path))


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    target = tmp_path / "was run"
    train = pickle.dumps([Evil(target)], protocol)
    settings = write_archive(tmp_path / "evil.tar.gz", train, monkeypatch)
    with pytest.raises(UserError, match=r"asks for posix.system to be run.*do not use it"):
        load_source(settings)
    assert not target.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins\neval", "numpy\nload", "numpy.core.multiarray\nfromfile", "copyreg\n_reconstructor", "os\nsystem"],
)
def test_nothing_but_stand_ins_can_be_named(name: str) -> None:
    with pytest.raises(UserError, match="to be run"):
        cifar100.unpickle(b"\x80\x02c" + name.encode() + b"\n.", "x")


def test_arrays_of_objects_are_refused() -> None:
    content = pickled(np.zeros(2, np.uint8)).replace(b"T\x02\x00\x00\x00u1", b"T\x02\x00\x00\x00O8")
    with pytest.raises(ValueError, match="OBJECT"):
        cifar100.unpickle(content, "x")
