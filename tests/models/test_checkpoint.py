"""Checkpoints: a network comes back bit for bit, from json and safetensors alone."""

import json
import pickle
import shutil

import networks
import pytest
import torch
from diffusers import UNet2DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from shapley_core.config import GenerationConfig, NoiseScheduleConfig
from shapley_core.errors import UserError
from shapley_core.models.checkpoint import load_unet, n_parameters, save_unet
from shapley_core.models.sampling import sample
from shapley_core.pruning.unet import prune_unet
from shapley_core.stages.keeping import checkpoint_digest

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    unet = networks.tiny_unet(attention=True)
    folder = tmp_path_factory.mktemp("saved")
    save_unet(unet, folder, prune_unet(unet, 0.3))
    return folder


@pytest.fixture
def pruned(saved, tmp_path):
    """The folder of a pruned network with attention, to do anything with."""
    return shutil.copytree(saved, tmp_path / "pruned")


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.7])
def test_a_network_comes_back_bit_for_bit(attention, ratio, tmp_path):
    unet = networks.tiny_unet(attention, mode="RGB")
    save_unet(unet, tmp_path, prune_unet(unet, ratio))
    loaded = load_unet(tmp_path)
    assert torch.equal(networks.predict(loaded), networks.predict(unet))
    assert loaded.state_dict().keys() == unet.state_dict().keys()
    assert n_parameters(loaded) == n_parameters(unet)


def test_a_loaded_network_can_be_saved_again(pruned, tmp_path):
    unet = load_unet(pruned)
    save_unet(unet, tmp_path / "again", [tuple(step) for step in json.loads((pruned / "pruning.json").read_text())])
    assert torch.equal(networks.predict(load_unet(tmp_path / "again")), networks.predict(unet))
    assert checkpoint_digest(tmp_path / "again") == checkpoint_digest(pruned)


def test_a_network_that_was_sampled_from_can_be_saved(tmp_path):
    # Sampling lays the weights out with channels last.
    unet = networks.tiny_unet()
    expected = networks.predict(unet)
    sample(unet, NoiseScheduleConfig(), GenerationConfig(n_images=2, n_steps=1), seed=0)
    save_unet(unet, tmp_path)
    assert torch.equal(networks.predict(load_unet(tmp_path)), expected)


def test_files_are_those_that_diffusers_writes(tmp_path):
    unet = networks.tiny_unet()
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    save_unet(unet, ours)
    unet.save_pretrained(theirs)
    assert {path.name: path.read_bytes() for path in ours.iterdir()} == {
        path.name: path.read_bytes() for path in theirs.iterdir()
    }


def test_diffusers_reads_what_was_not_pruned_and_the_other_way_round(tmp_path):
    unet = networks.tiny_unet(attention=True)
    save_unet(unet, tmp_path / "ours")
    theirs = UNet2DModel.from_pretrained(tmp_path / "ours")
    assert torch.equal(networks.predict(theirs), networks.predict(unet))
    theirs.save_pretrained(tmp_path / "theirs")
    assert torch.equal(networks.predict(load_unet(tmp_path / "theirs")), networks.predict(unet))


def test_there_is_nothing_but_json_and_safetensors(pruned):
    assert sorted(path.name for path in pruned.iterdir()) == ["config.json", WEIGHTS, "pruning.json"]
    for name in ("config.json", "pruning.json"):
        json.loads((pruned / name).read_text())
    with safe_open(pruned / WEIGHTS, "pt") as weights:
        assert set(weights.keys()) == set(load_unet(pruned).state_dict())


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (self.trace, "w"))


@pytest.mark.parametrize("name", [WEIGHTS, "diffusion_pytorch_model.bin", "pruning.json", "config.json"])
def test_a_pickle_is_never_opened(name, pruned, tmp_path):
    trace = tmp_path / "unpickled"
    if name.endswith(".bin"):
        (pruned / WEIGHTS).unlink()
    (pruned / name).write_bytes(pickle.dumps(Trap(str(trace))))
    with pytest.raises(UserError):
        load_unet(pruned)
    assert not trace.exists()
    pickle.loads((pruned / name).read_bytes()).close()  # noqa: S301 - shows that the trap works
    assert trace.exists()


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def other_weights(path):
    save_file(networks.tiny_unet().state_dict(), path)


def one_weight_short(path):
    weights = load_file(path)
    del weights["conv_out.bias"]
    save_file(weights, path)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (WEIGHTS, cut),
        (WEIGHTS, lambda path: path.write_bytes(b"")),
        (WEIGHTS, other_weights),
        (WEIGHTS, one_weight_short),
        ("config.json", cut),
        ("config.json", lambda path: path.write_text(path.read_text().replace("DownBlock2D", "SidewaysBlock2D"))),
        ("pruning.json", cut),
        ("pruning.json", lambda path: path.unlink()),
        ("pruning.json", lambda path: path.write_text('[["nowhere", true, [1]]]')),
        ("pruning.json", lambda path: path.write_text(json.dumps(json.loads(path.read_text())[1:]))),
    ],
)
def test_a_damaged_checkpoint_is_told_with_its_folder(name, damage, pruned):
    damage(pruned / name)
    with pytest.raises(UserError) as caught:
        load_unet(pruned)
    assert f"the UNet in {pruned} is damaged, or its files do not belong together" in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_a_folder_without_a_network(name, pruned):
    (pruned / name).unlink()
    with pytest.raises(UserError, match=f"{pruned} holds no UNet"):
        load_unet(pruned)


def test_the_digest_names_the_network_and_not_the_folder(pruned, tmp_path):
    shutil.copytree(pruned, tmp_path / "elsewhere")
    digest = checkpoint_digest(pruned)
    assert checkpoint_digest(tmp_path / "elsewhere") == digest
    assert len(digest) == 16 and int(digest, 16) >= 0
    config = pruned / "config.json"
    noted = {**json.loads(config.read_text()), "_name_or_path": "somewhere"}
    config.write_text(json.dumps(noted))  # what diffusers writes beside the architecture does not count
    assert checkpoint_digest(pruned) == digest


def change_one_weight(folder):
    weights = load_file(folder / WEIGHTS)
    flat = weights["conv_in.weight"].view(-1)
    flat[3] = torch.nextafter(flat[3], torch.tensor(torch.inf))
    save_file(weights, folder / WEIGHTS)


def change_the_architecture(folder):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"silu"', '"gelu"'))


def change_the_history(folder):
    (folder / "pruning.json").unlink()


@pytest.mark.parametrize("change", [change_one_weight, change_the_architecture, change_the_history])
def test_the_digest_changes_with_the_network(change, pruned):
    before = checkpoint_digest(pruned)
    change(pruned)
    assert checkpoint_digest(pruned) != before


def test_parameters_by_hand():
    assert n_parameters(torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.GroupNorm(1, 5))) == 3 * 5 + 5 + 2 * 5
