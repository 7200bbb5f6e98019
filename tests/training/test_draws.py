"""The draws of training: antithetic timesteps, shuffled epochs, and steps that know nothing of each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shapley_core.training.draws import draw_ahead, draw_batch

seeds = st.integers(0, 2**63 - 1)


def draw(seed=0, step=0, n_images=10, batch_size=4, n_timesteps=1000, shape=(1, 2, 2)):
    return draw_batch(seed, step, n_images, batch_size, n_timesteps, shape)


def equal(a, b):
    names = ("indices", "timesteps", "noise", "flips")
    return {name: torch.equal(getattr(a, name), getattr(b, name)) for name in names}


@settings(max_examples=50)
@given(seeds, st.integers(0, 10**6), st.integers(1, 30), st.integers(2, 1000))
def test_timesteps_are_antithetic(seed, step, batch_size, n_timesteps):
    timesteps = draw(seed, step, batch_size=batch_size, n_timesteps=n_timesteps).timesteps
    assert timesteps.shape == (batch_size,) and timesteps.dtype == torch.int64
    assert timesteps.min() >= 0 and timesteps.max() < n_timesteps
    half = (batch_size + 1) // 2
    second = timesteps[half:]
    assert torch.equal(second, n_timesteps - 1 - timesteps[: len(second)])


@settings(max_examples=50)
@given(seeds, st.integers(1, 12), st.integers(1, 30))
def test_every_epoch_shows_every_image_once(seed, n_images, batch_size):
    n_epochs = 4
    n_steps = -(-n_epochs * n_images // batch_size)
    batches = [draw(seed, step, n_images, batch_size).indices for step in range(n_steps)]
    assert all(batch.shape == (batch_size,) for batch in batches)
    stream = torch.cat(batches)[: n_epochs * n_images].reshape(n_epochs, n_images)
    everybody = torch.arange(n_images).expand(n_epochs, n_images)
    assert torch.equal(stream.sort(dim=1).values, everybody)


def test_epochs_are_shuffled_anew():
    epochs = torch.stack([draw(step=epoch, n_images=30, batch_size=30).indices for epoch in range(20)])
    assert len(epochs.unique(dim=0)) == 20


def test_a_step_is_the_same_whatever_was_drawn_before():
    straight = [draw(seed=3, step=step) for step in range(8)]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    for step in (7, 2, 5):
        assert all(equal(draw(seed=3, step=step), straight[step]).values())
    assert torch.equal(torch.get_rng_state(), state)


def test_steps_and_seeds_differ():
    first = draw(batch_size=16, n_images=1000)
    for other in (draw(step=1, batch_size=16, n_images=1000), draw(seed=1, batch_size=16, n_images=1000)):
        assert not any(equal(first, other).values())


def test_draws_follow_their_distributions():
    batches = [draw(step=step, batch_size=50, n_timesteps=20, n_images=7) for step in range(100)]
    timesteps = torch.cat([batch.timesteps[:25] for batch in batches])
    assert stats.chisquare(timesteps.bincount(minlength=20).numpy()).pvalue > 1e-3
    flips = torch.cat([batch.flips for batch in batches])
    assert stats.binomtest(int(flips.sum()), len(flips)).pvalue > 1e-3
    noise = torch.cat([batch.noise for batch in batches])
    assert noise.shape == (5000, 1, 2, 2)
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3
    # The two halves share timesteps, not noise.
    halves = torch.stack([torch.cat([b.noise[:25] for b in batches]), torch.cat([b.noise[25:] for b in batches])])
    assert float(torch.corrcoef(halves.flatten(1))[0, 1]) == pytest.approx(0, abs=5 / 100)


def test_draws_made_ahead_are_those_of_each_run_interleaved():
    rows = [torch.arange(0, 20, 2), torch.arange(1, 20, 2), torch.arange(20)]
    subsets = list(zip(rows, (5, 6, 7), strict=True))
    ahead = draw_ahead(subsets, range(3, 6), 4, 1000, (1, 2, 2), torch.device("cpu"))
    assert ahead.noise.shape == (3, 4 * 3, 1, 2, 2)
    for i, step in enumerate(range(3, 6)):
        for k, (own, seed) in enumerate(subsets):
            alone = draw(seed, step, len(own))
            together = ahead.step(i)
            assert torch.equal(together.indices[k::3], own[alone.indices])
            assert torch.equal(together.timesteps[k::3], alone.timesteps)
            assert torch.equal(together.noise[k::3], alone.noise)
            assert torch.equal(together.flips[k::3], alone.flips)
