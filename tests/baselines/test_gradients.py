"""Per-sample gradients: torch.func against backward passes, their order, blocks, and the projection."""

from collections.abc import Iterable
from functools import cache, partial

import captioned
import networks
import numpy as np
import pytest
import torch

from shapley_core.baselines.gradients import Gradients, ProjectedGradients, in_order
from shapley_core.baselines.projection import CountSketch
from shapley_core.config import GenerationConfig, NoiseScheduleConfig
from shapley_core.errors import UserError
from shapley_core.models.lora import add_adapter
from shapley_core.models.sampling import Prompts, sampling_paths
from shapley_core.seeds import derive_seed
from shapley_core.training.samples import TrainingSamples

SCHEDULE = NoiseScheduleConfig()
N_STEPS = 3
SEED = 11


def side_by_side(gradients: Iterable[torch.Tensor]) -> torch.Tensor:
    """The projection that is none."""
    return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


def random_samples(n: int, shape: tuple[int, ...], seed: int, **told: torch.Tensor) -> TrainingSamples:
    return TrainingSamples(torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed)), **told)


def pixels():
    """A UNet of pixels with attention, and samples for it."""
    unet = networks.tiny_unet(attention=True, block_out_channels=(4, 8))
    generation = GenerationConfig(n_images=2, n_steps=N_STEPS)
    paths = partial(sampling_paths, unet, SCHEDULE, generation, 0)
    return unet, random_samples(3, (1, 8, 8), 1), random_samples(2, (1, 8, 8), 2), paths


def latents():
    """A UNet of four latent channels."""
    unet = networks.tiny_unet(resolution=4, mode="RGBA", block_out_channels=(4, 8))
    generation = GenerationConfig(n_images=2, n_steps=N_STEPS, solver="pndm")
    paths = partial(sampling_paths, unet, SCHEDULE, generation, 0, bounded=False)
    return unet, random_samples(3, (4, 4, 4), 1), random_samples(2, (4, 4, 4), 2), paths


def adapter():
    """An adapter on a Stable Diffusion UNet, and samples with prompts."""
    unet = add_adapter(captioned.small_base().unet, 2, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in unet.parameters():
            if parameter.requires_grad:  # a new adapter's B is zero, and so would be A's gradients
                parameter.normal_(0, 0.1, generator=generator)
    prompts = torch.randn(2, 8, 16, generator=generator)
    training = random_samples(3, (4, 4, 4), 1, prompts=prompts, prompt_of=torch.tensor([0, 1, 1]))
    generated = random_samples(2, (4, 4, 4), 2, prompts=prompts, prompt_of=torch.tensor([0, 1]))
    generation = GenerationConfig(n_images=2, n_steps=N_STEPS, guidance_scale=2.0)
    said = Prompts(prompts, prompts[:1])
    return unet, training, generated, partial(sampling_paths, unet, SCHEDULE, generation, 0, said, bounded=False)


FAMILIES = pytest.mark.parametrize("family", [pixels, latents, adapter])


def doubled(family, projection=side_by_side, **settings):
    """Gradients in float64, of a network whose paths were computed before in float32."""
    unet, training, generated, paths = family()
    ways = list(paths())
    settings = {"n_timesteps": 4, "timesteps_at_once": 3, "images_at_once": 2, **settings}
    gradients = Gradients(unet.double(), SCHEDULE, training, generated, lambda: ways, projection, SEED, **settings)
    return gradients, unet, training, generated, ways


usual = cache(doubled)


def by_backward(unet, images, timesteps, told, loss) -> np.ndarray:
    """The gradient of the mean loss where ``images`` (T', C, H, W) stand at the timesteps, by a backward pass."""
    abar = torch.from_numpy(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))[timesteps][:, None, None, None]
    generators = [torch.Generator().manual_seed(derive_seed(SEED, "noise of gradients", int(t))) for t in timesteps]
    noise = torch.stack([torch.randn(images.shape[1:], generator=generator) for generator in generators]).double()
    noisy = abar.sqrt() * images.double() + (1 - abar).sqrt() * noise
    unet.zero_grad()
    predicted = unet(noisy, timesteps, *(what.double().expand(len(timesteps), -1, -1) for what in told)).sample
    error = predicted - noise if loss == "simple" else predicted
    ((error**2).sum() / len(timesteps)).backward()
    return torch.cat([p.grad.flatten() for p in unet.parameters() if p.requires_grad]).numpy()


@FAMILIES
def test_per_sample_gradients_are_those_of_backward_passes(family) -> None:
    gradients, unet, training, generated, _ = usual(family)
    timesteps = torch.tensor([0, 250, 500, 750])
    for loss in ("simple", "square"):
        for samples, got in ((training, gradients.training(loss)), (generated, gradients.generated(loss))):
            assert got.dtype == np.float64 and len(got) == len(samples)
            for i, row in enumerate(got):
                at_each = samples.clean[i].expand(4, -1, -1, -1)
                expected = by_backward(unet, at_each, timesteps, samples.told(torch.tensor([i])), loss)
                # The schedule of diffusers is in float32.
                np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@FAMILIES
def test_journey_gradients_are_those_at_the_noisy_images_of_the_way(family) -> None:
    gradients, unet, _, generated, (way,) = usual(family)
    assert len(gradients.journey()) == len(generated) and way.noisy.shape[1] == len(way.timesteps) >= N_STEPS
    for i, row in enumerate(gradients.journey()):
        expected = by_backward(unet, way.noisy[i], way.timesteps, generated.told(torch.tensor([i])), "simple")
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_only_what_is_trained_counts() -> None:
    gradients, unet, *_ = usual(adapter)
    trained = sum(p.numel() for p in unet.parameters() if p.requires_grad)
    assert 0 < trained < sum(p.numel() for p in unet.parameters())
    assert gradients.training("simple").shape == (3, trained)


@pytest.mark.parametrize(("images_at_once", "timesteps_at_once"), [(1, 1), (3, 100)])
def test_blocks_change_nothing(images_at_once, timesteps_at_once) -> None:
    expected = usual(adapter)[0]
    got = doubled(adapter, images_at_once=images_at_once, timesteps_at_once=timesteps_at_once)[0]
    np.testing.assert_allclose(got.training("square"), expected.training("square"), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.journey(), expected.journey(), rtol=1e-9, atol=1e-12)


def test_an_images_gradient_hangs_neither_on_its_place_nor_on_the_others() -> None:
    unet, training, generated, paths = pixels()
    order = torch.tensor([2, 0, 1])

    def of(samples):
        return Gradients(unet, SCHEDULE, samples, generated, paths, side_by_side, 0, n_timesteps=2).training("simple")

    got = of(training)
    np.testing.assert_allclose(of(TrainingSamples(training.clean[order])), got[order], rtol=1e-4, atol=1e-4)
    twice = of(TrainingSamples(training.clean[[2, 0, 2]]))
    np.testing.assert_allclose(twice[0], twice[2], rtol=1e-5, atol=1e-5)


def test_timesteps_are_spread_over_the_whole_schedule() -> None:
    unet, training, generated, paths = pixels()
    chosen = Gradients(unet, SCHEDULE, training, generated, paths, side_by_side, 0)._timesteps
    assert chosen.tolist() == list(range(0, 1000, 10))
    short = NoiseScheduleConfig(num_train_timesteps=50)
    with pytest.raises(UserError, match="100 timesteps cannot be chosen from the 50"):
        Gradients(unet, short, training, generated, paths, side_by_side, 0)


def test_rows_go_where_their_ids_say() -> None:
    def part(*ids: int) -> ProjectedGradients:
        return ProjectedGradients(torch.tensor(ids), torch.tensor(ids, dtype=torch.float32)[:, None] * 10)

    np.testing.assert_array_equal(in_order([part(3, 1), part(0, 2)], 4)[:, 0], [0, 10, 20, 30])
    for wrong in ([part(0, 1), part(3)], [part(0, 1), part(1, 2)], [part(0, 1)]):
        with pytest.raises(ValueError, match=r"of 3$"):
            in_order(wrong, 3)


def test_a_diverged_network_is_refused() -> None:
    unet, training, generated, paths = pixels()
    with torch.no_grad():
        unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        Gradients(unet, SCHEDULE, training, generated, paths, side_by_side, 0, n_timesteps=1).training("simple")


def test_a_network_that_is_not_trained_is_refused() -> None:
    unet, training, generated, paths = pixels()
    with pytest.raises(UserError, match="no parameter that is trained"):
        Gradients(unet.requires_grad_(False), SCHEDULE, training, generated, paths, side_by_side, 0)


def test_each_kind_is_computed_once() -> None:
    unet, training, generated, paths = pixels()
    calls = []

    def counted(gradients):
        calls.append(1)
        return side_by_side(gradients)

    gradients = Gradients(unet, SCHEDULE, training, generated, paths, counted, 0, n_timesteps=1)
    first = gradients.training("simple")
    assert len(calls) == 1 and gradients.training("simple") is first and len(calls) == 1


def test_a_sketch_is_the_matrix_that_it_stands_for() -> None:
    """Its matrix has one 1 or -1 in each column; vectors in several tensors are one vector."""
    sketch = CountSketch(60, 8, seed=3)
    matrix = sketch([torch.eye(60, dtype=torch.float64)]).numpy()
    assert ((matrix != 0).sum(axis=1) == 1).all() and set(np.unique(matrix)) == {-1, 0, 1}
    x = torch.randn(4, 60, dtype=torch.float64)
    got = sketch([x[:, :24].view(4, 2, 3, 4), x[:, 24:25], x[:, 25:]])
    np.testing.assert_allclose(got.numpy(), x.numpy() @ matrix, atol=1e-12)
    assert torch.equal(CountSketch(60, 8, seed=3)([x]), sketch([x]))
    assert not torch.equal(CountSketch(60, 8, seed=4)([x]), sketch([x]))


def test_a_sketch_keeps_inner_products_in_expectation_with_its_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 300, generator=generator, dtype=torch.float64)
    x[7], y[7] = 9.0, 5.0  # a coordinate that stands out, so that the variance's last term counts
    k, n_seeds = 16, 3000
    products = np.empty(n_seeds)
    for seed in range(n_seeds):
        a, b = CountSketch(300, k, seed)([torch.stack([x, y])])
        products[seed] = float(a @ b)
    true = float(x @ y)
    variance = float((x @ x) * (y @ y) + true**2 - 2 * (x**2 * y**2).sum()) / k
    assert products.mean() == pytest.approx(true, abs=4 * np.sqrt(variance / n_seeds))
    assert products.var() == pytest.approx(variance, rel=0.15)


def test_sketched_gradients_are_the_sketch_of_the_gradients() -> None:
    whole = usual(adapter)[0]
    d = whole.training("simple").shape[1]
    sketched = doubled(adapter, projection=CountSketch(d, 32, seed=5))[0]
    matrix = CountSketch(d, 32, seed=5)([torch.eye(d, dtype=torch.float64)]).numpy()
    for got, full in ((sketched.training("simple"), whole.training("simple")), (sketched.journey(), whole.journey())):
        np.testing.assert_allclose(got, full @ matrix, rtol=1e-9, atol=1e-10)
