"""A whole valuation with a LoRA adapter: an own base model, a given one, and what is refused before any training."""

import json
import shutil
from pathlib import Path

import captioned
import numpy as np
import pandas as pd
import pytest
import torch
from attributions import attributed
from captioned import lora_overrides, save_base
from safetensors.torch import load_file

from shapley_core.config import resolve
from shapley_core.errors import UserError
from shapley_core.models.stable_diffusion import tokenize
from shapley_core.stages import sample_space
from shapley_core.stages.chain import Chain, value
from shapley_core.stages.own_base import captioned as with_captions


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return lora_overrides(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def valued(tmp_path_factory: pytest.TempPathFactory, overrides: dict[str, object]) -> Path:
    torch.set_num_threads(1)
    return value(tmp_path_factory.mktemp("lora"), overrides)


def given(overrides: dict[str, object], base: Path | str) -> dict[str, object]:
    """The same with a given base model."""
    described = ("model.autoencoder", "model.lora.base", "model.block", "model.down", "model.up")
    return {
        "model.block_out_channels": [],
        "model.down_block_types": [],
        "model.up_block_types": [],
        "model.lora.base.weights": str(base),
        **{name: setting for name, setting in overrides.items() if not name.startswith(described)},
    }


def test_values_add_up_and_every_curve_is_told(valued: Path) -> None:
    result = json.loads((valued / "values.json").read_text())
    assert len(result["contributors"]) == 5
    total = sum(row["value"] for row in result["contributors"])
    assert total == pytest.approx(result["full_value"] - result["null_value"])
    assert (pd.read_parquet(valued / "utilities.parquet")["status"] == "ok").all()
    report = (valued / "report.html").read_text()
    assert "loss of the base model" in report.lower() and "autoencoder" in report


def test_every_baseline_attributes_by_the_adapter_and_latents(valued: Path, tmp_path: Path) -> None:
    attributed(valued.parent, tmp_path, n=5)


def test_what_is_kept_of_a_coalition_is_its_adapter(valued: Path) -> None:
    root = valued.parent
    kept = load_file(next(root.joinpath("models-0").glob("*.safetensors")))
    assert kept and all("lora_" in name for name in kept)
    ranks = [len(a) for name, a in kept.items() if "lora_A" in name]
    assert sum(ranks) == 32 * captioned.RANK // 2  # the preset prunes half
    log = json.loads((root / "prune.log").read_text())["facts"]
    assert log["parameters_after"] < log["parameters_before"]


def test_the_null_coalition_is_the_base_model(valued: Path) -> None:
    plan = pd.read_parquet(valued.parent / "plan")
    (null,) = plan[plan["kind"] == "null"]["key"]
    (path,) = valued.parent.glob(f"models-*/{null}.safetensors")
    assert all(not tensor.any() for name, tensor in load_file(path).items() if "lora_B" in name)


def test_coalitions_train_without_autoencoder_or_text_encoder(
    valued: Path, overrides: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(tmp_path, str(tmp_path / "store"))
    shutil.copytree(valued.parent / "store" / "models", tmp_path / "store" / "models")
    chain.prepare("digits", overrides)
    chain.models()
    shutil.rmtree(tmp_path / "pruned" / "autoencoder")
    assert chain.finetune(0) == 7
    again = load_file(next((tmp_path / "models-0").glob("*.safetensors")))
    theirs = load_file(next(valued.parent.joinpath("models-0").glob("*.safetensors")))
    assert all(torch.equal(theirs[name], tensor) for name, tensor in again.items())


def test_mirror_images_have_latents_of_their_own(valued: Path) -> None:
    latents = load_file(valued.parent / "model" / "samples.safetensors")
    assert latents["clean"].shape == latents["mirrored"].shape == (len(latents["prompt_of"]), 4, 4, 4)
    assert not torch.allclose(latents["clean"].flip(-1), latents["mirrored"], atol=1e-4)


def test_a_given_base_is_taken_as_it_is(overrides: dict[str, object], tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    chain = Chain(tmp_path / "run", str(tmp_path / "store"))
    chain.prepare("digits", given(overrides, base) | {"game.coalition_model": "retraining"})
    chain.models()
    kept = tmp_path / "run" / "model" / "base" / "diffusion_pytorch_model.safetensors"
    assert all(
        torch.equal(tensor, load_file(kept)[name])
        for name, tensor in load_file(base / "unet" / "diffusion_pytorch_model.safetensors").items()
    )
    assert chain.finetune(0) == 7
    chain.generate(0)
    images = np.load(next((tmp_path / "run" / "images-0").glob("*.npy")))
    assert images.shape[1:] == (8, 8, 1)


def test_one_caption_in_ten_is_left_away() -> None:
    tokenizer = captioned.small_base().tokenizer
    latents = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    captions = ("the digit two", "the digit six", "the digit two")
    samples, rows = with_captions(latents, captions, tokenizer)
    assert torch.bincount(rows).tolist() == [9, 9, 9, 1, 1, 1]
    (told,) = samples.told(torch.arange(6))
    assert torch.equal(told, tokenize(tokenizer, [*captions, "", "", ""]))
    assert torch.equal(samples.clean[3:], latents) and torch.equal(samples.clean[:3], latents)


def damaged(base: Path, part: str, **changes: object) -> None:
    path = base / part
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda base: shutil.rmtree(base / "unet"), "has no readable unet/config.json"),
        (lambda base: damaged(base, "unet/config.json", _class_name="SD3Transformer2DModel"), "another architecture"),
        (lambda base: (base / "vae" / "diffusion_pytorch_model.safetensors").unlink(), "no weights for its vae"),
        (lambda base: damaged(base, "scheduler/scheduler_config.json", beta_end=0.012), "beta_end 0.012"),
        (lambda base: damaged(base, "scheduler/scheduler_config.json", prediction_type="v_prediction"), "v_prediction"),
        (lambda base: damaged(base, "unet/config.json", block_out_channels=[8] * 4), "a multiple of 16"),
        (lambda base: (base / "unet" / "config.json").write_text("[1"), "has no readable unet/config.json"),
    ],
)
def test_a_base_that_cannot_be_used_is_told_before_any_training(
    overrides: dict[str, object], tmp_path: Path, damage: object, sentence: str
) -> None:
    base = save_base(tmp_path / "base")
    damage(base)  # type: ignore[operator]
    with pytest.raises(UserError, match=sentence):
        Chain(tmp_path / "run", str(tmp_path / "store")).prepare("digits", given(overrides, base))
    assert not (tmp_path / "run" / "dataset").exists()


def test_base_images_without_captions_are_told(overrides: dict[str, object], tmp_path: Path) -> None:
    silent = captioned.write_manifest(tmp_path / "silent", range(5, 10), captions=False)
    with pytest.raises(UserError, match="no captions"):
        Chain(tmp_path / "run", str(tmp_path / "store")).prepare(
            "digits", overrides | {"model.lora.base.data.path": str(silent)}
        )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model.family": "ddpm"}, "the family ddpm has no model.lora"),
        ({"model.down_block_types": ["DownBlock2D", "AttnDownBlock2D"]}, "the family lora has no blocks of type Attn"),
        ({"model.lora.base.weights": "a/b"}, "either weights, or data and training"),
        ({"model.lora.base.data.resolution": 16}, "the resolution and the mode of data"),
        ({"model.lora.base.text_encoder.n_heads": 3}, "a multiple of the 3 heads"),
    ],
)
def test_what_does_not_fit_is_told(overrides: dict[str, object], change: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        resolve("digits", overrides | change)


@pytest.mark.parametrize("change", [{"generation.guidance_scale": 2.0}, {"pruning.method": "svd"}])
def test_options_of_the_family_are_refused_elsewhere(change: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"for the family lora|has none"):
        resolve("digits", change)


def test_a_pixel_model_imports_nothing_of_prompts() -> None:
    assert sample_space.Sampler.of(resolve("digits"), Path("nowhere"), torch.device("cpu")).prompts is None
