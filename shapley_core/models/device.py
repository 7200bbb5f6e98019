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
