"""Pauses of the heart, and stretches of silence in which the electrode is off instead."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_LONG = 1.6  # times the median of the eleven intervals around: at least one beat may be lost
_LEAST_S = 1.3
_QRST_S, _NEXT_S = 0.4, 0.25  # after one beat and before the next, where a heart is heard
_PIECE_S = 0.1  # shorter than what lies between T and P wave
_NOISE_HZ = 15.0  # above P and T waves
# Where a recording ends at 25 Hz, what is left of the rest is the filter's response to the QRS
# complexes, and a true pause has less. Such a rest has little above 30 Hz.
_FINE_HZ, _LEAST_FINE = 30.0, 0.4
_AROUND_S = 30.0
_REST_QUANTILE = 0.3  # of the pieces around: those between the beats
_LEAST_NOISE, _MOST_NOISE = 0.5, 2.5
_LEAST_BLURRED = 0.03  # in place of `_LEAST_NOISE` where the rest has little above 30 Hz
_BLOCK_S, _MARGIN_S = 600, 2  # the filter's response is over within the margin


def find_false_pauses(
    signal_mv: NDArray[np.floating], fs: float, peaks: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Find long intervals between beats in which the electrode, not the heart, was silent.

    While a heart pauses, the electrode and the amplifier go on: the noise is that of the rest
    between beats. An electrode that is off, an input at its rail, or hum has less or more. An
    interval over 1.6 times those around is no pause if its noise above 15 Hz (the median standard
    deviation of pieces of 0.1 s) is below half or above 2.5 times that between the beats of the
    30 s on either side. Noise as loud as the recording's own looks like a pause. So does less noise
    in a recording that ends at some 25 Hz, for there the rest is no noise: only silence is told.

    Args:
        signal_mv: (n_samples,), mV, finite, without its baseline; may be a memory map.
        fs: sampling rate, Hz.
        peaks: (n,), R peaks, samples, ascending.

    Returns:
        bool (n,), whether the interval before each beat is no pause of the heart.
    """
    false = np.zeros(len(peaks), dtype=bool)
    intervals_s = np.diff(peaks) / fs
    usual_s = pd.Series(intervals_s).rolling(11, center=True, min_periods=1).median().to_numpy()
    long = np.flatnonzero((intervals_s > _LONG * usual_s) & (intervals_s > _LEAST_S))
    if not len(long):
        return false
    noise, step = _measure_noise(signal_mv, fs, _NOISE_HZ)
    fine, _ = _measure_noise(signal_mv, fs, _FINE_HZ)
    first = -(-(peaks[long] + round(_QRST_S * fs)) // step)
    stop = (peaks[long + 1] - round(_NEXT_S * fs)) // step
    at_rest = noise.copy()
    for inside in map(slice, peaks[long] // step, peaks[long + 1] // step + 1):
        at_rest[inside] = np.nan  # pauses, true and false, and gaps
    reach = round(_AROUND_S * fs / step)
    for i, begin, end in zip(long, first, stop, strict=True):
        around = slice(max(0, begin - reach), end + reach)
        known = ~np.isnan(at_rest[around])
        if end > begin and known.any():
            rest = np.quantile(at_rest[around][known], _REST_QUANTILE)
            blurred = np.quantile(fine[around][known], _REST_QUANTILE) < _LEAST_FINE * rest
            least = _LEAST_BLURRED if blurred else _LEAST_NOISE
            level = np.median(noise[begin:end])
            false[i + 1] = level < least * rest or level > _MOST_NOISE * rest
    return false


def _measure_noise(
    signal_mv: NDArray[np.floating], fs: float, above_hz: float
) -> tuple[NDArray[np.float64], int]:
    """Return the standard deviation above a frequency of each piece, mV, and a piece's samples."""
    from scipy.signal import butter, sosfiltfilt

    sos = butter(2, above_hz, "highpass", fs=fs, output="sos")
    step = round(_PIECE_S * fs)
    block, margin = round(_BLOCK_S * fs) // step * step, round(_MARGIN_S * fs)
    found = []
    for start in range(0, len(signal_mv) - step + 1, block):
        stop = min(start + block, len(signal_mv))
        first = max(0, start - margin)
        piece = np.asarray(signal_mv[first : stop + margin], dtype=np.float64)
        high = sosfiltfilt(sos, piece)[start - first :][: stop - start]
        found.append(high[: len(high) // step * step].reshape(-1, step).std(axis=1))
    return np.concatenate(found), step
