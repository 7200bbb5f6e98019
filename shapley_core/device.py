"""Where the heavy half computes: the device that accelerate finds, and how many CPU threads."""

import os

import torch
from accelerate import PartialState

from shapley_core.config import Precision


def compute_device(threads: int) -> torch.device:
    """The device of this process, after setting its number of CPU threads (0: as many as there are cores).

    Two one-thread processes outrun one two-thread process on these networks, and oversubscription costs a multiple,
    so the number of threads is always set and never left to chance.
    """
    torch.set_num_threads(threads or os.cpu_count() or 1)
    device: torch.device = PartialState().device
    return device


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
