"""Inception v3 trained on ImageNet, of torchvision: the network of the Inception Score and of FID.

Images are resized to 299 pixels bilinearly and brought to -1..1, which is what these weights were trained on (they come
from TensorFlow; torchvision's own ``transform_input`` turns ImageNet's normalisation into the same).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from shapley_core.errors import UserError
from shapley_core.properties.base import Floats, Images
from shapley_core.weights import read_tensors

_SIZE = 299
_BATCH = 64


class Inception:
    """Features and class probabilities of Inception v3.

    Args:
        network: a network (B, 3, 299, 299) to logits (B, K), whose last layer is called ``fc``.
    """

    def __init__(self, network: nn.Module) -> None:
        self.device = PartialState().device
        self.head = network.get_submodule("fc").to(self.device).eval()
        network.add_module("fc", nn.Identity())
        self.body = network.to(self.device).eval()

    def embeddings(self, images: Images) -> Floats:
        """What the last layer sees (N, 2048) of images (N, H, W, C), float64."""
        return self._features(images).double().numpy(force=True)

    def probabilities(self, images: Images) -> Floats:
        """Softmax (N, 1000) of images (N, H, W, C), float64."""
        with torch.inference_mode():
            logits: torch.Tensor = self.head(self._features(images))
        return logits.double().softmax(dim=1).numpy(force=True)

    @torch.inference_mode()
    def _features(self, images: Images) -> torch.Tensor:
        batches = torch.from_numpy(images).split(_BATCH)
        return torch.cat([self.body(prepare_input(batch.to(self.device))) for batch in batches])


def prepare_input(pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, 299, 299) in -1..1 of pixels (B, H, W, C); grey ones in three equal channels."""
    x = pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1).expand(-1, 3, -1, -1)
    # Antialiasing changes nothing where images grow, as CIFAR's do.
    return functional.interpolate(x, (_SIZE, _SIZE), mode="bilinear", align_corners=False, antialias=True)


def load_inception(path: Path) -> Inception:
    """Inception v3 with the weights of a file: torchvision's own, or the same from timm.

    Raises:
        UserError: torchvision is not there, or the weights are not of Inception v3.
    """
    network = _architecture()(weights=None, aux_logits=False, transform_input=False, init_weights=False)
    tensors = _without_auxiliary(read_tensors(path))
    try:
        network.load_state_dict({name: torch.tensor(tensor) for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise UserError(
            f"{path} does not hold the weights of torchvision's Inception v3: it has {len(tensors)} tensors of other "
            "names or shapes; give inception_v3_google-0cc3c7bd.pth, or timm's inception_v3.tv_in1k"
        ) from error
    return Inception(network)


def _without_auxiliary(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The published weights hold a second classifier, half-way, which only training uses."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("AuxLogits.")}


def _architecture() -> Callable[..., nn.Module]:
    """torchvision's ``inception_v3``; imported here, because nothing else needs torchvision."""
    try:
        from torchvision.models import inception_v3
    except (ImportError, RuntimeError, OSError) as error:
        # PyPI's torchvision is linked to CUDA. Beside a torch for the CPU its library of operators cannot be loaded,
        # which it passes over in silence; then it fails ("operator torchvision::nms does not exist").
        missing = isinstance(error, ModuleNotFoundError)
        raise UserError(
            f"Inception v3 needs torchvision, which {'is not installed' if missing else 'does not load'} beside torch "
            f"{torch.__version__}: install the torchvision that was built with this torch"
            + (", '+cpu' like it, from the index of PyTorch; PyPI's needs CUDA" if torch.version.cuda is None else "")
        ) from error
    found: Callable[..., nn.Module] = inception_v3
    return found
