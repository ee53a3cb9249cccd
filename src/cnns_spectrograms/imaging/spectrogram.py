"""The spectrogram of an ECG window as a grey image, in batches, on any device.

Shapes: N windows, S samples, B frequency bins, F frames, H = W = image_size pixels,
C channels (views).

All arithmetic is float64: images then do not depend on the batch a window comes in, and CPU and
GPU agree, because rounding errors (1e-13 of a grey level) practically never meet a rounding edge.
A change that gives other pixels raises PIXELS_VERSION in ``plan``, so that caches are rebuilt.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnns_spectrograms.imaging.kinds import Kind, make_kind
from cnns_spectrograms.imaging.resizing import make_bilinear_weights
from cnns_spectrograms.parameters import SpectrogramParameters

# mV. Below the quantisation noise of a 5 uV step (1.6e-4 mV in a bin of a 128-sample Hann
# segment), so in recorded ECG it only catches digital silence, whose logarithm has no meaning.
FLOOR_MV = 1e-5

# Natural-log units. A smaller spread between the two percentiles is rounding error, not signal.
_FLAT_SPREAD = 1e-9

# Grey levels. Ties (x.5, give or take rounding error) go up, on every device.
_TIE = 1e-6

# Windows whose small spectrograms are computed at once, and images that a CPU resizes at once
# (temporaries of 1.2 MB at 224 px, which stay in a core's cache).
_BLOCK = 256
_CHUNK = 2


def compute_spectrograms(
    windows: torch.Tensor | NDArray[np.floating[Any]],
    fs: float,
    params: SpectrogramParameters,
) -> torch.Tensor:
    """Turn windows of signal into spectrogram images.

    The transform is one of `kinds.KINDS`. The natural logarithm of its magnitude, at least
    ``FLOOR_MV``, is clipped to two percentiles of the window's own image (linear interpolation),
    scaled to [0, 1], resized with bilinear interpolation (half-pixel centres, no antialiasing) and
    rounded to 256 grey levels. A window whose image is flat gives zeros.

    Where ``params`` has extra views, the stretch of signal of each follows the window in the same
    row (`SpectrogramParameters.view_lengths`) and gives a channel, drawn in the same way with its
    own resolution.

    Args:
        windows: signal, mV, (n, width), float32 or float64, without NaN; width is n_samples, or,
            with extra views, n_samples and the lengths of these together.
        fs: sampling rate, Hz.
        params: what shapes the pixels.

    Returns:
        uint8 (n, image_size, image_size), or (n, image_size, image_size, 3) with extra views, on
        the device of ``windows``; row 0 is the highest frequency, column 0 the earliest time. The
        same window gives the same pixels in any batch.

    Raises:
        ValueError: windows that are not finite; or as `kinds.make_kind`.
    """
    windows_NS = _as_tensor(windows)
    device = windows_NS.device
    if device.type == "mps":  # has no float64
        windows_NS = windows_NS.cpu()
    size = params.image_size
    views = _make_views(windows_NS.shape[1], fs, params)
    images_NHWC = torch.empty(
        (len(windows_NS), size, size, len(views)), dtype=torch.uint8, device=windows_NS.device
    )
    with torch.no_grad():
        for start in range(0, len(windows_NS), _BLOCK):
            block_NS = windows_NS[start : start + _BLOCK].double()
            for channel, (samples, kind) in enumerate(views):
                grey_NBF = _make_grey(block_NS[:, samples], kind, params)
                _resize_into(images_NHWC[start : start + _BLOCK, ..., channel], grey_NBF)
    images = images_NHWC[..., 0] if len(views) == 1 else images_NHWC
    return images.to(device)


def draw_images(windows_NS: torch.Tensor, fs: float, params: SpectrogramParameters) -> torch.Tensor:
    """Return the images of `compute_spectrograms` in plain operations, which a graph can hold.

    Args:
        windows_NS: signal, mV, (n, width), as `compute_spectrograms` takes it; not checked.
        fs: sampling rate, Hz.
        params: what shapes the pixels.

    Returns:
        uint8 (n, 1 or 3, image_size, image_size).
    """
    windows_NS = windows_NS.double()
    channels = []
    # While a graph is traced, sizes are tensors.
    for samples, kind in _make_views(int(windows_NS.shape[1]), fs, params):
        grey_NBF = _make_grey(windows_NS[:, samples], kind, params)
        rows_HB, columns_FW = _make_resizing(grey_NBF, params.image_size)
        channels.append((rows_HB @ (grey_NBF @ columns_FW)).to(torch.uint8))
    return torch.stack(channels, dim=1)


def _make_views(width: int, fs: float, params: SpectrogramParameters) -> list[tuple[slice, Kind]]:
    """Return the samples of a window that each channel shows, and with which transform."""
    lengths = [n for _, n in params.view_lengths(fs, 0)]
    lengths[0] = width - sum(lengths)
    views, start = [], 0
    for n, each in zip(lengths, (params, *params.extra_views), strict=True):
        views.append((slice(start, start + n), make_kind(each, fs, n)))
        start += n
    return views


def _make_grey(windows_NS: torch.Tensor, kind: Kind, params: SpectrogramParameters) -> torch.Tensor:
    """Return the spectrograms of float64 stretches, (N, B, F), lowest frequency first.

    Values are grey levels, offset so that truncation rounds them.
    """
    log_NBF = kind.compute(windows_NS).clamp_min(FLOOR_MV).log()
    log_NK = log_NBF.flatten(1)
    low_N = _percentile(log_NK, params.low_percentile)[:, None, None]
    high_N = _percentile(log_NK, params.high_percentile)[:, None, None]
    spread_N = high_N - low_N
    scaled_NBF = ((log_NBF - low_N) / spread_N.clamp_min(_FLAT_SPREAD)).clamp(0, 1)
    scaled_NBF = torch.where(spread_N > _FLAT_SPREAD, scaled_NBF, 0.0)

    # The weights of a bilinear pixel sum to 1: scaling and rounding offset may come first.
    return scaled_NBF * 255 + (0.5 + _TIE)


def _resize_into(out_NHW: torch.Tensor, grey_NBF: torch.Tensor) -> None:
    """Resize to uint8 images: two products of matrices are faster than torch's interpolation."""
    device, size = grey_NBF.device, out_NHW.shape[1]
    rows_HB, columns_FW = _make_resizing(grey_NBF, size)
    n = _CHUNK if device.type == "cpu" else len(grey_NBF)  # a GPU: few launches
    pixels = torch.empty((n, size, size), dtype=torch.float64, device=device)
    levels = torch.empty((n, size, size), dtype=torch.int32, device=device)
    wide_NBW = grey_NBF @ columns_FW  # first, since there are fewer bins than frames
    for wide, out in zip(wide_NBW.split(n), out_NHW.split(n), strict=True):
        k = len(out)
        torch.bmm(rows_HB.expand(k, -1, -1), wide, out=pixels[:k])
        # Truncates; by way of int32, as torch turns float64 to uint8 at half the speed.
        out.copy_(levels[:k].copy_(pixels[:k]))


def _make_resizing(grey_NBF: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what makes rows of bins, highest frequency first, and columns of frames."""
    n_bins, n_frames = (int(n) for n in grey_NBF.shape[1:])
    rows_HB = np.ascontiguousarray(make_bilinear_weights(n_bins, size)[:, ::-1])
    columns_FW = np.ascontiguousarray(make_bilinear_weights(n_frames, size).T)
    device = grey_NBF.device
    return torch.as_tensor(rows_HB, device=device), torch.as_tensor(columns_FW, device=device)


def _percentile(values_NK: torch.Tensor, percent: float) -> torch.Tensor:
    """Take a percentile of each row, by linear interpolation (NumPy's 'linear')."""
    n = int(values_NK.shape[1])
    position = percent / 100 * (n - 1)
    below = min(math.floor(position), n - 1)
    above = min(below + 1, n - 1)
    # The few values at the near end: a whole sort takes five times as long.
    if position < n / 2:
        ends_NK = values_NK.topk(above + 1, dim=1, largest=False).values
        low, high = ends_NK[:, below], ends_NK[:, above]
    else:
        ends_NK = values_NK.topk(n - below, dim=1).values
        low, high = ends_NK[:, n - 1 - below], ends_NK[:, n - 1 - above]
    return low + (high - low) * (position - below)


def _as_tensor(windows: torch.Tensor | NDArray[np.floating[Any]]) -> torch.Tensor:
    """Return the windows as a float tensor (N, S) without NaN."""
    if isinstance(windows, np.ndarray):
        # A copy only where torch could not share the memory: read-only, or strides below zero.
        if not windows.flags.writeable or any(step < 0 for step in windows.strides):
            windows = windows.copy()
        windows = torch.from_numpy(windows)
    assert windows.ndim == 2, tuple(windows.shape)
    assert windows.is_floating_point(), windows.dtype
    finite_N = torch.isfinite(windows).all(dim=1)
    if not bool(finite_N.all()):
        raise ValueError(
            f"{int((~finite_N).sum())} of {len(windows)} windows hold NaN or infinity (first: row "
            f"{int(finite_N.int().argmin())}); fill or drop the gaps before imaging"
        )
    return windows
