"""Time-frequency transforms of a window. To add one, write a class here and a line in `KINDS`.

Shapes: N stretches of signal, S samples, B frequencies, F times, P pixels along a side of an image.
PyTorch is imported where it computes, so that parameters can be checked without it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.parameters import SpectrogramParameters, TransformParameters

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
        nperseg, highest = params.nperseg, params.max_frequency_hz
        # The tiny term keeps a bin that lies on the limit, in spite of rounding.
        self.n_bins = math.floor(highest * nperseg / fs + 1e-9) + 1
        fault = ""
        if highest > fs / 2:
            fault = (
                f"max_frequency_hz is {highest:g}, but a signal at {fs:g} Hz holds frequencies up "
                f"to {fs / 2:g} Hz; lower max_frequency_hz, or raise fs"
            )
        elif self.n_bins < 2:
            fault = (
                f"max_frequency_hz {highest:g} keeps {self.n_bins} frequency bin, and an image "
                f"needs 2: bins are {fs / nperseg:g} Hz apart (fs {fs:g} Hz, nperseg {nperseg}); "
                f"raise max_frequency_hz or nperseg"
            )
        elif n_samples < nperseg:
            fault = (
                f"windows have {n_samples} samples, fewer than nperseg ({nperseg}); lengthen the "
                f"windows or lower nperseg"
            )
        if fault:
            raise ValueError(fault)
        self.fs, self.nperseg, self.hop = fs, nperseg, nperseg - params.noverlap
        self.n_frames = 1 + (n_samples - nperseg) // self.hop

    def compute(self, windows_NS: torch.Tensor) -> torch.Tensor:
        """Return magnitudes, see `Kind`."""
        import torch

        # A product of matrices: it computes the bins that are kept alone, and any graph has it.
        index_FS, waves_SB = (
            torch.as_tensor(each, device=windows_NS.device) for each in self._make_basis()
        )
        frames_NS = windows_NS.index_select(1, index_FS.flatten())
        parts_NFB = frames_NS.reshape(-1, self.n_frames, self.nperseg) @ waves_SB
        cosine_NFB, sine_NFB = parts_NFB[..., : self.n_bins], parts_NFB[..., self.n_bins :]
        return (cosine_NFB.square() + sine_NFB.square()).sqrt().transpose(1, 2)

    def _make_basis(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the samples of each frame, and the cosines and sines under the Hann segment."""
        at_S = np.arange(self.nperseg)
        hann_S = np.square(np.sin(np.pi * at_S / self.nperseg))
        # Whole turns go before the cosine, which is then exact to the last bit.
        turns_SB = np.outer(at_S, np.arange(self.n_bins)) % self.nperseg / self.nperseg
        waves_SB = np.hstack([np.cos(2 * np.pi * turns_SB), np.sin(2 * np.pi * turns_SB)])
        frames_F = np.arange(self.n_frames) * self.hop
        return frames_F[:, None] + at_S, waves_SB * (hann_S / hann_S.sum())[:, None]

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


def spectrogram_axes(
    n_samples: int, fs: float, params: SpectrogramParameters
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the time and frequency of the pixel centres of a window's first channel, for figures.

    Pixels beyond the first and last frame's or bin's centre (half a step at
    each edge) repeat the edge, so the lowest frequencies are slightly negative.

    Args:
        n_samples: length of the window, samples.
        fs: sampling rate, Hz.
        params: what shapes the pixels.

    Returns:
        times of the columns, s from the start of the window, ascending, (image_size,);
        frequencies of the rows, Hz, descending, (image_size,).

    Raises:
        ValueError: as `make_kind`.
    """
    centres = (np.arange(params.image_size) + 0.5) / params.image_size
    return make_kind(params, fs, n_samples).axes(centres)
