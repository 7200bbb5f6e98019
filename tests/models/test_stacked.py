"""Several networks as one: outputs, gradients, training and samples are those of the networks one at a time."""

import networks
import pytest
import torch
from torch import nn

from shapley_core.models.stacked import copies_that_pay, stack
from shapley_core.pruning.unet import prune_unet


def plain(seed):
    return networks.tiny_unet(seed=seed)


def pruned(seed):
    """Widths that are no multiple of the kernels' blocks."""
    unet = networks.tiny_unet(seed=3)
    prune_unet(unet, 0.3)
    return _shaken(unet, seed)


def attending(seed):
    return _shaken(networks.tiny_unet(attention=True, mode="RGB", seed=1), seed)


def _shaken(unet, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return unet


def inputs(unet, rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = unet.config.sample_size
    noise = torch.randn((rows, unet.config.in_channels, size, size), generator=generator, dtype=torch.float64)
    return noise, torch.randint(0, 1000, (rows,), generator=generator)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("make", [plain, pruned, attending])
def test_outputs_and_gradients_are_those_of_each_network(make, k):
    unets = [make(seed).double() for seed in range(k)]
    stacked = stack(unets)
    x, t = inputs(unets[0], 3 * k)
    y = stacked(x, t).sample
    weight = torch.linspace(0, 1, y.numel(), dtype=torch.float64).view_as(y)
    (y * weight).sum().backward()
    gradients = dict(stacked.named_parameters())
    for i, unet in enumerate(unets):
        alone = unet(x[i::k], t[i::k]).sample
        torch.testing.assert_close(y[i::k], alone, rtol=1e-9, atol=1e-9)
        (alone * weight[i::k]).sum().backward()
        for name, parameter in unet.named_parameters():
            torch.testing.assert_close(gradients[name].grad[i], parameter.grad, rtol=1e-8, atol=1e-9)


def test_the_networks_are_left_as_they_are_and_the_stack_has_its_own_weights():
    unets = [plain(0), plain(1)]
    before = [{name: t.clone() for name, t in unet.state_dict().items()} for unet in unets]
    stacked = stack(unets)
    with torch.no_grad():
        for parameter in stacked.parameters():
            parameter.zero_()
    for unet, state in zip(unets, before, strict=True):
        assert all(torch.equal(unet.state_dict()[name], tensor) for name, tensor in state.items())


def test_names_stay_and_every_parameter_gets_an_axis():
    unets = [attending(seed) for seed in range(3)]
    state = stack(unets).state_dict()
    assert state.keys() == unets[0].state_dict().keys()
    for i, unet in enumerate(unets):
        assert all(torch.equal(state[name][i], tensor) for name, tensor in unet.state_dict().items())


@pytest.mark.parametrize(
    "layer", [nn.PReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 3, padding="same")]
)
def test_a_layer_that_cannot_be_stacked_is_named(layer):
    with pytest.raises(ValueError, match="stacked"):
        stack([nn.Sequential(nn.Conv2d(4, 4, 1), layer)] * 2)


@pytest.mark.parametrize(
    ("resolution", "batch_size", "expected"), [(8, 32, 8), (8, 64, 4), (8, 2, 8), (16, 64, 1), (32, 64, 1)]
)
def test_as_many_copies_as_a_cache_holds(resolution, batch_size, expected):
    assert copies_that_pay(networks.tiny_unet(resolution=resolution), batch_size) == expected
