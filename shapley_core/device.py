"""Where the heavy half computes: the device that accelerate finds, and how many CPU threads."""

import inspect
import os
from typing import TypeVar

import torch
from accelerate import PartialState

from shapley_core import startup
from shapley_core.config import Precision

Network = TypeVar("Network", bound=torch.nn.Module)
Adam = TypeVar("Adam", bound=torch.optim.Adam)


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


def precision(device: torch.device, name: Precision) -> torch.autocast:
    """The context in which a network computes with this precision."""
    reduced = name == "bfloat16" or (name == "auto" and computes_in_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=reduced)


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
