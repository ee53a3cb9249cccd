"""Time-frequency transforms of a window. A new one is a class here and a line in `KINDS`.

Shapes: N stretches of signal, S samples, B frequencies, F times, P pixels along a side of an image.
PyTorch is imported where it computes, so that parameters can be checked without it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.parameters import TransformParameters

if TYPE_CHECKING:
    import torch


class Kind(Protocol):
    """The transform of stretches of one length."""

    def __init__(self, params: TransformParameters, fs: float, n_samples: int) -> None:
        """Take the parameters, the rate in Hz and the length of a stretch in samples.

        Raises:
            ValueError: they give no image.
        """

    def compute(self, windows_NS: torch.Tensor) -> torch.Tensor:
        """Return magnitudes, float64 (N, B, F), mV, lowest frequency first, of float64 windows."""

    def axes(self, at_P: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the times (s) and frequencies (Hz) at shares of the image's width and height.

        Args:
            at_P: 0 to 1, from the earliest time, and from the highest frequency.
        """


class Stft:
    """The short-time Fourier transform of ``scipy.signal.stft(..., boundary=None, padded=False)``.

    Periodic Hann segments, no padding, scaled so that a sine of amplitude A has magnitude A/2
    (Allen and Rabiner 1977, doi:10.1109/PROC.1977.10770). Bins up to and including
    ``max_frequency_hz`` are kept.
    """

    def __init__(self, params: TransformParameters, fs: float, n_samples: int) -> None:
        if params.max_frequency_hz > fs / 2:
            raise ValueError(
                f"max_frequency_hz is {params.max_frequency_hz:g}, but a signal at {fs:g} Hz holds "
                f"frequencies up to {fs / 2:g} Hz; lower max_frequency_hz, or raise fs"
            )
        # The tiny term keeps a bin that lies on the limit, in spite of rounding.
        self.n_bins = math.floor(params.max_frequency_hz * params.nperseg / fs + 1e-9) + 1
        if self.n_bins < 2:
            raise ValueError(
                f"max_frequency_hz {params.max_frequency_hz:g} keeps {self.n_bins} frequency bin, "
                f"and an image needs 2: bins are {fs / params.nperseg:g} Hz apart (fs {fs:g} Hz, "
                f"nperseg {params.nperseg}); raise max_frequency_hz or nperseg"
            )
        if n_samples < params.nperseg:
            raise ValueError(
                f"windows have {n_samples} samples, fewer than nperseg ({params.nperseg}); "
                f"lengthen the windows or lower nperseg"
            )
        self.fs, self.nperseg = fs, params.nperseg
        self.hop = params.nperseg - params.noverlap
        self.n_frames = 1 + (n_samples - params.nperseg) // self.hop

    def compute(self, windows_NS: torch.Tensor) -> torch.Tensor:
        """Return magnitudes, see `Kind`."""
        import torch

        hann = torch.hann_window(
            self.nperseg, periodic=True, dtype=torch.float64, device=windows_NS.device
        )
        stft_NBF = torch.stft(
            windows_NS, self.nperseg, self.hop, window=hann, center=False, return_complex=True
        )
        return stft_NBF[:, : self.n_bins].abs() / hann.sum()

    def axes(self, at_P: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return times and frequencies, see `Kind`; both are linear."""
        frames = at_P * self.n_frames - 0.5
        bins = (self.n_bins - 1) - (at_P * self.n_bins - 0.5)
        return (frames * self.hop + self.nperseg / 2) / self.fs, bins * self.fs / self.nperseg


KINDS: dict[str, type[Kind]] = {
    "stft": Stft,
}


def make_kind(params: TransformParameters, fs: float, n_samples: int) -> Kind:
    """Return the transform that parameters name, for stretches of `n_samples` at `fs` Hz.

    Raises:
        ValueError: there is no such kind, or it gives no image of such stretches.
    """
    if params.kind not in KINDS:
        raise ValueError(f"kind is {params.kind!r}; expected one of {list(KINDS)}")
    return KINDS[params.kind](params, fs, n_samples)
