"""What a network learns from: samples, and what it is told about each of them."""

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


@dataclass(frozen=True, eq=False)
class TrainingSamples:
    """Training images in the form that the network sees, all of them at once.

    Attributes:
        clean: (N, C, H, W) float32: pixels in -1..1, or latents.
        mirrored: (N, C, H, W), the same images flipped left to right; None: a sample's flip is its mirror image, as it
            is with pixels (an autoencoder's latents of a mirrored image are other numbers).
        prompts: (P, ...) what the network can be told: embeddings of prompts, or their tokens; None: nothing.
        prompt_of: (N,) int64, which prompt belongs to each sample.
    """

    clean: torch.Tensor
    mirrored: torch.Tensor | None = None
    prompts: torch.Tensor | None = None
    prompt_of: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.clean)

    def _tensors(self) -> dict[str, torch.Tensor]:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def to(self, device: torch.device) -> "TrainingSamples":
        """The same on another device."""
        return TrainingSamples(**{name: tensor.to(device) for name, tensor in self._tensors().items()})

    def save(self, path: Path) -> None:
        """Write them as safetensors."""
        save_file({name: tensor.contiguous() for name, tensor in self._tensors().items()}, path)

    @classmethod
    def load(cls, path: Path) -> "TrainingSamples":
        """Read what :meth:`save` wrote."""
        return cls(**load_file(path))

    def batch(self, indices: torch.Tensor, flips: torch.Tensor | None) -> torch.Tensor:
        """(B, C, H, W) of the rows ``indices`` (B,), those mirrored for which ``flips`` (B,) is true."""
        clean = self.clean[indices]
        if flips is None:
            return clean
        mirrored = clean.flip(-1) if self.mirrored is None else self.mirrored[indices]
        return torch.where(flips[:, None, None, None], mirrored, clean)

    def told(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The network's arguments besides sample and timestep, for the rows ``indices`` (B,)."""
        if self.prompts is None or self.prompt_of is None:
            return ()
        return (self.prompts[self.prompt_of[indices]],)
