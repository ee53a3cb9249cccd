"""R peaks found in an ECG, the same ones whether it is read in one piece or in many."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

BLOCK_S = 3600.0
"""Stretch of signal that is searched at once, s."""

MARGIN_S = 30.0
"""What the detector sees before and after a block, s, where its thresholds settle."""

MIN_FS_HZ = 100.0
"""Lowest sampling rate, Hz: below it a QRS complex has too few samples."""

_REFRACTORY_S = 0.2  # Pan and Tompkins 1985, section III-D
SHORTEST_S = 3.0
"""Least that beats are sought in, s: the detector learns its thresholds from the first two."""

ReadSignal = Callable[[int, int], NDArray[np.floating]]


def detect_r_peaks(signal_mv: NDArray[np.floating], fs: float) -> NDArray[np.int64]:
    """Find the R peaks of one lead.

    The detector is sleepecg's: Pan and Tompkins' (1985, doi:10.1109/TBME.1985.325532) with filters
    run both ways and a search back through lower thresholds. ``benchmarks/detectors.py`` compares
    it with others.

    Args:
        signal_mv: `(n_samples,)`, mV, finite.
        fs: sampling rate, Hz.

    Returns:
        int64 (n_peaks,), samples, ascending; empty where there is no beat.

    Raises:
        ValueError: the signal is not one-dimensional, or the rate too low.
    """
    signal = np.asarray(signal_mv)
    if signal.ndim != 1:
        raise ValueError(f"signal has shape {signal.shape}; expected one lead, (n_samples,)")
    found = list(detect_by_block(lambda start, stop: signal[start:stop], len(signal), fs))
    return np.concatenate(found) if found else np.empty(0, np.int64)


def detect_by_block(
    read: ReadSignal, n_samples: int, fs: float, block_s: float = BLOCK_S
) -> Iterator[NDArray[np.int64]]:
    """Yield the R peaks of a signal, block by block, of which one at a time is in memory.

    Args:
        read: takes first sample and the one after the last, returns the signal there, mV.
        n_samples: length of the signal.
        fs: sampling rate, Hz.
        block_s: length of a block, s.

    Yields:
        int64, samples from the start of the signal, ascending.

    Raises:
        ValueError: the rate is too low.
    """
    if not fs >= MIN_FS_HZ:
        raise ValueError(
            f"R peaks are sought at {MIN_FS_HZ:g} Hz or more, and the signal is at {fs:g} Hz; give "
            f"their positions, or a recording of a higher rate"
        )
    block, margin = round(block_s * fs), round(MARGIN_S * fs)
    last = -np.inf
    for start in range(0, n_samples, block):
        first = max(0, start - margin)
        stop = min(start + block, n_samples)
        peaks = first + _detect(read(first, min(stop + margin, n_samples)), fs)
        peaks = peaks[(peaks >= start) & (peaks < stop)]
        # Two blocks may place the beat between them a little differently.
        peaks = peaks[peaks - last >= _REFRACTORY_S * fs]
        if peaks.size:
            last = float(peaks[-1])
        yield peaks


def _detect(signal: NDArray[np.floating], fs: float) -> NDArray[np.int64]:
    from sleepecg.heartbeats import detect_heartbeats

    signal = np.asarray(signal, dtype=np.float64)
    # The detector leaves out what is flat at the start, and needs something after it.
    starts = int(np.argmax(signal != signal[0])) if len(signal) else 0
    if len(signal) - starts < SHORTEST_S * fs or np.ptp(signal) == 0:
        return np.empty(0, np.int64)
    return np.unique(np.asarray(detect_heartbeats(signal, fs), dtype=np.int64))
