"""Many networks as one: K networks of one architecture in a single forward and backward pass.

Small networks leave a processor idle: a step of one coalition's fine-tuning is hundreds of operations on a few
kilobytes, and starting them costs more than computing them. :func:`stack` puts K networks into one by giving every
layer K sets of weights; each layer then does the work of K layers in one grouped operation.

A batch of a stacked network interleaves the networks: **row b * K + k belongs to network k**. So a tensor
(B * K, C, H, W) is, without moving a byte, also a tensor (B, K * C, H, W), which is what grouped convolutions and group
norms want, while everything between the layers (skip connections, time steps, attention) sees ordinary rows. No network
sees another: outputs and gradients are those of K separate networks, up to the rounding of other kernels.

Layers whose weights are frozen are the same for all and stay as they are: with LoRA the base does one forward over the
batches of all K coalitions, and each row gets the low-rank update of its own.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn
from torch.nn import functional

from shapley_core.device import device_of

# oneDNN's grouped convolutions compute in blocks of 8 channels and are several times slower on other widths.
_BLOCK = 8
# Stacking pays while a step's largest tensor stays in a core's cache (measured: docs/speed.md), and hardly more beyond
# eight. An accelerator's limit is a guess: none was at hand.
_LARGEST_STACK = 8
_LARGEST_TENSOR = {"cpu": 2**20}
_LARGEST_TENSOR_ELSEWHERE = 2**28


def copies_that_pay(unet: UNet2DModel, batch_size: int) -> int:
    """How many networks like ``unet`` to train as one, each on batches of ``batch_size``: a power of two."""
    size = unet.config.sample_size
    bytes_per_copy = 4 * batch_size * unet.conv_in.out_channels * size * size
    limit = _LARGEST_TENSOR.get(device_of(unet).type, _LARGEST_TENSOR_ELSEWHERE)
    k = 1
    while k < _LARGEST_STACK and 2 * k * bytes_per_copy <= limit:
        k *= 2
    return k


def stack(networks: Sequence[nn.Module]) -> nn.Module:
    """One network that holds K networks of one architecture; every trained parameter gets a leading axis of size K.

    Args:
        networks: K networks whose trained layers are convolutions, linear layers, norms and embeddings. They are left
            as they are; frozen parameters are not copied but shared, and must be the same in all of them.

    Raises:
        ValueError: there are weights to be trained in a layer of another kind.
    """
    frozen = [p for p in networks[0].parameters() if not p.requires_grad]
    stacked = copy.deepcopy(networks[0], {id(parameter): parameter for parameter in frozen})
    for name, module in networks[0].named_modules():
        if not _learns(module):
            continue
        if type(module) not in _LAYERS:
            raise ValueError(f"{name or 'the network'}, a {type(module).__name__} with weights, cannot be stacked")
        parent, _, leaf = name.rpartition(".")
        layers = [network.get_submodule(name) for network in networks]
        setattr(stacked.get_submodule(parent), leaf, _LAYERS[type(module)](layers))
    return stacked


def _learns(module: nn.Module) -> bool:
    """Does training change what the module itself holds: parameters, or running statistics?"""
    statistics = [buffer for buffer in module.buffers(recurse=False) if buffer.is_floating_point()]
    return bool(statistics) or any(parameter.requires_grad for parameter in module.parameters(recurse=False))


class _StackedConv2d(nn.Module):
    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        layer = layers[0]
        if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise ValueError("only plain convolutions can be stacked")
        self.k = len(layers)
        self.stride, self.padding, self.dilation = layer.stride, layer.padding, layer.dilation
        self.weight = _together(layers, "weight")
        self.bias = None if layers[0].bias is None else _together(layers, "bias")
        # A grouped convolution of one pixel is several times slower than the same matrix product.
        plain = layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.padding == (0, 0)
        self.pointwise = plain and self.k > 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pointwise:
            return self._matrix_product(x)
        return self._convolution(x)

    def _matrix_product(self, x: torch.Tensor) -> torch.Tensor:
        rows, _, height, width = x.shape
        y = self.weight.flatten(2) @ x.reshape(rows // self.k, self.k, -1, height * width)
        if self.bias is not None:
            y = y + self.bias[:, :, None]
        return y.view(rows, -1, height, width)

    def _convolution(self, x: torch.Tensor) -> torch.Tensor:
        rows, n_in, height, width = x.shape
        n_out = self.weight.shape[1]
        more_in, more_out = (-n_in % _BLOCK, -n_out % _BLOCK) if self.k > 1 else (0, 0)
        if n_in < _BLOCK:  # an image's few channels have a kernel of their own
            more_in = 0
        weight: torch.Tensor = self.weight
        bias: torch.Tensor | None = self.bias
        if more_in:
            x = functional.pad(x, (0, 0, 0, 0, 0, more_in))
        if more_in or more_out:
            weight = functional.pad(weight, (0, 0, 0, 0, 0, more_in, 0, more_out))
        if more_out and bias is not None:
            bias = functional.pad(bias, (0, more_out))
        y = functional.conv2d(
            x.reshape(rows // self.k, -1, height, width),
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            self.stride,
            self.padding,
            self.dilation,
            groups=self.k,
        )
        y = y.view(rows, n_out + more_out, *y.shape[2:])
        return y[:, :n_out] if more_out else y


class _StackedLinear(nn.Module):
    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.k = len(layers)
        self.weight = _together(layers, "weight")
        self.bias = None if layers[0].bias is None else _together(layers, "bias")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.k == 1:  # one matrix product is faster than a batch of one
            return functional.linear(x, self.weight.squeeze(0), None if self.bias is None else self.bias.squeeze(0))
        by_copy = x.reshape(len(x) // self.k, self.k, -1, x.shape[-1]).transpose(0, 1)
        y = by_copy.reshape(self.k, -1, x.shape[-1]) @ self.weight.mT
        if self.bias is not None:
            y = y + self.bias[:, None]
        return y.view(*by_copy.shape[:3], -1).transpose(0, 1).reshape(*x.shape[:-1], -1)


class _StackedGroupNorm(nn.Module):
    def __init__(self, layers: Sequence[nn.GroupNorm]) -> None:
        super().__init__()
        layer = layers[0]
        if not layer.affine:
            raise ValueError("only group norms with weights can be stacked")
        self.k = len(layers)
        self.num_groups, self.eps = layer.num_groups, layer.eps
        self.weight, self.bias = _together(layers, "weight"), _together(layers, "bias")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        side_by_side = x.reshape(len(x) // self.k, self.k * x.shape[1], *x.shape[2:])
        weight, bias = self.weight.flatten(), self.bias.flatten()
        return functional.group_norm(side_by_side, self.k * self.num_groups, weight, bias, self.eps).view(x.shape)


class _StackedLayerNorm(nn.Module):
    def __init__(self, layers: Sequence[nn.LayerNorm]) -> None:
        super().__init__()
        self.k, self.normalized_shape, self.eps = len(layers), layers[0].normalized_shape, layers[0].eps
        self.weight, self.bias = _together(layers, "weight"), _together(layers, "bias")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normal = functional.layer_norm(x, self.normalized_shape, eps=self.eps)
        by_copy = normal.reshape(len(x) // self.k, self.k, -1, *self.normalized_shape)
        return (by_copy * self.weight[:, None] + self.bias[:, None]).reshape(x.shape)


class _StackedEmbedding(nn.Module):
    def __init__(self, layers: Sequence[nn.Embedding]) -> None:
        super().__init__()
        self.k = len(layers)
        self.weight = _together(layers, "weight")

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        copies = torch.arange(len(ids), device=ids.device) % self.k
        return functional.embedding(ids + self.weight.shape[1] * copies[:, None], self.weight.flatten(0, 1))


_LAYERS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Conv2d: _StackedConv2d,
    nn.Linear: _StackedLinear,
    nn.GroupNorm: _StackedGroupNorm,
    nn.LayerNorm: _StackedLayerNorm,
    nn.Embedding: _StackedEmbedding,
}


def _together(layers: Sequence[nn.Module], name: str) -> nn.Parameter:
    return nn.Parameter(torch.stack([getattr(layer, name).detach() for layer in layers]))
