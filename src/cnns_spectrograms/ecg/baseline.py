"""Removal of the baseline of an ECG: a constant or a slow drift carries nothing about the heart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HIGHPASS_HZ = 0.5
"""Corner of the high-pass filter, Hz."""

# What is read beside a stretch: the filter's answer to a step has fallen to e^-33 after 15 s.
_MARGIN_S = 15.0


def remove_baseline(
    signal_mv: NDArray[np.floating], fs: float, start: int = 0, stop: int | None = None
) -> NDArray[np.float32]:
    """Filter a lead with a high-pass of zero phase.

    A Butterworth filter of second order at `HIGHPASS_HZ`, run forwards and backwards. Beyond its
    ends the signal is continued by its point reflection (``scipy.signal.sosfiltfilt``,
    ``padtype="odd"``), so that a constant or a ramp leaves nothing there either.

    Args:
        signal_mv: the whole lead, (n,), mV, finite; may be a memory map.
        fs: sampling rate, Hz.
        start: first sample that is wanted.
        stop: the one after the last; None: the end. A stretch is that of the whole lead filtered
            at once: 15 s beside it are read, and the rest of the lead is not.

    Returns:
        float32 (stop - start,), mV.
    """
    from scipy.signal import butter, sosfiltfilt

    n = len(signal_mv)
    stop = n if stop is None else stop
    assert 0 <= start <= stop <= n
    margin = round(_MARGIN_S * fs)
    first, last = max(0, start - margin), min(n, stop + margin)
    piece = np.asarray(signal_mv[first:last], dtype=np.float64)
    if len(piece) < 2:
        return np.zeros(stop - start, dtype=np.float32)
    sos = butter(2, HIGHPASS_HZ, "highpass", fs=fs, output="sos")
    filtered = sosfiltfilt(sos, piece, padtype="odd", padlen=min(margin, len(piece) - 1))
    return np.asarray(filtered[start - first : stop - first], dtype=np.float32)
