"""Random projections of gradients to few dimensions that keep inner products.

A dense matrix of normal numbers, as TRAK's, has d k entries: 585 GB for 35.7 M parameters and k = 4,096. A count
sketch (Charikar, Chen and Farach-Colton 2002; as feature hashing arXiv 0902.2206) has d. It adds each coordinate, with
a random sign, to a random one of the k sums. Inner products are kept in expectation, with the variance

    Var <Px, Py> = ( |x|^2 |y|^2 + <x, y>^2 - 2 sum_i x_i^2 y_i^2 ) / k,

never more than that of the normal matrix, which lacks the last term.
"""

from collections.abc import Iterable

import torch

from shapley_core.seeds import derive_seed


class CountSketch:
    """A count sketch from d to k dimensions, drawn from ``seed``.

    Args:
        n_parameters: d.
        dimensions: k.
        seed: of the draw, which is the same on every device.
    """

    def __init__(self, n_parameters: int, dimensions: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(derive_seed(seed, "projection"))
        self.dimensions = dimensions
        # One number per coordinate says both: the sum it belongs to, and by its half the sign.
        self._place = torch.randint(2 * dimensions, (n_parameters,), generator=generator, dtype=torch.int32)

    def to(self, device: torch.device) -> "CountSketch":
        """Itself, moved to another device."""
        self._place = self._place.to(device)
        return self

    def __call__(self, gradients: Iterable[torch.Tensor]) -> torch.Tensor:
        """(B, k) of B vectors, whose d coordinates are those of tensors (B, ...) one after another."""
        parts = [part.flatten(1) for part in gradients]
        sums = parts[0].new_zeros(len(parts[0]), 2 * self.dimensions)
        places = self._place.split([part.shape[1] for part in parts])
        for part, place in zip(parts, places, strict=True):
            for row, vector in zip(sums, part, strict=True):  # index_add_ is fast on CPU in one dimension only
                row.index_add_(0, place, vector)
        plus, minus = sums.chunk(2, dim=1)
        return plus - minus
