"""Bilinear interpolation as products of matrices, without PyTorch."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray


@functools.lru_cache(maxsize=16)
def make_bilinear_weights(n_source: int, n_target: int) -> NDArray[np.float64]:
    """Return the float64 (n_target, n_source) weights of bilinear interpolation along one axis.

    Half-pixel centres, without antialiasing, the edge repeated: those of
    ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``.
    """
    source = ((np.arange(n_target) + 0.5) * n_source / n_target - 0.5).clip(0, n_source - 1)
    below = np.floor(source).astype(int)
    above = np.minimum(below + 1, n_source - 1)
    share = (source - below)[:, None]
    identity = np.eye(n_source)
    weights: NDArray[np.float64] = (1 - share) * identity[below] + share * identity[above]
    return weights
