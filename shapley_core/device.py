"""Where the heavy half computes: the device that accelerate finds, and how many CPU threads."""

import os

import torch
from accelerate import PartialState


def compute_device(threads: int) -> torch.device:
    """The device of this process, after setting its number of CPU threads (0: as many as there are cores).

    Two one-thread processes outrun one two-thread process on these networks, and oversubscription costs a multiple,
    so the number of threads is always set and never left to chance.
    """
    torch.set_num_threads(threads or os.cpu_count() or 1)
    device: torch.device = PartialState().device
    return device


def precision(device: torch.device, name: str) -> torch.autocast:
    """The context in which a network computes with this precision ("float32" or "bfloat16")."""
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16")


def speed_up(network: torch.nn.Module, compile: bool) -> None:
    """Compile the network in place where that is wanted; on a GPU its kernels are launched as one CUDA graph."""
    if compile:
        network.compile(mode="reduce-overhead")
