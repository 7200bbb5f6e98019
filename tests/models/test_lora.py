"""The adapter: what it computes, that diffusers reads it, and many of them over one base."""

import captioned
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from shapley_core.config import NoiseScheduleConfig, TrainingConfig
from shapley_core.errors import UserError
from shapley_core.models.lora import (
    WEIGHTS,
    add_adapter,
    load_adapter,
    lora_layers,
    merged,
    save_adapter,
    without_effect,
)
from shapley_core.models.stacked import stack
from shapley_core.training.loop import DiffusionTrainer, TrainingRun
from shapley_core.training.samples import TrainingSamples


def base_unet() -> UNet2DConditionModel:
    return captioned.small_base().unet


def adapted(seed: int = 1, rank: int = 4) -> UNet2DConditionModel:
    """An adapter that does something: B is not zero."""
    unet = add_adapter(base_unet(), rank, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, b in lora_layers(unet).values():
            b.copy_(torch.randn(b.shape, generator=generator) * 0.3)
    return unet


def predict(unet: torch.nn.Module, rows: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(rows, 4, 4, 4, generator=generator)
    told = torch.randn(rows, 8, 16, generator=generator)
    with torch.inference_mode():
        return unet(x, torch.arange(rows) * 400, told).sample


def test_a_new_adapter_changes_nothing_and_only_it_is_trained() -> None:
    unet = add_adapter(base_unet(), 4, seed=1)
    torch.testing.assert_close(predict(unet), predict(base_unet()), rtol=0, atol=0)
    trained = {name for name, p in unet.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    # Self- and cross-attention of three transformers (one down, the middle, two up), each with four projections.
    assert len(lora_layers(unet)) == 4 * 2 * 4


def test_the_update_is_b_times_a() -> None:
    unet, by_hand = adapted(), base_unet()
    with torch.no_grad():
        for name, (a, b) in lora_layers(unet).items():
            by_hand.get_submodule(name).weight += b @ a
    torch.testing.assert_close(predict(unet), predict(by_hand), rtol=1e-4, atol=1e-5)
    assert (predict(unet) - predict(base_unet())).abs().max() > 0.01


def test_merged_it_computes_the_same_and_the_base_comes_back_to_the_last_bit() -> None:
    unet = adapted()
    before, weights = predict(unet), {name: w.clone() for name, w in unet.state_dict().items()}
    for _ in range(2):
        with merged(unet):
            torch.testing.assert_close(predict(unet), before, rtol=1e-4, atol=1e-5)
            alone = predict(unet)
            for _, b in lora_layers(unet).values():
                b.data.mul_(2)
            torch.testing.assert_close(predict(unet), alone, rtol=0, atol=0)  # the adapter has no products of its own
            for _, b in lora_layers(unet).values():
                b.data.div_(2)
        assert all(torch.equal(w, weights[name]) for name, w in unet.state_dict().items())
        torch.testing.assert_close(predict(unet), before, rtol=0, atol=0)


def test_what_cannot_be_merged_leaves_the_base_as_it_was() -> None:
    unet = adapted()
    base = {name: w.clone() for name, w in unet.state_dict().items() if "lora_" not in name}
    [*lora_layers(unet).values()][-1][1].data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"), merged(unet):
        raise AssertionError("it was merged")
    assert all(torch.equal(unet.state_dict()[name], w) for name, w in base.items())


def test_without_effect_it_is_the_base_again() -> None:
    unet = adapted()
    without_effect(unet, seed=2)
    torch.testing.assert_close(predict(unet), predict(base_unet()), rtol=0, atol=0)
    assert all(a.abs().max() > 0 for a, _ in lora_layers(unet).values())  # ready to be trained


@pytest.mark.parametrize("uneven", [False, True])
def test_reloaded_bit_identical_and_read_by_diffusers(tmp_path, uneven) -> None:
    ranks = {name: 1 + i % 3 for i, name in enumerate(lora_layers(adapted())) if i != 4} if uneven else 4
    unet = add_adapter(base_unet(), ranks, seed=3)
    with torch.no_grad():
        for _, b in lora_layers(unet).values():
            b.normal_(generator=torch.Generator().manual_seed(len(b)))
    save_adapter(unet, tmp_path)
    again = load_adapter(base_unet(), tmp_path)
    torch.testing.assert_close(predict(again), predict(unet), rtol=0, atol=0)
    theirs = base_unet()
    theirs.load_lora_adapter(load_file(tmp_path / WEIGHTS), prefix="unet")
    torch.testing.assert_close(predict(theirs), predict(unet), rtol=1e-5, atol=1e-6)


def test_many_adapters_in_one_forward_of_the_base() -> None:
    base = base_unet()
    unets = []
    for seed in range(3):
        unet = adapted(seed)
        for name, parameter in unet.named_parameters():  # one base for all
            if not parameter.requires_grad:
                parameter.data = base.get_parameter(name.replace(".base_layer", "")).data
        unets.append(unet.double())
    stacked = stack(unets)
    frozen = [name for name, p in stacked.named_parameters() if not p.requires_grad]
    assert all(stacked.get_parameter(name) is unets[0].get_parameter(name) for name in frozen)
    x = torch.randn(6, 4, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    told = torch.randn(6, 8, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = stacked(x, torch.arange(6) * 100, told).sample
    y.square().sum().backward()
    for k, unet in enumerate(unets):
        alone = unet(x[k::3], torch.arange(6)[k::3] * 100, told[k::3]).sample
        torch.testing.assert_close(y[k::3], alone, rtol=1e-9, atol=1e-10)
        alone.square().sum().backward()
        for name, parameter in unet.named_parameters():
            if parameter.requires_grad:
                torch.testing.assert_close(stacked.get_parameter(name).grad[k], parameter.grad, rtol=1e-8, atol=1e-9)


def test_adapters_trained_together_end_as_each_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    samples = TrainingSamples(
        torch.randn(20, 4, 4, 4, generator=generator),
        prompts=torch.randn(2, 8, 16, generator=generator),
        prompt_of=torch.arange(20) % 2,
    )
    unet = add_adapter(base_unet(), 2, seed=0)
    runs = [TrainingRun(unet, torch.arange(k, 20, 2), seed=k) for k in (0, 1)]
    config = TrainingConfig(steps=6, batch_size=4, learning_rate=1e-2, ema_decay=0.5)

    def trained(chosen):
        trainer = DiffusionTrainer(chosen, samples, config, NoiseScheduleConfig())
        trainer.run()
        return [trainer.average(k) for k in range(len(chosen))]

    together = trained(runs)
    for k, run in enumerate(runs):
        (alone,) = trained([run])
        assert all("lora_" in name for name in alone)
        for name, weight in alone.items():
            # Adam takes whole steps where a gradient is next to zero: rounding there is a part of the learning rate.
            torch.testing.assert_close(together[k][name], weight, rtol=1e-3, atol=config.learning_rate / 100)
    moved = max((together[0][name] - together[1][name]).abs().max() for name in together[0])
    assert moved > 1e-3


@pytest.mark.parametrize("damage", ["absent", "torn", "of another base"])
def test_a_bad_adapter_is_told(tmp_path, damage) -> None:
    save_adapter(adapted(), tmp_path)
    path = tmp_path / WEIGHTS
    if damage == "absent":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:200])
    else:
        save_file({name.replace("down_blocks.1", "down_blocks.7"): t for name, t in load_file(path).items()}, path)
    with pytest.raises(UserError, match="holds no adapter" if damage == "absent" else "belongs to another base model"):
        load_adapter(base_unet(), tmp_path)
