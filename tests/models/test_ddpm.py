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


#: Imports what the tasks of the loop import, trains a network on its device, keeps it and samples.
LOOP = """
import sys
import shapley_core.stages.finetune_subset, shapley_core.stages.generate
import torch
from shapley_core.config import GenerationConfig, NoiseScheduleConfig, resolve
from pathlib import Path
from tempfile import TemporaryDirectory
from shapley_core.device import moved
from shapley_core.models.checkpoint import load_unet, save_unet
from shapley_core.models.ddpm import build_unet
from shapley_core.models.sampling import sample
from shapley_core.models.stacked import copies_that_pay
from shapley_core.training.optimizers import build_optimizer
network = moved(build_unet(resolve("digits").model, (1, 8, 8), 0), torch.device("cpu"))
copies_that_pay(network, 2)
optimizer = build_optimizer(network.parameters(), resolve("digits").training)
network(torch.zeros(2, 1, 8, 8), torch.tensor([1, 2])).sample.square().sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
with TemporaryDirectory() as folder:
    save_unet(network, Path(folder))
    network = load_unet(Path(folder))
sample(network, NoiseScheduleConfig(), GenerationConfig(n_images=2, n_steps=1), 0)
"""
#: Then compiles something, and uses a package that is imported on demand.
COMPILE = """
print(torch.compile(lambda x: 2 * x + 1, backend="eager")(torch.ones(1)).item())
print(torch._dynamo.utils.counters["frames"]["ok"])
from transformers import CLIPTextModel
print(CLIPTextModel.__name__)
"""


def printed(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_a_task_of_the_loop_imports_nothing_it_does_not_use():
    # Diffusers' hooks import all of peft, its DPM-Solver++ scipy.stats, and optimisers torch's compiler: seconds each.
    unused = ("peft", "scipy.stats", "diffusers.pipelines", "torch._dynamo", "transformers.models")
    assert printed(f"{LOOP}\nfor name in {unused}: print(*[name] * (name in sys.modules))") == []


def test_what_was_left_out_is_there_when_it_is_asked_for():
    assert printed(LOOP + COMPILE) == ["3.0", "1", "CLIPTextModel"]
