"""PNG files: the same pixels back, read by another library too, and damage told."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from cnns_spectrograms.imaging.png import decode_png, encode_png

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.tuples(
    st.integers(1, 40), st.integers(1, 40), st.just(3)
)


@settings(deadline=None)
@given(hnp.arrays(np.uint8, SHAPES))
def test_pixels_come_back_and_pillow_sees_the_same(image: NDArray[np.uint8]) -> None:
    png = encode_png(image)
    np.testing.assert_array_equal(decode_png(png), image)
    with Image.open(io.BytesIO(png)) as other:
        assert other.mode == ("L" if image.ndim == 2 else "RGB")
        np.testing.assert_array_equal(np.array(other), image)


def test_an_image_of_other_strides_is_the_same_image() -> None:
    image = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
    moved = np.moveaxis(image, 0, 2)
    assert encode_png(moved) == encode_png(np.ascontiguousarray(moved))
    assert encode_png(image[0][::2]) == encode_png(image[0][::2].copy())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_is_an_error_or_the_same_pixels(data: st.DataObject) -> None:
    image = np.random.default_rng(0).integers(0, 255, (24, 24), dtype=np.uint8)
    png = bytearray(encode_png(image))
    png[data.draw(st.integers(0, len(png) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_png(bytes(png))
    except ValueError:
        return
    # A byte of the file that says nothing of the pixels, such as the end's checksum.
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("length", [0, 7, 60, -30])
def test_a_truncated_file_is_an_error(length: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    with pytest.raises(ValueError, match="not a whole PNG"):
        decode_png(encode_png(image)[:length])


def test_sixteen_bits_are_refused() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(buffer, "PNG")
    with pytest.raises(ValueError, match="8 bits per channel"):
        decode_png(buffer.getvalue())
