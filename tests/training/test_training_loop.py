"""The loop: the paper's loss, the moving average, clipping, resuming to the last bit, and that it learns."""

import networks
import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch.optim.optimizer import register_optimizer_step_pre_hook

from shapley_core.config import NoiseScheduleConfig, TrainingConfig
from shapley_core.models.ddpm import to_model_range
from shapley_core.pruning.unet import prune_unet
from shapley_core.training.draws import draw_batch
from shapley_core.training.loop import DiffusionTrainer, DivergedError, TrainingRun, clip_gradients
from shapley_core.training.samples import TrainingSamples

SCHEDULE = NoiseScheduleConfig()
SEED = 11


def small_unet(seed=0, **changes):
    return networks.tiny_unet(seed=seed, block_out_channels=(8, 16), **changes)


@pytest.fixture(scope="module")
def images():
    return to_model_range(networks.digit_images(50))


def make_trainer(images, unet=None, seed=SEED, **changes):
    settings = {"steps": 6, "batch_size": 8, "learning_rate": 1e-3, "ema_decay": 0.9, **changes}
    samples = TrainingSamples(images)
    run = TrainingRun.on_all(samples, unet or small_unet(), seed)
    return DiffusionTrainer([run], samples, TrainingConfig(**settings), SCHEDULE)


def weights_of(network):
    """The weights of an unstacked network, or of the first of several stacked ones."""
    stacked = not hasattr(network, "conv_in") or network.conv_in.weight.ndim == 5
    return [(p[0] if stacked else p).detach().clone() for p in network.parameters()]


def equal_weights(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def draws(step, images, batch_size=8):
    return draw_batch(SEED, step, len(images), batch_size, SCHEDULE.num_train_timesteps, images.shape[1:])


def noisy_by_hand(clean, batch):
    """q(x_t | x_0) of paper §2.1, from the betas themselves."""
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[batch.timesteps.numpy()].reshape(-1, 1, 1, 1)
    return np.sqrt(alpha_bar) * clean.double().numpy() + np.sqrt(1 - alpha_bar) * batch.noise.double().numpy()


@pytest.mark.parametrize("random_flip", [False, True])
def test_the_loss_is_equation_1(random_flip, images):
    trainer, untouched = make_trainer(images, random_flip=random_flip), small_unet()
    trainer.run(until=1)
    batch = draws(0, images)
    assert 0 < batch.flips.sum() < 8
    clean = images[batch.indices].clone()
    if random_flip:
        clean[batch.flips] = torch.from_numpy(clean[batch.flips].numpy()[..., ::-1].copy())
    noisy = torch.from_numpy(noisy_by_hand(clean, batch)).float()
    with torch.no_grad():
        predicted = untouched(noisy, batch.timesteps).sample
    expected = ((predicted - batch.noise).double() ** 2).mean()
    assert float(trainer.losses[0][0]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("random_flip", [False, True])
def test_images_are_mirrored_left_to_right_to_the_last_bit_or_not_at_all(random_flip, images):
    trainer, seen = make_trainer(images, batch_size=32, random_flip=random_flip), []
    trainer.network.register_forward_pre_hook(lambda _, args: seen.append(args))
    trainer.run(until=3)
    scheduler = DDPMScheduler(**SCHEDULE.model_dump())
    for step, (noisy, timesteps) in enumerate(seen):
        batch = draws(step, images, batch_size=32)
        expected = images[batch.indices].clone()
        for row, flip in enumerate(batch.flips & random_flip):
            if flip:
                expected[row] = torch.from_numpy(np.fliplr(expected[row, 0].numpy()).copy())
        assert torch.equal(timesteps, batch.timesteps)
        assert torch.equal(noisy, scheduler.add_noise(expected, batch.noise, batch.timesteps))


def test_the_average_is_that_of_diffusers(images):
    trainer = make_trainer(images, steps=30, ema_decay=0.5)
    theirs = EMAModel(weights_of(trainer.network), decay=0.5)  # it follows what needs a gradient
    decays = []
    for step in range(1, 31):
        trainer.run(until=step)
        theirs.step([weight.requires_grad_() for weight in weights_of(trainer.network)])
        decays.append(theirs.cur_decay_value)
    assert decays[0] == 0 and decays[5] < 0.5 and decays[-1] == 0.5
    for ours, expected in zip(trainer.average(0).values(), theirs.shadow_params, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_the_average_starts_anew_with_every_training(images):
    first = make_trainer(images, learning_rate=0.05, ema_decay=0.999)
    first.run()
    unet = small_unet()
    unet.load_state_dict(first.average(0))
    second = make_trainer(images, unet, seed=SEED + 1)
    second.run(until=1)
    for average, weight in zip(second.average(0).values(), weights_of(second.network), strict=True):
        torch.testing.assert_close(average, weight, rtol=1e-6, atol=1e-7)


def test_gradients_are_clipped_to_their_norm_and_keep_their_direction(images):
    def gradient(clip):
        seen = []
        hook = register_optimizer_step_pre_hook(
            lambda optimizer, *_: seen.append(
                torch.cat([p.grad.flatten().clone() for group in optimizer.param_groups for p in group["params"]])
            )
        )
        try:
            make_trainer(images, gradient_clip=clip).run(until=1)
        finally:
            hook.remove()
        (only,) = seen
        return only

    free = gradient(1e9)
    norm = float(free.norm())
    torch.testing.assert_close(gradient(norm / 10), free / 10, rtol=1e-4, atol=1e-9)
    assert float(gradient(norm / 10).norm()) <= norm / 10 * (1 + 1e-6)
    assert torch.equal(gradient(norm * 2), free)


SUBSETS = [(range(0, 50, 2), 1), (range(1, 50, 3), 2), (range(50), 3), (range(7), 4)]


def runs_of(unets, subsets=SUBSETS):
    return [TrainingRun(unet, torch.tensor(rows), seed) for unet, (rows, seed) in zip(unets, subsets, strict=True)]


def train_together(images, runs, **changes):
    settings = {"steps": 12, "batch_size": 8, "learning_rate": 1e-3, "ema_decay": 0.9, "random_flip": True, **changes}
    trainer = DiffusionTrainer(runs, TrainingSamples(images), TrainingConfig(**settings), SCHEDULE)
    trainer.run()
    return trainer


@pytest.mark.parametrize("clip", [1e-3, 1.0])
def test_runs_trained_together_end_where_each_ends_alone(clip, images):
    # In double precision, so that what is left is not the rounding that Adam makes large where gradients vanish.
    unets = [small_unet(seed).double() for seed in range(4)]
    together = train_together(images.double(), runs_of(unets), gradient_clip=clip)
    for k, run in enumerate(runs_of(unets)):
        alone = train_together(images.double(), [run], gradient_clip=clip)
        torch.testing.assert_close(torch.stack(together.losses)[:, k], torch.stack(alone.losses)[:, 0])
        for name, weight in alone.average(0).items():
            torch.testing.assert_close(together.average(k)[name], weight, rtol=1e-6, atol=1e-8)


def test_a_run_is_the_same_to_the_last_bit_whatever_is_trained_beside_it(images):
    unets = [small_unet(seed) for seed in range(4)]
    runs = runs_of(unets)
    first = train_together(images, runs)
    for order in ((2, 0, 3, 1), (1, 1, 1, 1), (3, 1, 1, 0)):
        again = train_together(images, [runs[i] for i in order])
        for k, i in enumerate(order):
            assert equal_weights(again.average(k).values(), first.average(i).values())


def test_a_run_that_diverges_takes_no_other_with_it(images):
    broken = images.clone()
    broken[7] = torch.nan
    subsets = [(range(7), 4), (range(5, 9), 5), (range(8, 50), 6)]
    trainer = train_together(broken, runs_of([small_unet()] * 3, subsets))
    healthy = train_together(images, runs_of([small_unet()] * 3, subsets))
    with pytest.raises(DivergedError, match="after 12 steps"):
        trainer.average(1)
    for k in (0, 2):
        assert equal_weights(trainer.average(k).values(), healthy.average(k).values())


def test_clipping_is_that_of_torch_for_each_copy():
    generator = torch.Generator().manual_seed(0)
    stacked = [torch.nn.Parameter(torch.zeros(3, *shape)) for shape in ((4, 2), (5,), (2, 2, 3, 3))]
    for parameter in stacked:
        parameter.grad = torch.randn(parameter.shape, generator=generator) * torch.tensor([0.01, 1.0, 30.0]).view(
            -1, *[1] * (parameter.ndim - 1)
        )
    alone = [[torch.nn.Parameter(torch.zeros_like(p[0])) for p in stacked] for _ in range(3)]
    for k, parameters in enumerate(alone):
        for single, parameter in zip(parameters, stacked, strict=True):
            single.grad = parameter.grad[k].clone()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    clip_gradients(stacked, 1.0)
    for k, parameters in enumerate(alone):
        for single, parameter in zip(parameters, stacked, strict=True):
            torch.testing.assert_close(parameter.grad[k], single.grad)


@pytest.mark.parametrize("random_flip", [False, True])
@pytest.mark.parametrize("killed_after", [1, 4, 6])
def test_a_run_taken_up_again_is_the_straight_run_to_the_last_bit(killed_after, random_flip, images, tmp_path):
    straight = make_trainer(images, random_flip=random_flip)
    straight.run()
    first = make_trainer(images, random_flip=random_flip)
    first.run(until=killed_after)
    first.save(tmp_path / "state.safetensors")
    second = make_trainer(images, small_unet(seed=99), random_flip=random_flip)
    second.restore(tmp_path / "state.safetensors")
    assert second.step == killed_after
    second.run()
    assert second.step == straight.step == 6
    assert torch.equal(torch.stack(second.losses), torch.stack(straight.losses))
    assert second.curve() == straight.curve()
    assert equal_weights(weights_of(second.network), weights_of(straight.network))
    assert equal_weights(second.average(0).values(), straight.average(0).values())


def test_the_saved_state_is_safetensors(images, tmp_path):
    trainer = make_trainer(images)
    trainer.run(until=2)
    trainer.save(tmp_path / "state")
    with safe_open(tmp_path / "state", "pt") as state:
        assert state.get_tensor("step") == 2
        assert len(state.get_tensor("losses")) == 2


def test_stopping_in_between_changes_nothing(images):
    straight, stopped = make_trainer(images), make_trainer(images)
    straight.run()
    for until in (1, 1, 4, 6):
        stopped.run(until=until)
    assert equal_weights(weights_of(straight.network), weights_of(stopped.network))


def test_a_seed_is_a_run(images):
    def result(seed):
        trainer = make_trainer(images, seed=seed)
        torch.manual_seed(seed + 1000)
        trainer.run()
        return weights_of(trainer.network)

    assert equal_weights(result(1), result(1))
    assert not equal_weights(result(1), result(2))


def test_a_pruned_network_learns_real_digits():
    images = to_model_range(networks.digit_images())
    unet = networks.tiny_unet()
    prune_unet(unet, 0.3)
    trainer = make_trainer(images, unet, steps=40, batch_size=32, learning_rate=2e-3)
    trainer.run()
    losses = torch.stack(trainer.losses)
    assert losses[0] > 0.9  # to predict nothing costs the variance of the noise, 1
    assert losses[-10:].mean() < 0.3


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_no_number_stops_the_run(value, images):
    broken = images.clone()
    broken[:, 0, 0, 0] = value
    with pytest.raises(DivergedError, match="the loss is nan after 2 steps"):
        make_trainer(broken).run(until=2)


def test_weights_that_are_no_numbers_are_not_handed_out(images):
    trainer = make_trainer(images, steps=1, learning_rate=1e30)
    trainer.run()
    trainer._average[0].fill_(torch.inf)
    with pytest.raises(DivergedError, match="the weights are not finite after 1 steps"):
        trainer.average(0)


@settings(max_examples=40)
@given(st.integers(1, 5000))
def test_the_curve_has_at_most_200_points_and_the_mean_of_the_losses(n_steps):
    trainer = make_trainer(torch.zeros(2, 1, 8, 8))
    trainer.losses = list(torch.rand(n_steps, 1, generator=torch.Generator().manual_seed(n_steps)))
    curve = trainer.curve()
    steps, values = curve["step"], curve["value"]
    assert len(steps) == len(values) <= 200
    assert steps[-1] == n_steps
    lengths = np.diff([0, *steps])
    assert (lengths > 0).all()
    np.testing.assert_allclose(lengths @ values / n_steps, torch.stack(trainer.losses).double().mean(), rtol=1e-5)
    if n_steps <= 200:
        np.testing.assert_array_equal(values, torch.stack(trainer.losses)[:, 0])


@pytest.mark.parametrize("copies", [1, 2])
def test_bfloat16_trains_alike_but_for_its_rounding(copies, images):
    samples = TrainingSamples(images)

    def losses(precision):
        config = TrainingConfig(steps=6, batch_size=8, learning_rate=1e-3, precision=precision)
        runs = [TrainingRun.on_all(samples, small_unet(k), SEED + k) for k in range(copies)]
        trainer = DiffusionTrainer(runs, samples, config, SCHEDULE)
        trainer.run()
        assert all(weight.dtype == torch.float32 for k in range(copies) for weight in trainer.average(k).values())
        return torch.stack(trainer.losses)

    exact, rounded = losses("float32"), losses("bfloat16")
    assert rounded.dtype == torch.float32 and not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.01, atol=0)
