"""Images as PNG files, encoded and decoded by imagecodecs (libpng).

Of Pillow, OpenCV and imagecodecs, with each filter and strategy of zlib's fastest level, this one
encodes spectrograms fastest among those that make files of about the smallest size
(`benchmarks/spectrogram_cache.py` prints the comparison).
"""

from __future__ import annotations

import numpy as np
from imagecodecs import PngError, png_decode, png_encode
from numpy.typing import NDArray

_UP = 32  # libpng's PNG_FILTER_UP: rows of a smooth image differ little from the row above


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode an image, uint8 (H, W) or (H, W, 3), as PNG.

    Equal images give equal bytes with one version of imagecodecs.
    """
    return bytes(png_encode(np.ascontiguousarray(image), level=1, filter=_UP))


def decode_png(content: bytes) -> NDArray[np.uint8]:
    """Decode a PNG of `encode_png`, as uint8 (H, W) or (H, W, 3).

    Raises:
        ValueError: the bytes are not a whole PNG of 8 bits per channel.
    """
    try:
        image = png_decode(content)
        fault = "" if image.dtype == np.uint8 else "not a PNG of 8 bits per channel"
    except (PngError, ValueError, RuntimeError) as error:
        fault = f"not a whole PNG: {error}"
    if fault:
        raise ValueError(fault)
    return np.asarray(image)
