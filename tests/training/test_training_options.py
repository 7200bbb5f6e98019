"""Options of the loop: micro-batches, rates that change, optimisers; each resumes to the last bit."""

import sys
from types import ModuleType

import networks
import pytest
import torch

from shapley_core.config import NoiseScheduleConfig, TrainingConfig
from shapley_core.models.ddpm import to_model_range
from shapley_core.training.loop import DiffusionTrainer, TrainingRun
from shapley_core.training.optimizers import learning_rate
from shapley_core.training.samples import TrainingSamples


@pytest.fixture(scope="module")
def samples():
    return TrainingSamples(to_model_range(networks.digit_images(50)))


def make_trainer(samples, n_runs=1, **changes):
    config = TrainingConfig(**{"steps": 6, "batch_size": 8, "learning_rate": 1e-3, "ema_decay": 0.9, **changes})
    small = [networks.tiny_unet(seed=seed, block_out_channels=(8, 16)) for seed in range(n_runs)]
    runs = [TrainingRun.on_all(samples, unet, seed) for seed, unet in enumerate(small)]
    return DiffusionTrainer(runs, samples, config, NoiseScheduleConfig())


def gradients(trainer):
    trainer._add_gradients(trainer._batch())
    return [parameter.grad.clone() for parameter in trainer.network.parameters()]


@pytest.mark.parametrize("n_runs", [1, 3])
@pytest.mark.parametrize("micro", [1, 3, 4, 8, 100])
def test_micro_batches_add_up_to_the_batch(micro, n_runs, samples):
    whole = make_trainer(samples, n_runs, random_flip=True)
    parts = make_trainer(samples, n_runs, random_flip=True, micro_batch_size=micro)
    for expected, found in zip(gradients(whole), gradients(parts), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    whole.run(until=1)
    parts.run(until=1)
    torch.testing.assert_close(parts.losses[0], whole.losses[0], rtol=1e-5, atol=0)


def test_micro_batches_bound_what_the_network_sees_at_once(samples):
    trainer, seen = make_trainer(samples, n_runs=2, micro_batch_size=3), []
    trainer.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    trainer.run(until=1)
    assert seen == [6, 6, 4]


def test_every_step_has_the_rate_of_its_schedule(samples):
    trainer = make_trainer(samples, learning_rate_schedule="cosine", warmup_steps=2)
    for step in range(6):
        before = [parameter.detach().clone() for parameter in trainer.network.parameters()]
        trainer.run(until=step + 1)
        moved = max(
            float((parameter.detach() - old).abs().max())
            for parameter, old in zip(trainer.network.parameters(), before, strict=True)
        )
        rate = learning_rate(trainer.config, step)
        # Adam's first steps are at most about the rate; none is longer than a few of them.
        assert moved <= 4 * rate
        assert (moved > 0) == (rate > 0)


class EightBitStandIn(torch.optim.Optimizer):
    """Keeps its state as bitsandbytes does: steps in plain numbers, bytes, tables that all parameters share, and for
    small parameters other names."""

    def __init__(self, parameters, lr, weight_decay):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})
        self.table = torch.linspace(-1, 1, 256)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["state1"] = torch.zeros(parameter.shape, dtype=torch.uint8)
                    if parameter.numel() >= 64:
                        state["qmap1"] = self.table
                assert isinstance(state["step"], int)
                state["step"] += 1
                state["state1"] += (parameter.grad > 0).to(torch.uint8)
                direction = self.table[state["state1"].long()] if "qmap1" in state else state["state1"].float()
                parameter.sub_(group["lr"] / state["step"] * direction)


@pytest.fixture
def eight_bits(monkeypatch):
    optim = ModuleType("bitsandbytes.optim")
    optim.Adam8bit = EightBitStandIn
    monkeypatch.setitem(sys.modules, "bitsandbytes", ModuleType("bitsandbytes"))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", optim)
    monkeypatch.setattr("shapley_core.training.optimizers.check_optimizer", lambda config: None)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"learning_rate_schedule": "cosine", "warmup_steps": 4},
        {"micro_batch_size": 3},
        {"optimizer": "adam8bit"},
    ],
    ids=str,
)
def test_an_interrupted_run_ends_where_it_would_have_ended(options, samples, tmp_path, eight_bits):
    whole, first, second = (make_trainer(samples, **options) for _ in range(3))
    whole.run()
    first.run(until=3)
    first.save(tmp_path / "state")
    second.restore(tmp_path / "state")
    second.run()
    assert torch.equal(torch.stack(second.losses), torch.stack(whole.losses))
    for expected, found in zip(whole.average(0).values(), second.average(0).values(), strict=True):
        assert torch.equal(found, expected)
