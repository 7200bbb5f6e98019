"""Training with checkpoints in a store: killed, taken up again, with the result of a run that was never killed."""

import networks
import pytest
import torch

from shapley_core.config import NoiseScheduleConfig, TrainingConfig
from shapley_core.models.ddpm import to_model_range
from shapley_core.storage import open_store
from shapley_core.training.loop import DiffusionTrainer, TrainingRun
from shapley_core.training.resumable import train_resumably
from shapley_core.training.samples import TrainingSamples

STEPS = 10
KEY = "checkpoints/0123"


class Killed(BaseException):
    """What ends a process in the middle of a step."""


@pytest.fixture(scope="module")
def images():
    return to_model_range(networks.digit_images(40))


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


def make_trainer(images, killed_in=None):
    """A trainer that is killed in the middle of step ``killed_in``; it counts the steps it begins itself."""
    unet = networks.tiny_unet(block_out_channels=(8, 16))
    config = TrainingConfig(steps=STEPS, batch_size=8, learning_rate=1e-2, ema_decay=0.9)
    samples = TrainingSamples(images)
    run = TrainingRun.on_all(samples, unet, seed=3)
    trainer = DiffusionTrainer([run], samples, config, NoiseScheduleConfig())
    trainer.begun = []

    def begin(*_):
        trainer.begun.append(trainer.step)
        if trainer.step == killed_in:
            raise Killed

    trainer.network.register_forward_pre_hook(begin)
    return trainer


def outcome(trainer):
    weights = [parameter.detach().clone() for parameter in trainer.network.parameters()]
    return [*weights, *trainer.average(0).values(), *trainer.losses]


@pytest.fixture(scope="module")
def expected(images):
    trainer = make_trainer(images)
    trainer.run()
    return outcome(trainer)


def assert_same(trainer, expected):
    for ours, theirs in zip(outcome(trainer), expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("every", [1, 3, 10, 1000])
def test_checkpoints_change_nothing_and_do_not_stay(every, images, store, expected):
    trainer = make_trainer(images)
    train_resumably(trainer, store, KEY, every, "train")
    assert trainer.begun == list(range(STEPS))
    assert store.list() == []
    assert_same(trainer, expected)


def test_killed_twice_and_taken_up_it_ends_the_same(images, store, expected):
    for killed_in, taken_up_at in ((5, 0), (8, 3)):
        killed = make_trainer(images, killed_in)
        with pytest.raises(Killed):
            train_resumably(killed, store, KEY, 3, "train")
        assert killed.begun == list(range(taken_up_at, killed_in + 1))
        assert store.list() == [KEY]
    last = make_trainer(images)
    train_resumably(last, store, KEY, 3, "train")
    assert last.begun == list(range(6, STEPS))  # nothing before the last checkpoint is done again
    assert store.list() == []
    assert_same(last, expected)


def test_killed_before_the_first_checkpoint_it_begins_again(images, store, expected):
    with pytest.raises(Killed):
        train_resumably(make_trainer(images, killed_in=2), store, KEY, 3, "train")
    assert store.list() == []
    trainer = make_trainer(images)
    train_resumably(trainer, store, KEY, 3, "train")
    assert_same(trainer, expected)


def test_a_longer_key_is_another_training(images, store, expected):
    with pytest.raises(Killed):
        train_resumably(make_trainer(images, killed_in=5), store, f"{KEY}4", 3, "train")
    trainer = make_trainer(images)
    train_resumably(trainer, store, KEY, 3, "train")
    assert trainer.begun == list(range(STEPS))
    assert store.list() == [f"{KEY}4"]
    assert_same(trainer, expected)
