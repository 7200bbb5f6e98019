"""Where the heavy half computes."""

import os

import pytest
import torch

from shapley_core.device import compute_device


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (2, 2), (0, os.cpu_count())])
def test_the_number_of_threads_is_set(asked, given):
    torch.set_num_threads(3)
    device = compute_device(asked)
    assert torch.get_num_threads() == given
    assert torch.zeros(1, device=device).device.type == ("cuda" if torch.cuda.is_available() else "cpu")
