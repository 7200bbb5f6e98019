"""The DDPM family: pixels and tensors, the UNet, the noise schedules."""

import subprocess
import sys
from functools import partial

import networks
import numpy as np
import pytest
import torch

from shapley_core.config import NoiseScheduleConfig
from shapley_core.models.ddpm import build_unet, sampling_schedule, to_model_range, to_pixels, training_schedule


@pytest.mark.parametrize("channels", [1, 3])
def test_all_256_values_come_back(channels):
    pixels = np.random.default_rng(0).permuted(np.tile(np.arange(256, dtype=np.uint8), (2 * channels, 1)), axis=1)
    images = pixels.reshape(2, channels, 8, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(to_pixels(to_model_range(images)), images)


def test_pixels_go_to_minus_one_to_one_with_channels_first():
    images = np.zeros((1, 2, 4, 3), np.uint8)
    images[0, 1, 3] = [255, 51, 0]
    tensor = to_model_range(images)
    assert tensor.shape == (1, 3, 2, 4) and tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor[0, :, 1, 3], [1.0, -0.6, -1.0], atol=1e-6)
    assert tensor[0, :, 0, 0].tolist() == [-1.0, -1.0, -1.0]


def test_samples_outside_the_range_are_clipped_and_others_rounded():
    samples = torch.tensor([-7.0, -1.001, -1.0, 0.0, 1.0, 1.001, 7.0, (100.4 / 127.5) - 1, (100.6 / 127.5) - 1])
    assert to_pixels(samples.reshape(1, 1, 1, -1)).ravel().tolist() == [0, 0, 0, 128, 255, 255, 255, 100, 101]


def test_a_unet_is_drawn_from_its_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = networks.tiny_unet(seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's draws are changed
    torch.manual_seed(2)
    again, other = networks.tiny_unet(seed=5).state_dict(), networks.tiny_unet(seed=6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv_in.weight"], other["conv_in.weight"])


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_a_unet_takes_images_of_the_datas_size(mode, channels):
    unet = build_unet(networks.model_config(), (len(mode), 12, 12), seed=0)
    assert unet.config.sample_size == 12
    images = torch.zeros(2, channels, 12, 12)
    assert unet(images, torch.tensor([3, 4])).sample.shape == images.shape


@pytest.mark.parametrize(
    "make",
    [training_schedule, *(partial(sampling_schedule, solver=name) for name in ("ddim", "pndm", "dpmsolver++"))],
)
@pytest.mark.parametrize("name", ["linear", "scaled_linear"])
def test_the_forward_process_is_that_of_the_betas(make, name):
    config = NoiseScheduleConfig(num_train_timesteps=200, beta_start=1e-3, beta_end=0.04, beta_schedule=name)
    power = {"linear": 1, "scaled_linear": 2}[name]
    betas = np.linspace(1e-3 ** (1 / power), 0.04 ** (1 / power), 200) ** power
    np.testing.assert_allclose(make(config).alphas_cumprod, np.cumprod(1 - betas), rtol=1e-4)


#: Imports what the tasks of the loop import, moves a network to its device and samples; prints what that brought along.
SAMPLE = """
import sys
import shapley_core.stages.finetune_subset, shapley_core.stages.generate
from shapley_core.config import GenerationConfig, NoiseScheduleConfig, resolve
from shapley_core.models.ddpm import build_unet
from shapley_core.models.sampling import sample
network = build_unet(resolve("digits").model, (1, 8, 8), 0).to("cpu")
sample(network, NoiseScheduleConfig(), GenerationConfig(n_images=2, n_steps=1), 0)
print([name for name in ("peft", "scipy.stats", "diffusers.pipelines") if name in sys.modules])
"""


def test_a_task_of_the_loop_imports_nothing_it_does_not_use():
    # Diffusers' hooks import all of peft, its DPM-Solver++ scipy.stats: seconds of every task.
    done = subprocess.run([sys.executable, "-c", SAMPLE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
