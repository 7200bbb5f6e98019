"""Generation: the images are a function of weights, seed and index, and those that DDIM defines."""

import networks
import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler

from shapley_core.config import GenerationConfig, NoiseScheduleConfig
from shapley_core.models.ddpm import to_pixels
from shapley_core.models.sampling import initial_noise, sample, sampling_paths
from shapley_core.pruning.unet import prune_unet
from shapley_core.seeds import derive_seed

SCHEDULE = NoiseScheduleConfig()


def plain():
    return networks.tiny_unet()


def pruned_with_attention():
    unet = networks.tiny_unet(attention=True, mode="RGB", seed=1)
    prune_unet(unet, 0.3)
    return unet


def generate(unet, n_images, eta=0.0, batch_size=256, n_steps=3, seed=5, solver="ddim"):
    config = GenerationConfig(n_images=n_images, n_steps=n_steps, eta=eta, batch_size=batch_size, solver=solver)
    return sample(unet, SCHEDULE, config, seed)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("network", [plain, pruned_with_attention])
def test_images_do_not_depend_on_the_batch_size(network, eta):
    unet = network()
    expected = generate(unet, 101, eta, batch_size=256)
    assert expected.shape == (101, 8, 8, unet.config.in_channels) and expected.dtype == np.uint8
    assert len(np.unique(expected.reshape(101, -1), axis=0)) == 101
    for batch_size in (1, 7, 16, 48, 100):
        np.testing.assert_array_equal(generate(unet, 101, eta, batch_size), expected)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_an_image_does_not_depend_on_how_many_are_made(eta):
    unet = plain()
    expected = generate(unet, 70, eta)
    for n_images in (2, 15, 16, 17, 69):
        np.testing.assert_array_equal(generate(unet, n_images, eta), expected[:n_images])


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_images_are_repeatable_whatever_was_drawn_before(eta):
    unet = plain()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    expected = generate(unet, 5, eta)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    np.testing.assert_array_equal(generate(unet.train(), 5, eta), expected)
    assert (generate(unet, 5, eta, seed=6) != expected).mean() > 0.5


def test_noise_belongs_to_an_index():
    shape = (2, 3, 4)
    noise = initial_noise(40, shape, seed=9)
    assert noise.shape == (40, *shape)
    for n in (1, 7, 39):
        assert torch.equal(initial_noise(n, shape, seed=9), noise[:n])
    assert len(noise.flatten(1).unique(dim=0)) == 40
    assert not (initial_noise(40, shape, seed=10) == noise).any()


def test_noise_is_standard_normal_and_independent_between_images():
    noise = initial_noise(500, (1, 8, 8), seed=0).flatten(1).numpy()
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert noise.var() == pytest.approx(1, abs=5 * np.sqrt(2 / noise.size))
    neighbours = (noise[:-1] * noise[1:]).mean()
    assert abs(neighbours) < 5 / np.sqrt(noise.size)


@pytest.mark.parametrize("n_steps", [1, 4, 10])
def test_deterministic_images_are_those_of_diffusers_own_pipeline(n_steps):
    unet, n_images, seed = plain(), 20, 5
    images = generate(unet, n_images, n_steps=n_steps, seed=seed)
    pipeline = DDIMPipeline(unet=unet, scheduler=DDIMScheduler(**SCHEDULE.model_dump()))
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(derive_seed(seed, "image", i)) for i in range(n_images)]
    theirs = pipeline(n_images, generators, num_inference_steps=n_steps, output_type="np").images * 255
    # They round after another addition, so a value close to a half may fall to either side.
    np.testing.assert_allclose(images, theirs, atol=0.5 + 1e-2)
    assert len(np.unique(images)) > 100


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_images_follow_the_equations_of_ddim(eta):
    """Eqs. 12 and 16 of arXiv 2010.02502 in float64, with the clipping of the predicted image that diffusers adds."""
    unet, n_images, n_steps, seed = plain(), 6, 5, 3
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    x = initial_noise(n_images, (1, 8, 8), seed).double().numpy()
    paths = [torch.Generator().manual_seed(derive_seed(seed, "path", i)) for i in range(n_images)]
    for t in (800, 600, 400, 200, 0):
        now, before = alpha_bar[t], alpha_bar[t - 200] if t else 1.0
        with torch.no_grad():
            epsilon = unet.eval()(torch.from_numpy(x).float(), t).sample.double().numpy()
        clean = np.clip((x - np.sqrt(1 - now) * epsilon) / np.sqrt(now), -1, 1)
        sigma = eta * np.sqrt((1 - before) / (1 - now)) * np.sqrt(1 - now / before)
        z = torch.stack([torch.randn((1, 8, 8), generator=path) for path in paths]).numpy() if eta else 0.0
        x = np.sqrt(before) * clean + np.sqrt(1 - before - sigma**2) * epsilon + sigma * z
    images = generate(unet, n_images, eta, n_steps=n_steps, seed=seed)
    np.testing.assert_allclose(images, (np.clip(x, -1, 1) + 1).transpose(0, 2, 3, 1) * 127.5, atol=0.5 + 1e-2)


def test_noise_on_the_way_changes_the_images():
    unet = plain()
    assert (generate(unet, 4, eta=0.0) != generate(unet, 4, eta=1.0)).mean() > 0.5


def test_images_follow_the_equations_of_dpm_solver():
    """Algorithm 2 of arXiv 2211.01095 by hand: a step of the first order, then to the data by one of the first."""
    unet, n_images, seed = plain(), 6, 3
    # Less noise than usual, so that an untrained network's images are not all black and white.
    schedule = NoiseScheduleConfig(beta_end=0.002)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.002, 1000))
    x = initial_noise(n_images, (1, 8, 8), seed).double().numpy()

    def clean(x, t):
        with torch.no_grad():
            epsilon = unet.eval()(torch.from_numpy(x).float(), t).sample.double().numpy()
        return (x - np.sqrt(1 - alpha_bar[t]) * epsilon) / np.sqrt(alpha_bar[t])

    now, after = alpha_bar[999], alpha_bar[500]  # two steps, spaced evenly
    ratio = np.sqrt((1 - after) / (1 - now))
    data = clean(x, 999)
    x = ratio * x + (np.sqrt(after) - ratio * np.sqrt(now)) * data
    images = sample(unet, schedule, GenerationConfig(n_images=n_images, n_steps=2, solver="dpmsolver++"), seed)
    expected = (np.clip(clean(x, 500), -1, 1) + 1).transpose(0, 2, 3, 1) * 127.5
    np.testing.assert_allclose(images, expected, atol=0.5 + 1e-2)
    assert len(np.unique(images)) > 100


def test_images_follow_the_equations_of_pndm():
    """Eq. 11 of arXiv 2202.09778 with the linear multistep of eq. 12, in float64; to begin with, the first step is
    done twice, the second time with the mean of what the network says at its two ends."""
    unet, n_images, seed = plain(), 6, 3
    # Less noise than usual, so that an untrained network's images are not all black and white.
    schedule = NoiseScheduleConfig(beta_end=0.002)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.002, 1000))

    def epsilon(x, t):
        with torch.no_grad():
            return unet.eval()(torch.from_numpy(x).float(), t).sample.double().numpy()

    def moved(x, t, to, e):
        now, after = alpha_bar[t], alpha_bar[max(to, 0)]
        return np.sqrt(after / now) * x - (after - now) * e / (
            np.sqrt(now) * (np.sqrt((1 - after) * now) + np.sqrt((1 - now) * after))
        )

    x = initial_noise(n_images, (1, 8, 8), seed).double().numpy()
    said = [epsilon(x, 801)]
    x = moved(x, 801, 601, (said[0] + epsilon(moved(x, 801, 601, said[0]), 601)) / 2)
    weights = {2: (-1 / 2, 3 / 2), 3: (5 / 12, -16 / 12, 23 / 12), 4: (-9 / 24, 37 / 24, -59 / 24, 55 / 24)}
    for t in (601, 401, 201, 1):
        said = [*said, epsilon(x, t)][-4:]
        x = moved(x, t, t - 200, sum(w * e for w, e in zip(weights[len(said)], said, strict=True)))
    images = sample(unet, schedule, GenerationConfig(n_images=n_images, n_steps=5, solver="pndm"), seed)
    np.testing.assert_allclose(images, (np.clip(x, -1, 1) + 1).transpose(0, 2, 3, 1) * 127.5, atol=0.5 + 1e-2)
    assert len(np.unique(images)) > 100


@pytest.mark.parametrize("n_steps", [1, 2, 999])
def test_pndm_takes_any_number_of_steps_below_that_of_the_timesteps(n_steps):
    unet = networks.tiny_unet(block_out_channels=(4, 4))
    assert generate(unet, 2, n_steps=n_steps, solver="pndm").shape == (2, 8, 8, 1)


@pytest.mark.parametrize("solver", ["ddim", "pndm", "dpmsolver++"])
def test_what_is_not_bounded_is_not_clipped_on_the_way(solver):
    """Latents lie beyond -1..1. A network that says there is no noise leaves a sample that is noise, scaled up."""
    unet = networks.tiny_unet()
    torch.nn.init.zeros_(unet.conv_out.weight)
    torch.nn.init.zeros_(unet.conv_out.bias)
    config = GenerationConfig(n_images=2, n_steps=4, solver=solver)
    samples = []

    def keep(x):
        samples.append(x)
        return np.zeros((len(x), 8, 8, 1), np.uint8)

    sample(unet, NoiseScheduleConfig(), config, seed=0, decode=keep, bounded=False)
    grown = samples[0][:2] / initial_noise(2, (1, 8, 8), seed=0)
    torch.testing.assert_close(grown, torch.full_like(grown, float(grown[0, 0, 0, 0])), rtol=1e-3, atol=0)
    assert float(grown.mean()) > 10


@pytest.mark.parametrize("solver", ["dpmsolver++", "pndm"])
def test_images_of_other_solvers_do_not_depend_on_the_batch_size(solver):
    expected = generate(plain(), 50, solver=solver, n_steps=5)
    for batch_size in (7, 16):
        np.testing.assert_array_equal(generate(plain(), 50, batch_size=batch_size, solver=solver, n_steps=5), expected)


def test_paths_lead_from_the_noise_to_the_images():
    """Each step of a path is DDIM's from what stands before it, and the last one is the image."""
    unet, n_images, seed = plain(), 20, 5
    config = GenerationConfig(n_images=n_images, n_steps=4, batch_size=16)
    paths = list(sampling_paths(unet, SCHEDULE, config, seed))
    assert [(path.first_index, len(path.noisy)) for path in paths] == [(0, 16), (16, 4)]
    assert all(path.timesteps.tolist() == [750, 500, 250, 0] for path in paths)
    noisy = torch.cat([path.noisy for path in paths])
    assert torch.equal(noisy[:, 0], initial_noise(n_images, (1, 8, 8), seed))
    scheduler = DDIMScheduler(**SCHEDULE.model_dump())
    scheduler.set_timesteps(4)
    x = noisy[:, 0]
    for step, t in enumerate(scheduler.timesteps):
        torch.testing.assert_close(x, noisy[:, step], rtol=0, atol=1e-4)
        with torch.no_grad():
            x = scheduler.step(unet(noisy[:, step], t).sample, t, noisy[:, step]).prev_sample
    np.testing.assert_allclose(to_pixels(x), sample(unet, SCHEDULE, config, seed), atol=1)


@pytest.mark.parametrize("solver", ["pndm", "dpmsolver++"])
def test_paths_do_not_depend_on_the_batch_size_and_can_be_differentiated_through(solver):
    unet = plain()
    config = GenerationConfig(n_images=20, n_steps=5, solver=solver, batch_size=256)
    (whole,) = sampling_paths(unet, SCHEDULE, config, 0)
    parts = list(sampling_paths(unet, SCHEDULE, config.model_copy(update={"batch_size": 16}), 0))
    assert torch.equal(torch.cat([path.noisy for path in parts]), whole.noisy)
    assert whole.noisy.shape == (20, len(whole.timesteps), 1, 8, 8)
    unet(whole.noisy[:, 1], whole.timesteps[1]).sample.sum().backward()
    assert unet.conv_in.weight.grad is not None and unet.conv_in.weight.grad.any()


def test_bfloat16_changes_pixels_by_its_rounding():
    unet = plain()
    config = GenerationConfig(n_images=20, n_steps=3)
    exact, rounded = (
        sample(unet, SCHEDULE, config.model_copy(update={"precision": name}), 5).astype(int)
        for name in ("float32", "bfloat16")
    )
    assert 0 < np.abs(rounded - exact).mean() < 2
