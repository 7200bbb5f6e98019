"""What a family's network learns and makes, pixels, or latents with or without prompts, and the way back to pixels.

A model's folder holds, beside its own weights, the autoencoder, the base model of an adapter, and the training samples
as the network sees them, with what a text encoder says of the prompts; the pruned model's folder holds them too. So the
stages that train load no autoencoder, and none but ``train`` loads a text encoder.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from shapley_core.config import ValuationConfig
from shapley_core.data.dataset import ContributorDataset
from shapley_core.games.identity import game_id
from shapley_core.models.ddpm import to_model_range, to_pixels
from shapley_core.models.sampling import Prompts, SamplingPath, sample, sampling_paths
from shapley_core.stages.keeping import AUTOENCODER, BASE, ModelTask
from shapley_core.storage import get_folder, put_folder
from shapley_core.training.samples import TrainingSamples

if TYPE_CHECKING:
    from shapley_core.models.autoencoder import Autoencoder

_SAMPLES = "samples.safetensors"
#: Those of everybody, where the model was made from some contributors' images alone; not kept with the model.
_EVERYBODYS = "everybodys_samples.safetensors"
_PROMPTS = "prompts.safetensors"
_PARTS = (AUTOENCODER, BASE, _SAMPLES, _PROMPTS)

Curves = dict[str, dict[str, list[float]]]


def make_space(task: ModelTask) -> Curves:
    """Put what the family needs besides its own weights into the task's folder; returns curves of its training."""
    if task.settings.model.family == "ldm":
        return _latent_space(task)
    if task.settings.model.family == "lora":
        return _prompted_space(task)
    return {}


def _latent_space(task: ModelTask) -> Curves:
    from shapley_core.models import autoencoder as latent  # here, because pixels do not need it
    from shapley_core.weights import fetch_weights

    settings, config = task.settings, task.settings.model.autoencoder
    assert config is not None  # the family says so
    folder = task.folder / AUTOENCODER
    images = task.data.images()
    curves = {}
    key = game_id(
        {
            "autoencoder": config.model_dump(),
            "data": task.data.digest,
            "images": settings.data.model_dump(include={"resolution", "mode"}),
            "seed": settings.seed,
        }
    )
    if config.weights:
        network = latent.load_autoencoder(fetch_weights(config.weights))
        latent.check_autoencoder(network, config, settings.data)
        network.save_pretrained(folder)
    elif get_folder(task.store, f"models/{key}", folder):
        network = latent.load_autoencoder(folder)
    else:
        network = latent.build_autoencoder(config, settings.data, settings.seed)
        with task.record.phase("training"):
            curves["loss of the autoencoder"] = latent.train_autoencoder(network, images, config, settings.seed)
        network.save_pretrained(folder)
        put_folder(task.store, f"models/{key}", folder)
    with task.record.phase("training"):
        _encode(task.settings, network, images).save(task.folder / _SAMPLES)
    return curves


def _prompted_space(task: ModelTask) -> Curves:
    from shapley_core.models.stable_diffusion import StableDiffusion  # here, because only prompts need it
    from shapley_core.stages.own_base import own_base
    from shapley_core.weights import fetch_weights

    config = task.settings.model.lora
    assert config is not None  # the family says so
    curves: Curves = {}
    with tempfile.TemporaryDirectory() as scratch:
        if config.base.weights:
            base = StableDiffusion.load(fetch_weights(config.base.weights))
        else:
            curves = own_base(task, Path(scratch))
            base = StableDiffusion.load(Path(scratch))
        base.unet.save_pretrained(task.folder / BASE)
        base.autoencoder.save_pretrained(task.folder / AUTOENCODER)
        with task.record.phase("training"):
            wanted = base.embed([config.prompt])
            save_file({"wanted": wanted, "nothing": base.embed([""])}, task.folder / _PROMPTS)
            latents = _encode(task.settings, base.autoencoder, task.data.images())
    everyone = torch.zeros(len(latents), dtype=torch.long)
    TrainingSamples(latents.clean, latents.mirrored, wanted, everyone).save(task.folder / _SAMPLES)
    return curves


def _encode(settings: ValuationConfig, network: "Autoencoder", images: NDArray[np.uint8]) -> TrainingSamples:
    """Latents of images, and of their mirror images where training asks for them."""
    from shapley_core.models.autoencoder import encode

    flips = any(t.random_flip for t in (settings.training, settings.pruning.finetuning, settings.finetuning))
    mirrored = encode(network, np.ascontiguousarray(images[:, :, ::-1])) if flips else None
    return TrainingSamples(encode(network, images), mirrored)


def encode_everybody(settings: ValuationConfig, data: ContributorDataset, folder: Path) -> None:
    """Put beside a kept model what its network sees of everybody's images: it was made without some of them."""
    from shapley_core.models.autoencoder import load_autoencoder  # here, because pixels do not need it

    latents = _encode(settings, load_autoencoder(folder / AUTOENCODER), data.images())
    prompts = TrainingSamples.load(folder / _SAMPLES).prompts
    everyone = None if prompts is None else torch.zeros(len(latents), dtype=torch.long)
    TrainingSamples(latents.clean, latents.mirrored, prompts, everyone).save(folder / _EVERYBODYS)


def copy_space(source: Path, target: Path) -> None:
    """Take along to another model's folder what :func:`make_space` made."""
    for part in _PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        elif (source / part).is_file():
            shutil.copyfile(source / part, target / part)


def samples_of(settings: ValuationConfig, images: NDArray[np.uint8], folder: Path) -> TrainingSamples:
    """Generated images (N, H, W, C) as the network of a model's folder sees them, with their prompt if it has any."""
    if settings.model.family == "ddpm":
        return TrainingSamples(to_model_range(images))
    from shapley_core.models.autoencoder import encode, load_autoencoder  # here, because pixels do not need it

    latents = encode(load_autoencoder(folder / AUTOENCODER), images)
    said = folder / _PROMPTS
    if not said.is_file():
        return TrainingSamples(latents)
    everyone = torch.zeros(len(latents), dtype=torch.long)
    return TrainingSamples(latents, prompts=load_file(said)["wanted"], prompt_of=everyone)


def training_samples(settings: ValuationConfig, data: ContributorDataset, folder: Path) -> TrainingSamples:
    """What the network is trained on, in the order of ``data.images()``."""
    if settings.model.family == "ddpm":
        return TrainingSamples(to_model_range(data.images()))
    everybodys = folder / _EVERYBODYS
    return TrainingSamples.load(everybodys if everybodys.is_file() else folder / _SAMPLES)


@dataclass(frozen=True)
class Sampler:
    """Makes images with the networks of a game's models: everything but the network stays the same.

    Attributes:
        settings: the configuration.
        decode: from samples (N, C, H, W) to pixels (N, H, W, C).
        prompts: what the images are generated from; None where the family has no prompts.
    """

    settings: ValuationConfig
    decode: Callable[[torch.Tensor], NDArray[np.uint8]]
    prompts: Prompts | None

    @classmethod
    def of(cls, settings: ValuationConfig, folder: Path, device: torch.device) -> "Sampler":
        """What stands in a model's folder."""
        if settings.model.family == "ddpm":
            return cls(settings, to_pixels, None)
        from shapley_core.models.autoencoder import decode, load_autoencoder  # here, because pixels do not need it

        autoencoder = load_autoencoder(folder / AUTOENCODER).to(device)
        said = folder / _PROMPTS
        prompts = Prompts(**load_file(said)).to(device) if said.is_file() else None
        return cls(settings, partial(decode, autoencoder), prompts)

    @property
    def bounded(self) -> bool:
        """Do samples have a range that they are held to? Pixels have one, latents have none."""
        return self.settings.model.family == "ddpm"

    def images(self, network: torch.nn.Module, seed: int) -> NDArray[np.uint8]:
        """Pixels (N, H, W, C) of the configured number of images."""
        settings = self.settings
        schedule, generation = settings.noise_schedule, settings.generation
        with _whole(settings, network):
            return sample(network, schedule, generation, seed, self.decode, self.prompts, bounded=self.bounded)

    def paths(self, network: torch.nn.Module, seed: int) -> Iterator[SamplingPath]:
        """The ways by which the same images come about."""
        settings = self.settings
        return sampling_paths(
            network, settings.noise_schedule, settings.generation, seed, self.prompts, bounded=self.bounded
        )


def _whole(settings: ValuationConfig, network: torch.nn.Module) -> AbstractContextManager[None]:
    """The network as it computes fastest: an adapter costs a fifth of a step of its own."""
    if settings.model.family != "lora":
        return nullcontext()
    from shapley_core.models.lora import merged  # here, because the others do not need peft

    return merged(network)
