"""The paper's networks, from its presets: their sizes, a step of training, pruning, reloading, a step of sampling."""

import numpy as np
import pytest
import torch

from shapley_core.config import resolve
from shapley_core.models.checkpoint import load_unet, n_parameters, save_unet
from shapley_core.models.ddpm import build_unet
from shapley_core.models.sampling import sample
from shapley_core.pruning.unet import prune_unet
from shapley_core.training.loop import DiffusionTrainer, TrainingRun
from shapley_core.training.samples import TrainingSamples

#: §4.2: parameters before and after pruning, in millions; the shape of a sample (appendix A; 256 pixels to a quarter).
PAPER = {"cifar20": (35.7, 19.8, (3, 32, 32)), "celebahq": (274, 70.9, (3, 64, 64))}
#: Convolutions and attention take samples of any size: for the 274 M parameters, one that takes seconds on a processor.
STEP_SIZE = {"cifar20": 32, "celebahq": 16}

#: CelebA-HQ's Adam in 8 bits needs CUDA.
ANYWHERE = {"training.optimizer": "adam"}


def build(settings):
    return build_unet(settings.model, settings.sample_shape(), seed=0)


@pytest.mark.parametrize("preset", sorted(PAPER))
def test_the_size_is_the_papers_before_pruning(preset):
    settings = resolve(preset)
    millions, _, shape = PAPER[preset]
    assert settings.sample_shape() == shape
    with torch.device("meta"):
        assert n_parameters(build(settings)) == pytest.approx(millions * 1e6, rel=0.02)


@pytest.mark.parametrize("preset", sorted(PAPER))
def test_a_step_of_training_pruning_reloading_and_a_step_of_sampling(preset, tmp_path):
    settings, size = resolve(preset, ANYWHERE), STEP_SIZE[preset]
    unet = build(settings)

    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    samples = TrainingSamples(images, mirrored=images.flip(-1))
    one_step = settings.training.model_copy(update={"steps": 1, "batch_size": 2})
    trainer = DiffusionTrainer([TrainingRun.on_all(samples, unet, seed=0)], samples, one_step, settings.noise_schedule)
    trainer.run()
    # What is random says next to nothing about noise of unit variance.
    assert float(trainer.losses[0]) == pytest.approx(1.0, abs=0.3)
    for name, parameter in trainer.network.named_parameters():
        before = unet.get_parameter(name).detach()
        moved = (parameter.detach().view_as(before) - before).abs().max()
        # Adam's first step is the learning rate for every scalar that has a gradient at all.
        assert 0 < moved <= 1.01 * settings.training.learning_rate, name
    del trainer

    history = prune_unet(unet, settings.pruning.ratio)
    assert n_parameters(unet) == pytest.approx(PAPER[preset][1] * 1e6, rel=0.02)
    save_unet(unet, tmp_path, history)
    loaded = load_unet(tmp_path)
    kept, read = unet.state_dict(), loaded.state_dict()
    assert kept.keys() == read.keys()
    assert all(torch.equal(weight, read[name]) for name, weight in kept.items())
    del unet, kept

    loaded.register_to_config(sample_size=size)
    one_step_of_sampling = settings.generation.model_copy(update={"n_images": 2, "n_steps": 1})
    pixels = sample(loaded, settings.noise_schedule, one_step_of_sampling, seed=0)
    assert pixels.shape == (2, size, size, 3)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 0
