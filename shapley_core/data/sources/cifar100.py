"""CIFAR-100 (Krizhevsky 2009): 32x32 colour photographs, one contributor and label per class.

The paper (§4.1, appendix A) takes each class for the work of one labeler and values the 20 classes of four
superclasses, 10,000 training images: CIFAR-20. Read from the published archive ``cifar-100-python.tar.gz``, which holds
Python 2 pickles: ``train``, a dictionary of ``data`` (uint8, one row of 3 x 32 x 32 per image, red first) and
``fine_labels``, and ``meta``, the names of classes.
"""

import io
import pickle
from typing import Any

import numpy as np
from PIL import Image

from shapley_core.config import DataConfig
from shapley_core.data.dataset import ContributorDataset, ImageRecord
from shapley_core.data.sources.archive import Archive, members
from shapley_core.errors import UserError

ARCHIVE = Archive(
    name="cifar-100-python.tar.gz",
    n_bytes=169_001_437,
    sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    origin="https://www.cs.toronto.edu/~kriz/cifar.html",
)
LICENCE = (
    "none stated; the authors ask to cite Krizhevsky (2009), Learning multiple layers of features from tiny images"
)

#: Classes by the name that ``data.cifar100.classes`` gives their choice. The authors' code keeps the class numbers
#: 40-44, 55-64 and 80-84 (src/datasets.py), which are not those of the superclasses that the paper names.
CLASSES = {
    "paper": (
        # large carnivores, flowers, household electrical devices, vehicles 1
        *("bear", "leopard", "lion", "tiger", "wolf"),
        *("orchid", "poppy", "rose", "sunflower", "tulip"),
        *("clock", "keyboard", "lamp", "telephone", "television"),
        *("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    ),
    "authors": (
        *("lamp", "lawn_mower", "leopard", "lion", "lizard"),
        *("otter", "palm_tree", "pear", "pickup_truck", "pine_tree"),
        *("plain", "plate", "poppy", "porcupine", "possum"),
        *("squirrel", "streetcar", "sunflower", "sweet_pepper", "table"),
    ),
}


def load(config: DataConfig) -> ContributorDataset:
    """The training images of the chosen classes, at ``config.resolution`` (Lanczos where it is not 32).

    Raises:
        UserError: ``config.path`` is not the published archive, or a pickle in it asks for code to be run.
    """
    archive = members(ARCHIVE.read(config.path), lambda name: name.endswith(("/train", "/meta")))
    train, meta = (unpickle(archive[f"cifar-100-python/{name}"], config.path) for name in ("train", "meta"))
    names = [name.decode() for name in meta[b"fine_label_names"]]
    chosen = {names.index(name): name for name in CLASSES[config.cifar100.classes]}
    records = []
    for row, number in zip(train[b"data"].values, train[b"fine_labels"], strict=True):
        if (name := chosen.get(number)) is not None:
            pixels = np.ascontiguousarray(row.reshape(3, 32, 32).transpose(1, 2, 0))
            image = Image.fromarray(pixels).convert(config.mode)
            # Pillow returns the very pixels where the size is already right.
            image = image.resize((config.resolution, config.resolution), Image.Resampling.LANCZOS)
            records.append(ImageRecord.encode(name, image, label=name))
    return ContributorDataset.from_records(
        records, {"source": "cifar100", "path": config.path, "origin": ARCHIVE.origin, "licence": LICENCE}
    )


def unpickle(data: bytes, path: str) -> Any:
    """The containers, numbers, bytes and :class:`Array` of a pickle; no code named in it is ever run.

    Raises:
        UserError: the pickle names anything but a numpy array.
    """
    return _Unpickler(io.BytesIO(data), path).load()


class Array:
    """Stands in for a numpy array while a pickle is read: numpy's own way to restore one trusts what it is given.

    Attributes:
        values: the array.
    """

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: tuple[int, tuple[int, ...], "_DType", bool, bytes]) -> None:
        _, shape, dtype, is_fortran, content = state
        self.values = np.frombuffer(content, dtype.name).reshape(shape, order="F" if is_fortran else "C")


class _DType:
    """Stands in for a numpy dtype by its name; ``frombuffer`` refuses those that hold references to objects."""

    def __init__(self, name: bytes, *_: object) -> None:
        self.name = name.decode()

    def __setstate__(self, state: object) -> None: ...


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): _DType,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, path: str) -> None:
        super().__init__(file, encoding="bytes")  # Python 2 wrote its strings as bytes
        self._path = path

    def find_class(self, module: str, name: str) -> type:
        """The stand-in for a numpy name; every other name is refused."""
        if stand_in := _STAND_INS.get((module, name)):
            return stand_in
        raise UserError(
            f"the archive {self._path} asks for {module}.{name} to be run, which no data set needs: do not use it, and "
            f"get {ARCHIVE.name} again from {ARCHIVE.origin}."
        )
