"""A whole valuation by latent diffusion: the same stages, on latents."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from attributions import attributed
from tiny import TINY

from shapley_core.config import resolve
from shapley_core.errors import UserError
from shapley_core.models import autoencoder
from shapley_core.stages.chain import Chain, value

LATENT = TINY | {
    "model.family": "ldm",
    "model.autoencoder.steps": 20,
    "model.autoencoder.block_out_channels": [8, 16],
    "model.autoencoder.norm_num_groups": 4,
}


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return value(tmp_path_factory.mktemp("latent"), LATENT)


def test_values_add_up_and_the_autoencoder_is_told(latent: Path) -> None:
    result = json.loads((latent / "values.json").read_text())
    total = sum(row["value"] for row in result["contributors"])
    assert total == pytest.approx(result["full_value"] - result["null_value"])
    assert "loss of the autoencoder" in (latent / "report.html").read_text().lower()
    assert (pd.read_parquet(latent / "utilities.parquet")["status"] == "ok").all()


def test_every_baseline_attributes_by_latents(latent: Path, tmp_path: Path) -> None:
    attributed(latent.parent, tmp_path, n=10)


def test_the_pruned_model_carries_the_autoencoder_and_the_latents(latent: Path) -> None:
    for name in ("autoencoder/config.json", "autoencoder/diffusion_pytorch_model.safetensors", "samples.safetensors"):
        assert (latent.parent / "pruned" / name).read_bytes() == (latent.parent / "model" / name).read_bytes()
    unet = json.loads((latent.parent / "pruned" / "config.json").read_text())
    assert (unet["in_channels"], unet["sample_size"]) == (3, 4)


def test_training_a_coalition_loads_no_autoencoder(
    latent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(tmp_path, str(tmp_path / "store"))
    chain.prepare("digits", LATENT)
    chain.models()

    def refuse(folder: Path) -> None:
        raise AssertionError("the autoencoder was loaded")

    monkeypatch.setattr(autoencoder, "load_autoencoder", refuse)
    assert chain.finetune(0) == 13


def test_another_unet_takes_the_autoencoder_that_is_kept(
    latent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an autoencoder was trained")

    monkeypatch.setattr(autoencoder, "train_autoencoder", refuse)
    chain = Chain(tmp_path, str(latent.parent / "store"))
    chain.prepare("digits", LATENT | {"training.steps": 31})
    chain.models()
    kept = np.frombuffer((tmp_path / "model" / "samples.safetensors").read_bytes(), np.uint8)
    np.testing.assert_array_equal(
        kept, np.frombuffer((latent.parent / "model" / "samples.safetensors").read_bytes(), np.uint8)
    )


def test_a_given_autoencoder_is_taken_as_it_is_and_decides_the_game(latent: Path, tmp_path: Path) -> None:
    given = str(latent.parent / "model" / "autoencoder")
    chain = Chain(tmp_path, str(tmp_path / "store"))
    chain.prepare("digits", LATENT | {"model.autoencoder.weights": given, "game.coalition_model": "retraining"})
    chain.models()
    game = json.loads((tmp_path / "game" / "game.json").read_text())
    ours = json.loads((latent.parent / "game" / "game.json").read_text())
    assert game["autoencoder"] == ours["autoencoder"]
    assert game["game_id"] != ours["game_id"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"model.family": "ldm"}, "the family ldm needs model.autoencoder"),
        ({"model.autoencoder.steps": 5}, "the family ddpm has no model.autoencoder"),
        (
            {"model.family": "ldm", "model.autoencoder.block_out_channels": [8, 8, 8, 8]},
            "data.resolution 8 must be a multiple of 16: the autoencoder and the UNet halve the image 4 times",
        ),
        ({"model.autoencoder.stepz": 5}, "did you mean 'model.autoencoder.steps'"),
    ],
)
def test_what_does_not_fit_is_told(overrides: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        resolve("digits", overrides)
