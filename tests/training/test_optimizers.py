"""Optimisers and learning rates: those of the libraries the paper used, and a sentence where there is no GPU."""

import pytest
import torch
from diffusers.optimization import get_scheduler

from shapley_core.config import TrainingConfig
from shapley_core.errors import UserError
from shapley_core.training.optimizers import build_optimizer, check_optimizer, learning_rate


def config(**changes):
    return TrainingConfig(**{"steps": 20, "learning_rate": 3e-4, **changes})


@pytest.mark.parametrize("steps", [1, 20, 200])
@pytest.mark.parametrize("warmup", [None, 1, 7, 500])
@pytest.mark.parametrize(
    ("schedule", "of_diffusers"), [(None, "constant_with_warmup"), ("cosine", "cosine")], ids=["constant", "cosine"]
)
def test_the_learning_rate_is_that_of_diffusers(schedule, of_diffusers, warmup, steps):
    settings = config(steps=steps, learning_rate_schedule=schedule, warmup_steps=warmup)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=settings.learning_rate)
    scheduler = get_scheduler(of_diffusers, optimizer, num_warmup_steps=warmup or 0, num_training_steps=steps)
    for step in range(steps):
        assert learning_rate(settings, step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=1e-18)
        optimizer.step()
        scheduler.step()


def test_a_warm_up_longer_than_the_run_never_reaches_the_full_rate():
    """The paper's ArtBench: 500 steps of warm-up, 200 of fine-tuning."""
    settings = config(steps=200, learning_rate_schedule="cosine", warmup_steps=500)
    rates = [learning_rate(settings, step) for step in range(200)]
    assert rates == sorted(rates)
    assert max(rates) == pytest.approx(3e-4 * 199 / 500)


def stepped(optimizer, parameter, gradient):
    for factor in (1, -3, 2):
        parameter.grad = factor * gradient
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize(("name", "of_torch"), [(None, torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_weight_decay_is_coupled_in_adam_and_decoupled_in_adamw(name, of_torch):
    start, gradient = torch.linspace(-2, 2, 12), torch.linspace(1, -1, 12)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    settings = config(optimizer=name, weight_decay=0.1)
    stepped(build_optimizer([ours], settings), ours, gradient)
    stepped(of_torch([theirs], lr=3e-4, weight_decay=0.1, foreach=False, fused=False), theirs, gradient)
    torch.testing.assert_close(ours, theirs)
    other = torch.nn.Parameter(start.clone())
    another = config(optimizer="adamw" if name is None else None, weight_decay=0.1)
    stepped(build_optimizer([other], another), other, gradient)
    assert not torch.allclose(ours, other)


def refusal(settings):
    with pytest.raises(UserError) as caught:
        build_optimizer([torch.nn.Parameter(torch.zeros(4))], settings)
    return str(caught.value)


def test_eight_bits_without_cuda_are_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sentence = refusal(config(optimizer="adam8bit"))
    assert "needs a GPU with CUDA" in sentence
    assert "choose adam or adamw" in sentence


def test_eight_bits_without_their_package_are_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("shapley_core.training.optimizers.find_spec", lambda name: None)
    assert "package bitsandbytes" in refusal(config(optimizer="adam8bit"))


@pytest.mark.parametrize("name", [None, "adamw"])
def test_other_optimisers_run_everywhere(name):
    check_optimizer(config(optimizer=name))
