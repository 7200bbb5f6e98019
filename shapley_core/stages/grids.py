"""Images as people look at them: grids of samples as PNG files, and single thumbnails as WebP."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_PER_SIDE = 8
_LARGEST = 48


def image_grid(images: NDArray[np.uint8]) -> bytes:
    """The first images (N, H, W, C) side by side, at most 8 by 8, each at most 48 pixels wide, as PNG."""
    side = min(_PER_SIDE, math.isqrt(len(images)))
    tiles = [_thumbnail(image) for image in images[: side * side]]
    rows = [np.concatenate(tiles[i : i + side], axis=1) for i in range(0, side * side, side)]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(buffer, format="PNG")
    return buffer.getvalue()


def thumbnail_file(image: NDArray[np.uint8]) -> bytes:
    """One image (H, W, C) as WebP, at most 48 pixels wide: as it is where it was not reduced, else about a kilobyte."""
    pixels = _thumbnail(image)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="WEBP", lossless=len(pixels) == len(image), quality=80)
    return buffer.getvalue()


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image (h, w) or (h, w, 3), reduced to 48 pixels where it is larger."""
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    if pixels.shape[0] <= _LARGEST:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((_LARGEST, _LARGEST), Image.Resampling.BOX))
