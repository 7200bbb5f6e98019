"""Forgetting: ascent raises the loss of what is removed, and the Newton step is the one of the formulas."""

import networks
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shapley_core.config import NoiseScheduleConfig, UnlearningConfig
from shapley_core.models.ddpm import to_model_range
from shapley_core.training import unlearning
from shapley_core.training.loop import TrainingRun
from shapley_core.training.samples import TrainingSamples

SCHEDULE = NoiseScheduleConfig()


@pytest.fixture(scope="module")
def samples() -> TrainingSamples:
    return TrainingSamples(to_model_range(networks.digit_images(40)))


def loss_on(network, samples, rows, weights) -> float:
    """Mean loss over many draws."""
    losses = []
    with torch.inference_mode():
        for seed in range(20):
            generator = torch.Generator().manual_seed(seed)
            t = torch.randint(1000, (len(rows),), generator=generator)
            noise = torch.randn(samples.clean[rows].shape, generator=generator)
            noisy = unlearning.training_schedule(SCHEDULE).add_noise(samples.clean[rows], noise, t)
            said = torch.func.functional_call(network, weights, (noisy, t)).sample
            losses.append(float((said - noise).square().mean()))
    return sum(losses) / len(losses)


def test_gradient_ascent_raises_the_loss_of_what_is_removed(samples) -> None:
    network = networks.tiny_unet()
    rows = torch.arange(12)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    config = UnlearningConfig(epochs=4, batch_size=8, learning_rate=1e-3)
    after = unlearning.gradient_ascent(TrainingRun(network, rows, 1), samples, config, SCHEDULE)
    assert loss_on(network, samples, rows, after) > 1.05 * loss_on(network, samples, rows, before)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())  # the start is left as it is


@given(st.integers(0, 1000), st.integers(1, 6), st.floats(1e-3, 10))
def test_the_inverse_fisher_product_is_that_of_the_dense_matrix(seed: int, m: int, damping: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(m, 9, generator=generator, dtype=torch.float64)
    v = torch.randn(9, generator=generator, dtype=torch.float64)
    dense = g.T @ g / m + damping * torch.eye(9, dtype=torch.float64)
    torch.testing.assert_close(
        unlearning.inverse_fisher_product(g, v, damping), torch.linalg.solve(dense, v), rtol=1e-6, atol=1e-8
    )


def test_influence_unlearning_is_the_newton_step_of_the_formulas(samples, monkeypatch) -> None:
    """By the dense matrix, from the very gradients that were used."""
    network = networks.tiny_unet(block_out_channels=(8, 16)).double()
    data = TrainingSamples(samples.clean.double())
    used: list[tuple[bool, torch.Tensor]] = []
    honest = unlearning._gradient

    def watched(network, samples, rows, *rest):
        gradient = honest(network, samples, rows, *rest)
        used.append((len(rows) == len(samples), gradient))
        return gradient

    monkeypatch.setattr(unlearning, "_gradient", watched)
    rows = torch.arange(10)
    config = UnlearningConfig(epochs=1, batch_size=5, fisher_batches=3, damping=0.5)
    moved = unlearning.influence_unlearning(TrainingRun(network, rows, 3), data, config, SCHEDULE)
    fisher = torch.stack([gradient for whole, gradient in used if whole])
    removed = torch.stack([gradient for whole, gradient in used if not whole])
    assert len(fisher) == 3 and len(removed) == 2
    right = removed.mean(dim=0) * 10 / 40
    before = torch.cat([p.detach().flatten() for p in network.parameters()])
    step = torch.cat([weight.flatten() for weight in moved.values()]) - before
    # (1/M sum g g^T + damping I) step must give back what was removed.
    torch.testing.assert_close(fisher.T @ (fisher @ step) / 3 + 0.5 * step, right, rtol=1e-8, atol=1e-12)


def test_a_newton_step_finds_the_minimiser_without_the_removed() -> None:
    """A quadratic loss with the Fisher matrix in place of its Hessian: leaving out R moves by H^-1 sum_R grad / N."""
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 0.1 * torch.sin(torch.arange(50.0).double())
    theta = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    without = torch.linalg.lstsq(x[1:], y[1:, None]).solution[:, 0]
    gradient = (x[0] @ theta - y[0]) * x[0]
    # Rows sqrt(50) x stand for gradients whose mean square is the Hessian X^T X.
    step = unlearning.inverse_fisher_product(x, gradient / 50, damping=1e-9)
    torch.testing.assert_close(theta + step, without, rtol=0.1, atol=1e-3)
    assert (theta + step - without).norm() < 0.2 * (theta - without).norm()
