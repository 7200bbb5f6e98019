"""The paper's presets say what the paper says (§4, appendices A and B), and the small ones stay the size they are."""

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D

from shapley_core.config import resolve
from shapley_core.models.ddpm import build_unet
from shapley_core.pruning.unet import prune_unet

LINEAR = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}


@pytest.mark.parametrize(
    ("preset", "source", "resolution", "ratio", "coalition_steps", "n_images", "wanted"),
    [
        ("cifar20", "cifar100", 32, 0.3, 1000, 10_240, "inception_score"),
        ("celebahq", "celebahq", 256, 0.5, 500, 1024, "diversity"),
        ("artbench", "artbench", 256, 0.5, 200, 50, "aesthetic"),
    ],
)
def test_section_4_and_appendix_a(preset, source, resolution, ratio, coalition_steps, n_images, wanted):
    config = resolve(preset)
    assert (config.data.source, config.data.resolution, config.data.mode) == (source, resolution, "RGB")
    assert config.pruning.ratio == ratio
    assert config.finetuning.steps == coalition_steps
    assert config.generation.n_images == n_images
    assert config.property.name == wanted


@pytest.mark.parametrize("preset", ["cifar20", "celebahq"])
def test_appendix_b_of_both_unconditional_models(preset):
    config = resolve(preset)
    assert config.noise_schedule.model_dump() == LINEAR
    assert (config.generation.solver, config.generation.n_steps, config.generation.eta) == ("ddim", 100, 0)
    assert config.training.steps == 20_000
    for training in (config.training, config.pruning.finetuning, config.finetuning):
        assert (training.batch_size, training.learning_rate) == (64, 1e-4)
        assert training.random_flip
        assert training.weight_decay == 0
        assert training.learning_rate_schedule is training.warmup_steps is None
        assert training.optimizer == {"cifar20": None, "celebahq": "adam8bit"}[preset]


def test_what_each_property_of_the_paper_looks_at():
    assert resolve("cifar20").property.classifier == "imagenet"
    assert resolve("cifar20").data.cifar100.classes == "paper"
    celebahq = resolve("celebahq")
    assert (celebahq.property.embedder, celebahq.property.n_clusters) == ("blip_vqa", 20)
    assert (celebahq.data.celebahq.n_identities, celebahq.data.celebahq.min_images) == (50, 15)
    assert resolve("artbench").property.percentile == 90
    assert resolve("artbench").data.artbench.style == "post_impressionism"


def test_appendix_b_of_stable_diffusion():
    config = resolve("artbench")
    assert (config.model.lora.rank, config.model.lora.prompt) == (256, "a Post-Impressionist painting")
    assert config.model.lora.base.weights == "lambdalabs/miniSD-diffusers"
    assert (config.generation.solver, config.generation.n_steps) == ("pndm", 100)
    assert config.training.steps * config.training.batch_size == 200 * 5_000  # epochs of its images
    for training in (config.training, config.finetuning):
        assert (training.optimizer, training.weight_decay) == ("adamw", 1e-6)
        assert (training.batch_size, training.learning_rate) == (64, 3e-4)
        assert (training.learning_rate_schedule, training.warmup_steps) == ("cosine", 500)
    assert config.pruning.method == "magnitude"


@pytest.mark.parametrize(("preset", "widths"), [("digits", {8, 16}), ("openmoji", {16, 32})])
def test_the_small_networks_are_pruned_to_what_a_processor_computes_in(preset, widths):
    """Multiples of 8 (docs/speed.md): another rounding would cost their runs more than it gains."""
    config = resolve(preset)
    unet = build_unet(config.model, config.sample_shape(), seed=0)
    prune_unet(unet, config.pruning.ratio)
    assert {block.conv1.out_channels for block in unet.modules() if isinstance(block, ResnetBlock2D)} == widths
    assert unet.time_embedding.linear_1.out_features == 2 * config.model.block_out_channels[0]
    with torch.inference_mode():
        assert unet(torch.zeros(1, *config.sample_shape()), 10).sample.isfinite().all()
