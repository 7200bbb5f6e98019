"""The autoencoder of latent diffusion: it learns real images, keeps them through a file, and scales its latents."""

import networks
import numpy as np
import pytest
import torch

from shapley_core.config import AutoencoderConfig, DataConfig
from shapley_core.errors import UserError
from shapley_core.models.autoencoder import (
    build_autoencoder,
    check_autoencoder,
    decode,
    encode,
    load_autoencoder,
    train_autoencoder,
)
from shapley_core.weights import fetch_weights

DATA = DataConfig(resolution=8, mode="L")
CONFIG = AutoencoderConfig(block_out_channels=(8, 16), norm_num_groups=4, num_vq_embeddings=64, steps=300)


@pytest.fixture(scope="module")
def trained():
    images = networks.digit_images(600)
    autoencoder = build_autoencoder(CONFIG, DATA, seed=0)
    curve = train_autoencoder(autoencoder, images, CONFIG, seed=0)
    return autoencoder, images, curve


def test_it_learns_to_give_back_digits(trained):
    autoencoder, images, curve = trained
    latents = encode(autoencoder, images)
    assert latents.shape == (len(images), CONFIG.latent_channels, 4, 4)
    error = np.mean((decode(autoencoder, latents).astype(float) - images) ** 2)
    # The mean image is the best that an autoencoder can do that looks at nothing.
    assert error < 0.4 * np.mean((images - images.mean(axis=0)) ** 2)
    assert np.mean(curve["value"][-10:]) < 0.5 * np.mean(curve["value"][:10])
    assert curve["step"][0] == 1
    assert len(curve["step"]) == len(curve["value"]) <= 150


def test_latents_have_unit_variance_and_each_image_is_its_own(trained):
    autoencoder, images, _ = trained
    latents = encode(autoencoder, images)
    assert float(latents.std()) == pytest.approx(1, abs=0.01)
    few = encode(autoencoder, images[100:103])
    torch.testing.assert_close(few, latents[100:103], rtol=1e-4, atol=1e-4)


def test_a_kept_autoencoder_is_the_same(trained, tmp_path):
    autoencoder, images, _ = trained
    autoencoder.save_pretrained(tmp_path / "kept")
    again = load_autoencoder(fetch_weights(str(tmp_path / "kept")))
    latents = encode(autoencoder, images[:7])
    assert torch.equal(encode(again, images[:7]), latents)
    np.testing.assert_array_equal(decode(again, latents), decode(autoencoder, latents))
    check_autoencoder(again, CONFIG, DATA)


def test_training_is_a_function_of_the_seed():
    images, config = networks.digit_images(40), CONFIG.model_copy(update={"steps": 3})
    first, second, third = (build_autoencoder(config, DATA, seed) for seed in (1, 1, 2))
    for network, seed in ((first, 1), (second, 1), (third, 2)):
        train_autoencoder(network, images, config, seed)
    assert torch.equal(encode(first, images), encode(second, images))
    assert not torch.equal(encode(first, images), encode(third, images))


def test_what_is_no_autoencoder_or_another_one_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no VQModel"):
        load_autoencoder(tmp_path)
    with pytest.raises(UserError, match=r"there is no folder \./nowhere with weights"):
        fetch_weights("./nowhere")
    other = build_autoencoder(CONFIG.model_copy(update={"latent_channels": 4}), DATA, seed=0)
    with pytest.raises(UserError, match="has 4 latent channels, and the configuration says 3"):
        check_autoencoder(other, CONFIG.model_copy(update={"weights": "somewhere"}), DATA)


def test_weights_come_from_a_bucket_and_are_kept(s3_bucket, tmp_path, monkeypatch):
    from shapley_core.storage import open_store

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build_autoencoder(CONFIG, DATA, seed=3).save_pretrained(tmp_path / "mine")
    store = open_store(f"s3://{s3_bucket}/models/mine")
    for path in (tmp_path / "mine").iterdir():
        store.upload(path.name, path)
    folder = fetch_weights(f"s3://{s3_bucket}/models/mine")
    images = networks.digit_images(5)
    assert torch.equal(encode(load_autoencoder(folder), images), encode(load_autoencoder(tmp_path / "mine"), images))
    for path in (tmp_path / "mine").iterdir():
        store.delete(path.name)
    with pytest.raises(UserError, match="there are no weights under"):
        fetch_weights(f"s3://{s3_bucket}/models/other")


def test_a_name_that_the_hub_cannot_give_says_what_to_do(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"somebody/something are not in the cache.*give its folder or an s3://"):
        fetch_weights("somebody/something")
