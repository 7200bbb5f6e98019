"""Checking what properties need costs no torch, where no pickled weights have to be read."""

import subprocess
import sys

import pytest
import tiny_networks
import torch
from safetensors.torch import save_file

CHECK = """
import sys
from shapley_core.config import PropertyConfig
from shapley_core.properties import check_requirements
check_requirements({name!r}, None, PropertyConfig(name={name!r}, **{settings!r}))
print([name for name in ("torch", "transformers", "torchvision") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIP, and a head for it."""
    root = tmp_path_factory.mktemp("light")
    tiny_networks.save_network("clip", root / "clip")
    save_file(torch.nn.Linear(16, 1).state_dict(), root / "head.safetensors")
    return root


@pytest.mark.parametrize("name", ["diversity", "fid", "aesthetic"])
def test_no_torch_is_imported(name, folder):
    clip = str(folder / "clip")
    settings = {"embedder": "clip", "embedder_weights": clip, "aesthetic_clip": clip}
    code = CHECK.format(name=name, settings=settings | {"aesthetic_head": str(folder / "head.safetensors")})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
