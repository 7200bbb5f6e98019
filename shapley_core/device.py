"""Where the heavy half computes: the device that accelerate finds, and how many CPU threads."""

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from shapley_core import startup
from shapley_core.config import Precision

Network = TypeVar("Network", bound=torch.nn.Module)
Adam = TypeVar("Adam", bound=torch.optim.Adam)

#: Queries of attention up to which float32 is faster than bfloat16 on a CPU.
_SHORT = 128


def compute_device(threads: int) -> torch.device:
    """The device of this process, after setting its number of CPU threads (0: as many as there are cores).

    Two one-thread processes outrun one two-thread process on these networks, and oversubscription costs a multiple,
    so the number of threads is always set and never left to chance.
    """
    startup.is_over()
    torch.set_num_threads(threads or os.cpu_count() or 1)
    device: torch.device = PartialState().device
    return device


def moved(network: Network, device: torch.device) -> Network:
    """The network on that device; a diffusers network's own ``to`` imports offloading and torch's compiler first."""
    return torch.nn.Module.to(network, device)


def device_of(network: torch.nn.Module) -> torch.device:
    """Where the network's weights are; a diffusers network's own ``device`` imports as much."""
    return next(network.parameters()).device


def computes_in_bfloat16(device: torch.device) -> bool:
    """Has the device instructions that multiply bfloat16: AMX or AVX512-BF16, or CUDA from compute capability 8 on?

    Elsewhere bfloat16 is emulated, and several times slower than float32 (docs/speed.md).
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


@contextmanager
def precision(device: torch.device, name: Precision) -> Iterator[None]:
    """While the context lasts, a network computes with this precision; on a CPU, short attention always in float32."""
    reduced = name == "bfloat16" or (name == "auto" and computes_in_bfloat16(device))
    attention = _ShortAttentionInFloat32() if reduced and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=reduced), attention:
        yield


class _ShortAttentionInFloat32(TorchFunctionMode):
    """Scaled dot product attention of few queries in float32, whatever autocast says.

    torch's kernel for bfloat16 on a CPU takes up to seven times as long with its gradients, and wins from some 256
    queries on (docs/speed.md).
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        attends = func is functional.scaled_dot_product_attention
        return (_attend if attends else func)(*args, **(kwargs or {}))


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None, **how: Any
) -> torch.Tensor:
    if query.shape[-2] > _SHORT:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask, **how)
    if attn_mask is not None and attn_mask.is_floating_point():
        attn_mask = attn_mask.float()
    with torch.autocast("cpu", enabled=False):
        inputs = query.float(), key.float(), value.float(), attn_mask
        return functional.scaled_dot_product_attention(*inputs, **how).to(query.dtype)


def speed_up(network: torch.nn.Module, compile: bool) -> None:
    """Compile the network in place where that is wanted; on a GPU its kernels are launched as one CUDA graph."""
    if compile:
        network.compile(mode="reduce-overhead")


def uncompiled(optimizer: type[Adam]) -> type[Adam]:
    """The class without what its methods tell torch's compiler, which takes a second of every task to import.

    No optimiser is compiled here; what :func:`speed_up` compiles are networks.
    """
    told = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in told}
    methods["step"] = torch.no_grad()(methods["step"])
    made: type[Adam] = type(optimizer.__name__, (optimizer,), methods)
    return made
