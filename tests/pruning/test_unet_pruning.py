"""Pruning: the paper's reduction, the smallest channels, and networks that still work."""

from collections import Counter

import networks
import pytest
import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D

from shapley_core.config import ModelConfig
from shapley_core.models.checkpoint import n_parameters
from shapley_core.models.ddpm import build_unet
from shapley_core.pruning.unet import prune_unet


def widths(unet):
    """Channels at every group norm, convolution and linear layer, by name."""
    found = {}
    for name, module in unet.named_modules():
        if isinstance(module, torch.nn.GroupNorm):
            found[name] = module.num_channels
        elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            found[name] = module.weight.shape[0]
    return found


def removed_outputs(history, layer):
    """Indices of the channels removed from a layer that leads its group."""
    (indices,) = [indices for name, is_out, indices in history if name == layer and is_out]
    return indices


def test_the_papers_cifar_network_loses_what_it_did_in_the_paper():
    """google/ddpm-cifar10-32, §4.2: 35.7 M parameters become 19.8 M."""
    model = ModelConfig(
        block_out_channels=(128, 256, 256, 256),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
        norm_num_groups=32,
    )
    unet = build_unet(model, (3, 32, 32), seed=0)
    assert n_parameters(unet) == 35_746_307
    prune_unet(unet, 0.3)
    assert n_parameters(unet) == pytest.approx(19.8e6, rel=0.02)
    with torch.inference_mode():
        assert unet(torch.zeros(1, 3, 32, 32), 10).sample.shape == (1, 3, 32, 32)
    assert {resnet.conv1.out_channels for resnet in unet.modules() if isinstance(resnet, ResnetBlock2D)} == {96, 192}


@pytest.mark.parametrize("attention", [False, True])
def test_ratio_zero_removes_nothing(attention):
    unet = networks.tiny_unet(attention)
    weights = {name: weight.clone() for name, weight in unet.state_dict().items()}
    expected = networks.predict(unet)
    assert prune_unet(unet, 0.0) == []
    assert all(torch.equal(weight, weights[name]) for name, weight in unet.state_dict().items())
    assert torch.equal(networks.predict(unet), expected)


@pytest.mark.parametrize("groups", [2, 8])
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.99])
@pytest.mark.parametrize("attention", [False, True])
def test_every_layer_loses_its_share_down_to_whole_groups(attention, ratio, groups):
    unet = networks.tiny_unet(attention, mode="RGB", norm_num_groups=groups)
    before = widths(unet)
    prune_unet(unet, ratio)
    after = widths(unet)
    assert after.pop("conv_out") == before.pop("conv_out") == 3
    heads = 4
    for name, width in before.items():
        if "norm" in name:  # perhaps over several layers' channels side by side
            assert after[name] % groups == 0
            assert width - after[name] <= ratio * width
        else:
            whole = 1 if "time_embedding" in name else heads if name.endswith(("to_q", "to_k", "to_v")) else groups
            assert after[name] == width - whole * int(ratio * width / whole + 1e-9)
    blocks = [module for module in unet.modules() if isinstance(module, ResnetBlock2D)]
    expected = {width - int(ratio * width / groups + 1e-9) * groups for width in (16, 32)}
    assert {block.conv1.out_channels for block in blocks} == expected
    assert networks.predict(unet).shape == (3, 3, 8, 8)
    assert networks.predict(unet).isfinite().all()


def test_the_channels_of_smallest_magnitude_go_and_the_others_stay_as_they_are():
    """A group without norms or heads, by hand: what the time embedding's first layer says to its second."""
    unet = networks.tiny_unet()
    first, second = unet.time_embedding.linear_1, unet.time_embedding.linear_2
    weights = {name: layer.weight.detach().clone() for name, layer in (("first", first), ("second", second))}
    bias = first.bias.detach().clone()
    magnitude = weights["first"].square().sum(1) + weights["second"].square().sum(0)
    n_removed = 19  # 0.3 * 64
    history = prune_unet(unet, 0.3)
    removed = magnitude.argsort()[:n_removed]
    assert sorted(removed_outputs(history, "time_embedding.linear_1")) == sorted(removed.tolist())
    kept = [channel for channel in range(64) if channel not in removed]
    kept_after = [c for c in range(64) if c not in removed_outputs(history, "time_embedding.linear_2")]
    assert torch.equal(first.weight, weights["first"][kept])
    assert torch.equal(first.bias, bias[kept])
    assert torch.equal(second.weight, weights["second"][kept_after][:, kept])


@pytest.mark.parametrize(
    ("groups", "places"),
    [
        (1, [2, 3, 5, 8, 13, 21, 24, 30, 31]),
        (4, [1, 6]),  # of the eight channels of each group
    ],
)
def test_planted_small_channels_are_the_ones_removed(groups, places):
    unet = networks.tiny_unet(norm_num_groups=groups)
    planted = [group * (32 // groups) + place for group in range(groups) for place in places]
    block = unet.mid_block.resnets[0]
    with torch.no_grad():
        for weight in (block.conv1.weight, block.time_emb_proj.weight, block.conv2.weight.transpose(0, 1)):
            weight[planted] *= 0.01
    history = prune_unet(unet, 0.3)
    assert sorted(removed_outputs(history, "mid_block.resnets.0.conv1")) == planted
    assert removed_outputs(history, "mid_block.resnets.1.conv1") != planted  # a layer that nothing was planted in


@pytest.mark.parametrize("head_dim", [2, 4, 8, 16, None])
def test_every_attention_head_loses_the_same_places(head_dim):
    heads = 32 // (head_dim or 32)
    unet = networks.tiny_unet(attention=True, attention_head_dim=head_dim)
    width = 32 // heads
    planted = [head * width + 1 for head in range(heads)]
    attention = unet.mid_block.attentions[0]
    with torch.no_grad():
        for projection in (attention.to_q, attention.to_k, attention.to_v):
            projection.weight[planted] *= 0.01
        attention.to_out[0].weight[:, planted] *= 0.01
    history = prune_unet(unet, 0.5)
    (removed,) = [idxs for name, is_out, idxs in history if name == "mid_block.attentions.0.to_out.0" and not is_out]
    assert set(planted) <= set(removed)
    for module in unet.modules():
        if isinstance(module, Attention):
            inner = module.to_q.out_features
            assert module.heads == heads
            assert inner % heads == 0
            assert module.to_k.out_features == module.to_v.out_features == module.to_out[0].in_features == inner
    per_head = Counter(channel // width for channel in removed)
    assert set(per_head.values()) == {len(removed) // heads}
    assert networks.predict(unet).isfinite().all()


def test_heads_lose_their_share_whatever_the_groups_of_the_norm_are():
    # Three heads of eight channels, and eight groups: multiples of three go within the heads, of eight elsewhere.
    unet = networks.tiny_unet(attention=True, block_out_channels=(16, 24), norm_num_groups=8)
    prune_unet(unet, 0.5)
    attention = unet.mid_block.attentions[0]
    assert attention.to_q.out_features == attention.to_out[0].in_features == 12
    assert attention.to_out[0].out_features == 16
    assert networks.predict(unet).isfinite().all()


def test_pruning_is_deterministic_and_draws_nothing():
    state = torch.get_rng_state()
    first, second = networks.tiny_unet(attention=True), networks.tiny_unet(attention=True)
    assert prune_unet(first, 0.5) == prune_unet(second, 0.5)
    assert torch.equal(networks.predict(first), networks.predict(second))
    assert torch.equal(torch.get_rng_state(), state)
