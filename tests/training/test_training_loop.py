"""The loop: the paper's loss, the moving average, clipping, resuming to the last bit, and that it learns."""

import networks
import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch.optim.optimizer import register_optimizer_step_pre_hook

from shapley_core.config import NoiseScheduleConfig, TrainingConfig
from shapley_core.models.ddpm import to_model_range
from shapley_core.pruning.unet import prune_unet
from shapley_core.training.draws import draw_batch
from shapley_core.training.loop import DiffusionTrainer, DivergedError

SCHEDULE = NoiseScheduleConfig()
SEED = 11


def small_unet(seed=0, **changes):
    return networks.tiny_unet(seed=seed, block_out_channels=(8, 16), **changes)


@pytest.fixture(scope="module")
def images():
    return to_model_range(networks.digit_images(50))


def make_trainer(images, unet=None, seed=SEED, **changes):
    settings = {"steps": 6, "batch_size": 8, "learning_rate": 1e-3, "ema_decay": 0.9, **changes}
    return DiffusionTrainer(unet or small_unet(), images, TrainingConfig(**settings), SCHEDULE, seed)


def weights_of(unet):
    return [parameter.detach().clone() for parameter in unet.parameters()]


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
    assert float(trainer.losses[0]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("random_flip", [False, True])
def test_images_are_mirrored_left_to_right_to_the_last_bit_or_not_at_all(random_flip, images):
    trainer, seen = make_trainer(images, batch_size=32, random_flip=random_flip), []
    trainer.unet.register_forward_pre_hook(lambda _, args: seen.append(args))
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


def test_the_average_follows_its_recursion(images):
    trainer, history = make_trainer(images, steps=30, ema_decay=0.5), []
    start = weights_of(trainer.unet)
    assert trainer.residual_weight == 1.0
    for step in range(1, 31):
        trainer.run(until=step)
        history.append(weights_of(trainer.unet))
    # Diffusers' rule: nothing of the start is kept, then (1 + k) / (10 + k), up to the limit.
    decays = [0.0] + [min((1 + k) / (10 + k), 0.5) for k in range(1, 30)]
    assert decays[-1] == 0.5 and decays[5] < 0.5
    average = [weight.double() for weight in start]
    for decay, weights in zip(decays, history, strict=True):
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
    trainer.use_average()
    for ours, expected in zip(weights_of(trainer.unet), average, strict=True):
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-6)
    assert trainer.residual_weight == np.prod(decays)


def test_the_average_starts_anew_with_every_training(images):
    unet = small_unet()
    make_trainer(images, unet, learning_rate=0.05, ema_decay=0.999).run()
    second = make_trainer(images, unet, seed=SEED + 1)
    second.run(until=1)
    after_one_step = weights_of(unet)
    second.use_average()
    for average, weight in zip(weights_of(unet), after_one_step, strict=True):
        torch.testing.assert_close(average, weight, rtol=1e-6, atol=1e-7)
    assert second.residual_weight == 0.0


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
    assert second.residual_weight == straight.residual_weight
    assert second.curve() == straight.curve()
    assert equal_weights(weights_of(second.unet), weights_of(straight.unet))
    straight.use_average()
    second.use_average()
    assert equal_weights(weights_of(second.unet), weights_of(straight.unet))


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
    assert equal_weights(weights_of(straight.unet), weights_of(stopped.unet))


def test_a_seed_is_a_run(images):
    def result(seed):
        trainer = make_trainer(images, seed=seed)
        torch.manual_seed(seed + 1000)
        trainer.run()
        return weights_of(trainer.unet)

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


@settings(max_examples=40)
@given(st.integers(1, 5000))
def test_the_curve_has_at_most_200_points_and_the_mean_of_the_losses(n_steps):
    trainer = make_trainer(torch.zeros(2, 1, 8, 8))
    trainer.losses = list(torch.rand(n_steps, generator=torch.Generator().manual_seed(n_steps)))
    curve = trainer.curve()
    steps, values = curve["step"], curve["value"]
    assert len(steps) == len(values) <= 200
    assert steps[-1] == n_steps
    lengths = np.diff([0, *steps])
    assert (lengths > 0).all()
    np.testing.assert_allclose(lengths @ values / n_steps, torch.stack(trainer.losses).double().mean(), rtol=1e-5)
    if n_steps <= 200:
        np.testing.assert_array_equal(values, torch.stack(trainer.losses))
