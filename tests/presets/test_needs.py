"""What a preset needs and is not there: one sentence, before anything is trained."""

import json
from functools import partial

import networks
import pytest
import torch

from pipelines import cli, local
from shapley_core.config import resolve
from shapley_core.errors import UserError
from shapley_core.stages.coalition_models import coalitions_at_once
from shapley_core.stages.needs import check_given_autoencoder, check_hardware
from shapley_core.stages.prepare import prepare
from shapley_core.stages.train import train

#: The optimiser that runs everywhere, in place of the paper's for CelebA-HQ.
ANYWHERE = {f"{part}.optimizer": "adam" for part in ("training", "pruning.finetuning", "finetuning")}


@pytest.fixture(autouse=True)
def empty_folder_without_cuda(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def told(preset, overrides, tmp_path):
    """What prepare says; nothing has been written then."""
    out = tmp_path / "out"
    with pytest.raises(UserError) as caught:
        prepare(
            preset, overrides, str(tmp_path / "store"), dataset=out / "data", config=out / "config", log=out / "log"
        )
    assert not out.exists()
    return str(caught.value)


def test_cifar20_without_its_archive(tmp_path):
    sentence = told("cifar20", {}, tmp_path)
    assert "there is no archive data/cifar-100-python.tar.gz" in sentence
    assert "https://www.cs.toronto.edu" in sentence


def vqvae(folder, kind="VQModel", weights="diffusion_pytorch_model.safetensors"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"_class_name": kind}))
    if weights:
        (folder / weights).write_bytes(b"")


def test_celebahq_without_its_autoencoder(tmp_path):
    sentence = told("celebahq", ANYWHERE, tmp_path)
    assert "no folder ./data/ldm-celebahq-256/vqvae" in sentence
    assert "model.autoencoder.weights" in sentence
    assert "docs/presets.md" in sentence


def test_celebahq_without_its_images(tmp_path):
    vqvae(tmp_path / "data/ldm-celebahq-256/vqvae")
    assert "data/celebahq" in told("celebahq", ANYWHERE, tmp_path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (partial(vqvae, kind="AutoencoderKL"), "is AutoencoderKL, and latent diffusion takes a VQModel"),
        (partial(vqvae, weights=None), "has no diffusion_pytorch_model.safetensors"),
        (partial(vqvae, weights="diffusion_pytorch_model.bin"), "pickled weights are not read"),
        (lambda folder: folder.mkdir(parents=True), "config.json is missing"),
    ],
)
def test_an_autoencoder_that_cannot_be_used(make, said, tmp_path):
    make(tmp_path / "data/ldm-celebahq-256/vqvae")
    with pytest.raises(UserError, match=said):
        check_given_autoencoder(resolve("celebahq"))


@pytest.mark.parametrize("part", sorted(ANYWHERE))
def test_a_preset_that_asks_for_cuda_where_there_is_none(part):
    with pytest.raises(UserError, match="needs a GPU with CUDA, and there is none here"):
        check_hardware(resolve("celebahq", {**ANYWHERE, part: "adam8bit"}))
    check_hardware(resolve("celebahq", ANYWHERE))


def test_the_command_line_says_so_at_once(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--preset", "celebahq", "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    sentence = " ".join(capsys.readouterr().err.split())
    assert sentence.startswith("error: the optimizer adam8bit needs a GPU with CUDA")
    assert "choose adam or adamw" in sentence
    assert not (tmp_path / "run").exists()


def test_the_machine_that_trains_says_so_before_it_trains(tmp_path, monkeypatch):
    """The one that prepares may be another, in a cluster, and have no GPU."""
    monkeypatch.setattr("shapley_core.training.loop.DiffusionTrainer.run", lambda *_, **__: pytest.fail("it trains"))
    data, config, store = tmp_path / "data", tmp_path / "config", str(tmp_path / "store")
    prepare("digits", {"finetuning.optimizer": "adam8bit"}, store, dataset=data, config=config, log=tmp_path / "log")
    with pytest.raises(UserError, match="needs a GPU with CUDA"):
        train(data, config, store, model=tmp_path / "model", log=tmp_path / "train log")


def test_eight_bits_train_one_coalition_at_a_time():
    """Their state is rounded in blocks, so that coalitions in one network would change each other's results."""
    unet = networks.tiny_unet()
    assert coalitions_at_once(resolve("digits", {"run.copies": 4}), unet) == 4
    assert coalitions_at_once(resolve("digits", {"run.copies": 4, "finetuning.optimizer": "adam8bit"}), unet) == 1


def test_artbench_without_its_base_model(tmp_path):
    sentence = told("artbench", {"model.lora.base.weights": "./data/miniSD"}, tmp_path)
    assert "there is no folder ./data/miniSD with weights" in sentence


def test_null_reaches_the_tasks(tmp_path, monkeypatch):
    """Kubeflow carries no null: the overrides that the tasks get must still mean it."""
    handed = {}

    def keep(package, arguments, *_):
        handed.update(arguments)
        raise UserError("far enough")

    monkeypatch.setattr(local, "run_pipeline", keep)
    optimizers = [word for key in ANYWHERE for word in ("--set", f"{key}=null")]
    with pytest.raises(SystemExit):
        cli.main(["run", "--preset", "celebahq", *optimizers, "--out", str(tmp_path / "run")])
    assert None not in handed["overrides"].values()
    assert resolve("celebahq", handed["overrides"]).finetuning.optimizer is None
