"""Images as PNG files: the rows' differences, compressed by libdeflate; read by libpng.

The PNG encoders of Pillow, OpenCV and imagecodecs all compress with zlib, which takes most of
their time. libdeflate, which imagecodecs brings too, takes a third of that and makes smaller files
(`benchmarks/spectrogram_cache.py` prints the comparison), but no library writes PNG with it; the
few bytes around the compressed rows are written here (ISO/IEC 15948, https://www.w3.org/TR/png).
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from imagecodecs import PngError, deflate_encode, png_decode
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2  # colour types
_UP = 2  # filter type: each byte is the difference to the one above


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode an image, uint8 (H, W) or (H, W, 3), as PNG.

    Equal images give equal bytes with one version of imagecodecs.
    """
    height, width = image.shape[:2]
    pixels = image.reshape(height, -1)
    # Rows of a smooth image differ little from the row above; the first has zeros above.
    rows = np.empty((height, 1 + pixels.shape[1]), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    colour = _GREY if image.ndim == 2 else _RGB
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
            _chunk(b"IDAT", deflate_encode(rows, level=1)),
            _chunk(b"IEND", b""),
        )
    )


def decode_png(content: bytes) -> NDArray[np.uint8]:
    """Decode a PNG of `encode_png`, as uint8 (H, W) or (H, W, 3).

    Raises:
        ValueError: the bytes are no whole PNG of 8 bits a channel.
    """
    try:
        image = png_decode(content)
    except (PngError, ValueError, RuntimeError) as error:
        raise ValueError(f"not a whole PNG: {error}") from error
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise ValueError("not a PNG of 8 bits a channel")
    return image


def _chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk: length, name, content, and the checksum of the latter two."""
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
