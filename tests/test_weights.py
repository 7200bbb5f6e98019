"""Weights that are one file, their digest, and what is damaged or no weights at all."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from shapley_core.errors import UserError
from shapley_core.storage import open_store
from shapley_core.weights import fetch_weights, fetch_weights_file, read_tensors, tensor_shapes, weights_digest

TENSORS = {"weight": np.arange(6, dtype=np.float32).reshape(1, 6), "bias": np.ones(1, np.float32)}


@pytest.fixture
def folder(tmp_path):
    """A folder with one file of weights and something beside it."""
    folder = tmp_path / "head"
    folder.mkdir()
    save_file(TENSORS, folder / "model.safetensors")
    (folder / "README.md").write_text("Weights.")
    return folder


def test_a_file_is_named_by_itself_or_by_its_folder(folder):
    file = folder / "model.safetensors"
    assert fetch_weights_file(str(file)) == fetch_weights_file(str(folder)) == file


def test_of_a_folder_the_file_must_be_clear(folder, tmp_path):
    torch.save({}, folder / "pickled.pth")
    assert fetch_weights_file(str(folder)).name == "model.safetensors"  # what needs no unpickling goes first
    save_file(TENSORS, folder / "other.safetensors")
    with pytest.raises(UserError, match=r"must hold one file of weights.*has model\.safetensors, other\.safetensors"):
        fetch_weights_file(str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"must hold one file of weights, \.safetensors or \.pth, and has none"):
        fetch_weights_file(f"{tmp_path}/empty")
    with pytest.raises(UserError, match=r"there is no file .*/nothing\.pth with weights"):
        fetch_weights_file(f"{tmp_path}/nothing.pth")
    with pytest.raises(UserError, match="there is no folder /nowhere with weights"):
        fetch_weights_file("/nowhere")


def test_a_file_in_a_bucket_is_fetched_alone_and_once(folder, s3_bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = open_store(f"s3://{s3_bucket}/heads/mine")
    for name in ("head.safetensors", "head.safetensors.md5", "pytorch_model.bin"):
        store.upload(name, folder / "model.safetensors")
    reference = f"s3://{s3_bucket}/heads/mine/head.safetensors"
    fetched = fetch_weights_file(reference)
    assert fetched.read_bytes() == (folder / "model.safetensors").read_bytes()
    assert [path.name for path in fetched.parent.iterdir()] == ["head.safetensors"]
    written = fetched.stat().st_mtime_ns
    assert fetch_weights_file(reference) == fetched
    assert fetch_weights_file(f"s3://{s3_bucket}/heads/mine") == fetched
    assert [path.name for path in fetched.parent.iterdir()] == ["head.safetensors"]
    assert fetched.stat().st_mtime_ns == written
    with pytest.raises(UserError, match=rf"no weights under s3://{s3_bucket}/heads/mine/other\.pth"):
        fetch_weights_file(f"s3://{s3_bucket}/heads/mine/other.pth")


def test_a_name_that_promises_a_digest_is_held_to_it(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "net.pth")
    content = (tmp_path / "net.pth").read_bytes()
    good = tmp_path / f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    good.write_bytes(content)
    assert fetch_weights_file(str(good)) == good
    good.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"net-\w{8}\.pth is damaged: its SHA-256 does not begin with"):
        fetch_weights_file(str(good))


def test_the_digest_of_a_file_is_its_sha_256(folder):
    file = folder / "model.safetensors"
    assert weights_digest(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_digest_of_a_folder_is_of_what_decides_and_not_of_where_it_stands(folder):
    (folder / "config.json").write_text("{}")
    (folder / "preprocessor_config.json").write_text('{"size": 32}')
    first = weights_digest(folder)
    (folder / "README.md").write_text("Other words.")
    assert weights_digest(folder) == first
    moved = folder.rename(folder.with_name("elsewhere"))
    assert weights_digest(moved) == first
    digests = {first}
    for name, content in (
        ("config.json", b'{"a": 1}'),
        ("preprocessor_config.json", b'{"size": 64}'),
        ("model.safetensors", b"other weights"),
        ("more.safetensors", b""),
    ):
        (moved / name).write_bytes(content)
        digests.add(weights_digest(moved))
    assert len(digests) == 5


def test_tensors_of_safetensors_and_of_a_state_dict_are_the_same(folder):
    torch.save({name: torch.from_numpy(tensor) for name, tensor in TENSORS.items()}, folder / "head.pth")
    for name in ("model.safetensors", "head.pth"):
        read = read_tensors(folder / name)
        assert read.keys() == TENSORS.keys()
        for key, tensor in TENSORS.items():
            np.testing.assert_array_equal(read[key], tensor)
    assert tensor_shapes(folder / "model.safetensors") == {"weight": (1, 6), "bias": (1,)}


class Attack:
    """What writes a file when it is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_but_tensors_is_unpickled(tmp_path):
    written = tmp_path / "written"
    for content in (Attack(written), {"weight": Attack(written)}, [1, 2], {"a": 1.5}, torch.nn.Linear(2, 1)):
        torch.save(content, tmp_path / "bad.pth")
        with pytest.raises(UserError, match=r"bad\.pth cannot be read as weights"):
            read_tensors(tmp_path / "bad.pth")
    assert not written.exists()
    torch.load(tmp_path / "bad.pth", weights_only=False)  # it is the reader that refuses, not the file that is broken
    torch.save(Attack(written), tmp_path / "bad.pth")
    torch.load(tmp_path / "bad.pth", weights_only=False)
    assert written.exists()


@pytest.mark.parametrize("read", [read_tensors, tensor_shapes])
def test_a_damaged_file_is_told(read, folder):
    whole = (folder / "model.safetensors").read_bytes()
    for content in (b"", whole[:4], whole[:-3], b"<html>Not found</html>" * 9):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=r"model\.safetensors cannot be read as weights .*whole safetensors file"):
            read(folder / "model.safetensors")


def test_a_damaged_state_dict_is_told(tmp_path):
    torch.save({"a": torch.ones(9)}, tmp_path / "net.pth")
    whole = (tmp_path / "net.pth").read_bytes()
    for content in (b"", whole[:100], whole[:-30], b"<html>Not found</html>", pickle.dumps({"a": 1}, protocol=2)):
        (tmp_path / "net.pth").write_bytes(content)
        with pytest.raises(UserError, match=r"net\.pth cannot be read as weights"):
            read_tensors(tmp_path / "net.pth")


def test_a_folder_is_taken_as_it_is(folder):
    assert fetch_weights(str(folder)) == folder
