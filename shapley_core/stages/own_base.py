"""The base model of a LoRA adapter, where none is given: trained on images of which no contributor is valued.

First the autoencoder, then UNet and text encoder together on its latents and the captions. One caption in ten is left
away, so that the model knows the empty prompt and can be guided (arXiv 2207.12598).
"""

from pathlib import Path

import torch
from transformers import CLIPTokenizer

from shapley_core.data.dataset import ContributorDataset
from shapley_core.device import compute_device
from shapley_core.games.identity import game_id
from shapley_core.models.autoencoder import AutoencoderKL, build_autoencoder, encode, train_autoencoder
from shapley_core.models.stable_diffusion import StableDiffusion, build_text_to_image, learn_tokens, tokenize
from shapley_core.seeds import derive_seed
from shapley_core.stages.keeping import ModelTask, base_data
from shapley_core.stages.train_network import train_network
from shapley_core.storage import get_folder, put_folder
from shapley_core.training.loop import TrainingRun
from shapley_core.training.samples import TrainingSamples

_ONE_IN = 10

Curves = dict[str, dict[str, list[float]]]


def own_base(task: ModelTask, folder: Path) -> Curves:
    """Put the base model into ``folder``, in diffusers' layout: from the store, or trained and kept there.

    Returns:
        Curves of the training, by title; none where it was kept.
    """
    settings, model = task.settings, task.settings.model
    assert model.lora and model.autoencoder  # the family says so
    base = model.lora.base
    assert base.training  # it has no weights
    data = ContributorDataset.load(base_data(task.dataset))
    key = game_id(
        {
            "base": base.model_dump(),
            "model": model.model_dump(exclude={"lora"}),
            "data": data.digest,
            "noise_schedule": settings.noise_schedule.model_dump(),
            "seed": settings.seed,
        }
    )
    if get_folder(task.store, f"models/{key}", folder):
        return {}
    device = compute_device(settings.run.threads)
    autoencoder = build_autoencoder(model.autoencoder, settings.data, settings.seed, AutoencoderKL).to(device)
    with task.record.phase("training"):
        blurred = train_autoencoder(autoencoder, data.images(), model.autoencoder, settings.seed)
        latents = encode(autoencoder, data.images())
    captions = data.captions or ()
    tokenizer = learn_tokens(captions, base.text_encoder)
    seed = derive_seed(settings.seed, "base weights")
    network = build_text_to_image(model, base.text_encoder, tokenizer, settings.sample_shape(), seed).to(device)
    samples, rows = captioned(latents, captions, tokenizer)
    run = TrainingRun(network, rows, derive_seed(settings.seed, "base training"))
    loss = train_network(task, run, samples.to(device), base.training, "train the base model", f"checkpoints/{key}")
    StableDiffusion(network.unet, autoencoder, network.text_encoder, tokenizer).save(folder, settings.noise_schedule)
    put_folder(task.store, f"models/{key}", folder)
    return {"loss of the base model's autoencoder": blurred, "loss of the base model": loss}


def captioned(
    latents: torch.Tensor, captions: tuple[str, ...], tokenizer: CLIPTokenizer
) -> tuple[TrainingSamples, torch.Tensor]:
    """Latents with the tokens of their captions and again with those of none, and the rows to draw from.

    Args:
        latents: (N, C, H, W).
        captions: N.
        tokenizer: what makes tokens of them.

    Returns:
        2 N samples, the second half without captions, and rows that hold each image _ONE_IN times, once without.
    """
    n = len(latents)
    texts = {text: place for place, text in enumerate(dict.fromkeys(["", *captions]))}
    named = torch.tensor([texts[caption] for caption in captions])
    samples = TrainingSamples(
        clean=latents.repeat(2, 1, 1, 1),
        prompts=tokenize(tokenizer, list(texts)),
        prompt_of=torch.cat([named, torch.zeros(n, dtype=torch.long)]),
    )
    return samples, torch.cat([torch.arange(n).repeat(_ONE_IN - 1), torch.arange(n, 2 * n)])
