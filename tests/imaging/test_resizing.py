"""Bilinear interpolation against PyTorch's own."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnns_spectrograms.imaging.resizing import make_bilinear_weights

SIZE = st.integers(1, 60)


@given(SIZE, SIZE, SIZE, SIZE)
def test_it_is_pytorchs_interpolation(h: int, w: int, height: int, width: int) -> None:
    image = np.random.default_rng(0).normal(size=(h, w))
    found = make_bilinear_weights(h, height) @ image @ make_bilinear_weights(w, width).T
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], (height, width), mode="bilinear"
    )
    np.testing.assert_allclose(found, expected[0, 0].numpy(), atol=1e-12)
