"""Where the heavy half computes."""

import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from shapley_core.device import compute_device, computes_in_bfloat16, precision


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


def test_garbage_is_looked_for_as_usual_before_anything_is_computed():
    program = """
import gc
usual = gc.get_threshold()
import shapley_core.stages
assert gc.get_threshold() > usual
from shapley_core.device import compute_device
compute_device(1)
assert gc.get_threshold() == usual
"""
    subprocess.run([sys.executable, "-c", program], check=True)


CPU = torch.device("cpu")


@pytest.mark.parametrize("instructions", ["none", "amx_tile", "avx512_bf16"])
@pytest.mark.parametrize("name", ["float32", "bfloat16", "auto"])
def test_products_are_of_the_precision_asked_for(name, instructions, monkeypatch):
    for known in ("amx_tile", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, f"_is_{known}_supported", lambda known=known: known == instructions)
    matrix = torch.eye(2)
    with precision(CPU, name):
        product = matrix @ matrix
    reduced = name == "bfloat16" or (name == "auto" and instructions != "none")
    assert product.dtype == (torch.bfloat16 if reduced else torch.float32)


@pytest.mark.parametrize("has_instructions", [False, True])
def test_a_gpu_that_only_emulates_bfloat16_does_not_count(has_instructions, monkeypatch):
    def supported(including_emulation=True):
        return including_emulation or has_instructions

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert computes_in_bfloat16(torch.device("cuda")) == has_instructions
    assert not computes_in_bfloat16(torch.device("mps"))


def _attended_and_gradient(context, inputs, mask=None):
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    with context:
        attended = functional.scaled_dot_product_attention(*leaves, attn_mask=mask)
    attended.float().square().sum().backward()
    return attended, torch.cat([leaf.grad.float() for leaf in leaves])


@pytest.mark.parametrize("masked", [False, True])
def test_short_attention_in_bfloat16_is_computed_in_float32_on_a_cpu(masked):
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 3, 9, 8, generator=generator).bfloat16() for _ in range(3)]
    mask = torch.randn(9, 9, generator=generator).bfloat16() if masked else None
    attended, gradient = _attended_and_gradient(precision(CPU, "bfloat16"), inputs, mask)
    exact, exact_gradient = _attended_and_gradient(
        precision(CPU, "float32"), [tensor.float() for tensor in inputs], mask.float() if masked else None
    )
    assert attended.dtype == torch.bfloat16  # what follows computes in it
    assert torch.equal(attended, exact.bfloat16())
    torch.testing.assert_close(gradient, exact_gradient, rtol=0.02, atol=0.02)
    by_torch, _ = _attended_and_gradient(torch.autocast("cpu", torch.bfloat16), inputs, mask)
    assert not torch.equal(attended, by_torch)


def test_long_attention_stays_in_bfloat16():
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, 1, 256, 8, generator=generator).bfloat16() for _ in range(3)]
    here, _ = _attended_and_gradient(precision(CPU, "bfloat16"), inputs)
    by_torch, _ = _attended_and_gradient(torch.autocast("cpu", torch.bfloat16), inputs)
    assert torch.equal(here, by_torch)


def test_other_products_stay_in_the_reduced_precision_and_so_do_those_after_attention():
    x = torch.randn(1, 1, 4, 8)
    with precision(CPU, "bfloat16"):
        assert (x @ x.mT).dtype == torch.bfloat16
        functional.scaled_dot_product_attention(x, x, x)
        assert (x @ x.mT).dtype == torch.bfloat16
    assert (x @ x.mT).dtype == torch.float32
