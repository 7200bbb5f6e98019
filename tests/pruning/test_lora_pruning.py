"""Which ranks go, what stays of the update, and that what is left is an adapter like any other."""

import captioned
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from shapley_core.models.lora import add_adapter, load_adapter, lora_layers, save_adapter
from shapley_core.pruning.lora import largest_components, prune_lora, singular_components


def random_layers(seed: int, rank: int = 4):
    generator = torch.Generator().manual_seed(seed)
    return {
        f"layer {i}": (
            torch.randn(rank, 6 + i, generator=generator) * (1 + i),
            torch.randn(5 + i, rank, generator=generator),
        )
        for i in range(3)
    }


def test_by_hand() -> None:
    layers = {
        # |b| |a| of the components: 5 * 1 = 5 and 1 * 1 = 1
        "one": (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[3.0, 0.0], [4.0, 1.0]])),
        # 2 * 2 = 4 and 0
        "two": (torch.tensor([[2.0], [7.0]]), torch.tensor([[2.0, 0.0]])),
    }
    kept = largest_components(layers, 0.5)
    assert {name: [*a.shape, *b.shape] for name, (a, b) in kept.items()} == {"one": [1, 2, 2, 1], "two": [1, 1, 1, 1]}
    assert kept["one"][1].tolist() == [[3.0], [4.0]]
    assert kept["two"][0].tolist() == [[2.0]]
    assert [*largest_components(layers, 0.75)] == ["one"]  # a module that loses all loses its adapter
    assert [*largest_components(layers, 0.99)] == ["one"]  # one component always stays


@given(st.integers(0, 1000), st.floats(0, 0.99))
@example(187, 0.375)
def test_the_largest_stay_and_the_rest_goes(seed: int, ratio: float) -> None:
    layers = random_layers(seed)
    kept = largest_components(layers, ratio)
    sizes = {name: (a.norm(dim=1) * b.norm(dim=0)).tolist() for name, (a, b) in layers.items()}
    left = [float(a.norm() * b.norm()) for pair in kept.values() for a, b in zip(pair[0], pair[1].T, strict=True)]
    every = sorted((size for group in sizes.values() for size in group), reverse=True)
    assert len(left) == max(1, 12 - int(ratio * 12 + 1e-9))
    # as tensors: two ways to multiply the same two norms differ in the last bit of a float32
    torch.testing.assert_close(torch.tensor(sorted(left, reverse=True)), torch.tensor(every[: len(left)]))


@pytest.mark.parametrize("rank", [2, 5, 9])  # 9: more than the update can have
def test_singular_components_are_the_same_update_best_first(rank: int) -> None:
    a, b = random_layers(1, rank)["layer 0"]
    new_a, new_b = singular_components(a, b)
    torch.testing.assert_close(new_b @ new_a, b @ a, rtol=1e-4, atol=1e-4)
    magnitudes = new_a.norm(dim=1) * new_b.norm(dim=0)
    torch.testing.assert_close(magnitudes, torch.linalg.svdvals(b @ a)[: len(magnitudes)], rtol=1e-4, atol=1e-4)


def errors(method: str) -> float:
    """|B A - what is left of it| / |B A| over the adapter, after half of the ranks went."""
    unet = trained_adapter()
    before = {name: (b @ a).detach() for name, (a, b) in lora_layers(unet).items()}
    prune_lora(unet, 0.5, method)
    after = {name: (b @ a).detach() for name, (a, b) in lora_layers(unet).items()}
    lost = torch.cat([(update - after.get(name, 0 * update)).flatten() for name, update in before.items()])
    return float(lost.norm() / torch.cat([update.flatten() for update in before.values()]).norm())


def trained_adapter():
    unet = add_adapter(captioned.small_base().unet, 4, seed=1)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for i, (_, b) in enumerate(lora_layers(unet).values()):
            b.copy_(torch.randn(b.shape, generator=generator) * (1 + i % 5))
    return unet


def test_singular_components_lose_less() -> None:
    assert errors("svd") < errors("magnitude")


@pytest.mark.parametrize("method", ["magnitude", "svd"])
def test_a_pruned_adapter_has_ranks_of_its_own_and_reloads_bit_identical(tmp_path, method: str) -> None:
    unet = trained_adapter()
    assert prune_lora(unet, 0.5, method) is unet
    ranks = [len(a) for a, _ in lora_layers(unet).values()]
    assert sum(ranks) == 64 and len({*ranks}) > 1  # of 32 modules with four each
    save_adapter(unet, tmp_path)
    again = load_adapter(captioned.small_base().unet, tmp_path)
    x, told = torch.randn(2, 4, 4, 4), torch.randn(2, 8, 16)
    with torch.inference_mode():
        torch.testing.assert_close(again(x, 10, told).sample, unet(x, 10, told).sample, rtol=0, atol=0)
    assert {n for n, p in again.named_parameters() if p.requires_grad} == {
        n for n, p in unet.named_parameters() if p.requires_grad
    }
