"""An own base model: diffusers reads it, our sampler makes the images that its pipeline makes, and words are learnt."""

import captioned
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from shapley_core.config import GenerationConfig, NoiseScheduleConfig
from shapley_core.errors import UserError
from shapley_core.models.autoencoder import decode
from shapley_core.models.lora import add_adapter, load_adapter, lora_layers, save_adapter
from shapley_core.models.sampling import Prompts, initial_noise, sample
from shapley_core.models.stable_diffusion import StableDiffusion, TextToImage, tokenize


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return captioned.save_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("guidance", [None, 3.0])
def test_images_are_those_of_diffusers_pipeline(folder, tmp_path, guidance) -> None:
    unet = add_adapter(StableDiffusion.load(folder).unet, 2, seed=1)
    with torch.no_grad():
        for _, b in lora_layers(unet).values():
            b.normal_(generator=torch.Generator().manual_seed(3))
    save_adapter(unet, tmp_path)
    theirs = StableDiffusionPipeline.from_pretrained(folder)
    theirs.scheduler = DDIMScheduler(clip_sample=False)  # timesteps from 0, as ours; the pipeline would mend a kept one
    theirs.set_progress_bar_config(disable=True)
    theirs.load_lora_weights(tmp_path)
    wanted = theirs(
        ["the digit two", "the digit nine", "the digit two"],
        num_inference_steps=5,
        guidance_scale=guidance or 1.0,
        latents=initial_noise(3, (4, 4, 4), seed=8),
        output_type="np",
    ).images

    base = StableDiffusion.load(folder)
    prompts = Prompts(base.embed(["the digit two", "the digit nine"]), base.embed([""]))
    ours = sample(
        load_adapter(base.unet, tmp_path),
        NoiseScheduleConfig(),
        GenerationConfig(n_images=3, n_steps=5, guidance_scale=guidance),
        8,
        lambda latents: decode(base.autoencoder, latents),
        prompts,
        bounded=False,
    )
    # Their decoder makes grey images of one channel into three; a pixel may round to its neighbour.
    assert np.abs(ours[..., 0] / 255 - wanted[..., 0]).max() < 1.1 / 255
    assert np.abs(np.diff(wanted, axis=0)).max() > 3 / 255


def test_prompts_go_by_turns_whatever_the_batch(folder) -> None:
    base = StableDiffusion.load(folder)
    prompts = Prompts(base.embed(["the digit one", "the digit five", "the digit six"]), base.embed([""]))

    def images(batch_size):
        config = GenerationConfig(n_images=40, n_steps=2, guidance_scale=2.0, batch_size=batch_size)
        return sample(base.unet, NoiseScheduleConfig(), config, 0, lambda x: decode(base.autoencoder, x), prompts)

    np.testing.assert_array_equal(images(16), images(48))
    torch.testing.assert_close(prompts.of_images(4, 2), prompts.wanted[[1, 2]])


def test_words_are_learnt_and_captions_cut(folder) -> None:
    tokenizer = StableDiffusion.load(folder).tokenizer
    tokens = tokenize(tokenizer, ["the digit seven", "", "the digit " * 20])
    assert tokens.shape == (3, 8)
    assert tokens[0].tolist()[0] == tokenizer.bos_token_id and tokenizer.eos_token_id in tokens[0]
    assert tokenizer.decode(tokens[0], skip_special_tokens=True).strip() == "the digit seven"
    assert not torch.equal(tokens[0], tokens[1])


def test_text_encoder_and_unet_are_trained_together(folder) -> None:
    base = StableDiffusion.load(folder)
    network = TextToImage(base.unet, base.text_encoder)
    said = network(torch.randn(2, 4, 4, 4), torch.tensor([5, 900]), tokenize(base.tokenizer, ["the digit two", ""]))
    said.sample.square().mean().backward()
    assert base.text_encoder.embeddings.token_embedding.weight.grad.abs().max() > 0


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_missing_part_is_told(folder, tmp_path, part) -> None:
    captioned.save_base(tmp_path)
    next((tmp_path / part).glob("*.safetensors")).unlink()
    with pytest.raises(UserError, match=f"{part} holds no"):
        StableDiffusion.load(tmp_path)
