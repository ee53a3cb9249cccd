"""Candidates for QRS complexes in one lead, and what describes each of them.

Everything here happens at `CANDIDATE_FS`, and looks at no more than `CONTEXT_S` beside a moment.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CANDIDATE_FS = 128
"""Rate at which candidates are sought and described, Hz."""

CONTEXT_S = 60
"""More than what the filters, the scales and the features see on either side of a moment, s."""

_LOWPASS_HZ = 35.0  # below mains hum, above most of a QRS complex
_QRS_HZ = (5.0, 25.0)
_ENERGY = np.full(13, 1 / 13)  # a mean over a tenth of a second: a QRS complex
_APART_SAMPLES = 10  # no two candidates are closer
_LEAST_SHARE = 0.06  # of the local scale: the smallest candidate
# A slope this many times the steepest of a typical beat does not come from the heart. Without this
# limit a pop of the electrode hides the beats beside it.
_SLOPE_LIMIT = 4.0
# The local scale is a quantile of the maxima of windows of two seconds, one of which holds a beat
# even at 30 per minute. Above the median, it is that of the beats until noise has taken their place
# for three fifths of the stretch. Windows below `_SILENT` times the greatest have no signal at all,
# as in the line across a gap, and do not count: the beats between two dropouts are few.
_WINDOW_S = 2
_SCALE_QUANTILE = 0.6
_SILENT = 1e-4
_SCALE_S, _LONG_SCALE_S = 17, 61  # stretches around a moment
# With a share of 0.3 the steep onset of paced beats is taken for a spike (104 of mitdb).
_SPIKE_HALF_S = 0.0056  # of the median: two samples at 360 Hz
_SPIKE_SHARE, _SPIKE_TIMES = 0.5, 10  # of the lead's span, and of the usual difference
_BIN = 6  # samples, 47 ms
_N_BINS = 32  # around a candidate, 0.75 s to each side
_FAR = 96  # samples of the two bins beyond these


N_FEATURES = _N_BINS + 18


def remove_spikes(signal_mv: NDArray[np.floating], fs: float) -> NDArray[np.float64]:
    """Replace the spikes of a pacemaker by lines, so that they look like no QRS complex.

    A spike lasts 2 ms, and rings where it has been resampled. It differs from the median of the
    11 ms around by more than `_SPIKE_SHARE` of what the lead spans in the three seconds around, and
    by more than noise does. The peak of a narrow QRS complex differs by a fifth of that. Below
    270 Hz a spike is too wide to be told.

    Args:
        signal_mv: `(n_samples,)`, mV, finite; from a whole second of the recording on.
        fs: sampling rate, Hz.
    """
    from scipy.ndimage import (
        binary_closing,
        binary_dilation,
        maximum_filter1d,
        median_filter,
        minimum_filter1d,
    )

    signal = np.asarray(signal_mv, dtype=np.float64)
    half = round(_SPIKE_HALF_S * fs)
    if half < 2:
        return signal
    smooth = median_filter(signal, 2 * half + 1, mode="nearest")
    starts = np.rint(np.arange(0, len(signal) / fs) * fs).astype(np.int64)
    starts = starts[starts < len(signal)]
    high = maximum_filter1d(np.maximum.reduceat(smooth, starts), 3)
    low = minimum_filter1d(np.minimum.reduceat(smooth, starts), 3)
    off = np.abs(signal - smooth)
    of_second = np.minimum(starts[:, None] + np.arange(round(fs)), len(signal) - 1)
    usual = np.median(off[of_second], axis=1)
    limit = np.maximum(_SPIKE_SHARE * (high - low), _SPIKE_TIMES * usual)
    width = np.ones(2 * half + 1)
    spike = binary_closing(off > np.repeat(limit, np.diff(starts, append=len(signal))), width)
    spike = binary_dilation(spike, width)
    if not 0 < spike.sum() < len(spike):
        return signal
    around = median_filter(signal, 4 * half + 1, mode="nearest")
    known, lost = np.flatnonzero(~spike), np.flatnonzero(spike)
    cleaned = signal.copy()
    cleaned[lost] = np.interp(lost, known, around[known])
    return cleaned


def find_candidates(
    signal_mv: NDArray[np.floating], fs: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find and describe every moment at which a QRS complex may be.

    The signal is taken to `CANDIDATE_FS`, its slope is limited to `_SLOPE_LIMIT` times that of the
    beats around, and what is left between 5 and 25 Hz is differentiated, squared and averaged, as
    in Pan and Tompkins (1985, doi:10.1109/TBME.1985.325532). A candidate is a local maximum of
    this energy. In the training records 99.98 % of the beats have one within 150 ms; half as many
    again are no beats.

    Args:
        signal_mv: `(n_samples,)`, mV, finite; from a whole second of the recording on.
        fs: sampling rate, Hz.

    Returns:
        int64 (n,), where the energy of the slope has its peak, samples at `CANDIDATE_FS` from the
        start of the signal, ascending; and float32 (n, `N_FEATURES`), see `_describe`.
    """
    from scipy.ndimage import maximum_filter1d
    from scipy.signal import butter, sosfiltfilt

    signal = _reduce(signal_mv, fs)
    slope = np.diff(signal, prepend=signal[:1])
    typical = _measure_scale(np.abs(slope), _SCALE_S)
    steepness = np.abs(slope) / np.maximum(typical, 1e-12)
    limit = _SLOPE_LIMIT * typical
    signal = np.cumsum(np.clip(slope, -limit, limit))
    sos = butter(2, _QRS_HZ, "bandpass", fs=CANDIDATE_FS, output="sos")
    qrs = np.ascontiguousarray(sosfiltfilt(sos, signal))
    energy = np.sqrt(np.convolve(np.gradient(qrs) ** 2, _ENERGY, mode="same"))
    scale = _measure_scale(energy, _SCALE_S)
    is_peak = energy == maximum_filter1d(energy, 2 * _APART_SAMPLES + 1)
    at = np.flatnonzero(is_peak & (energy > _LEAST_SHARE * scale) & (scale > 0))
    return at, _describe(at, signal, qrs, energy, scale, steepness)


def _reduce(signal_mv: NDArray[np.floating], fs: float) -> NDArray[np.float64]:
    """Return the signal below `_LOWPASS_HZ` at `CANDIDATE_FS`."""
    from scipy.signal import butter, sosfiltfilt

    signal = np.asarray(signal_mv, dtype=np.float64)
    low = sosfiltfilt(butter(4, _LOWPASS_HZ, "lowpass", fs=fs, output="sos"), signal)
    n = int((len(signal) - 1) / fs * CANDIDATE_FS) + 1
    return np.interp(np.arange(n) * (fs / CANDIDATE_FS), np.arange(len(signal)), low)


def _measure_scale(values: NDArray[np.float64], length_s: int) -> NDArray[np.float64]:
    """Return what a typical beat reaches, around each sample."""
    n = -(-len(values) // CANDIDATE_FS)
    padded = np.pad(values, (0, n * CANDIDATE_FS - len(values)))
    of_second = padded.reshape(n, CANDIDATE_FS).max(axis=1)
    # The seconds around the ends stand for those beyond them.
    half = length_s // 2
    of_second = np.pad(of_second, (half, half + _WINDOW_S - 1), mode="symmetric")
    of_window = np.lib.stride_tricks.sliding_window_view(of_second, _WINDOW_S).max(axis=1)
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(of_window, length_s), axis=1)
    n_silent = (windows < _SILENT * windows[:, -1:]).sum(axis=1)
    place = n_silent + _SCALE_QUANTILE * (length_s - 1 - n_silent)
    below = place.astype(np.int64)
    rows = np.arange(len(windows))
    low, high = windows[rows, below], windows[rows, np.minimum(below + 1, length_s - 1)]
    scale = low + (place - below) * (high - low)
    middles = (np.arange(n) + 0.5) * CANDIDATE_FS
    return np.interp(np.arange(len(values)), middles, scale)


def _describe(
    at: NDArray[np.int64],
    signal: NDArray[np.float64],
    qrs: NDArray[np.float64],
    energy: NDArray[np.float64],
    scale: NDArray[np.float64],
    steepness: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Describe each candidate by numbers that do not depend on the gain.

    The signals are `signal` below 35 Hz, `qrs` from 5 to 25 Hz, the `energy` of its slope, the
    energy of a typical beat (`scale`), and the slope before it was limited over that of a typical
    beat (`steepness`).

    Returns:
        float32 (n, N_FEATURES): logarithms of the energy over the scale, in 32 bins over 1.5 s, in
        the 0.75 s before and after these, within 0.4 s on either side, and at the candidate; of
        its energy over the median of two seconds, and over that of 0.36 s to each side; of the
        scale over those of the past, the future and a minute; then how wide, high, steep and
        smooth the complex is, and how steep it was before its slope was limited.
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    def look(values: NDArray, offset: int) -> NDArray:
        return values[np.clip(at + offset, 0, len(values) - 1)]

    def gather(values: NDArray, reach: int, step: int = 1) -> NDArray:
        around = at[:, None] + np.arange(-reach, reach + 1, step)
        return values[np.clip(around, 0, len(values) - 1)]

    def count(each: NDArray, reach: int) -> NDArray:
        total = np.concatenate([[0], np.cumsum(each)])
        return look(total, reach + 1) - look(total, -reach)

    def log(values: NDArray) -> NDArray:
        return np.log(np.clip(values, 1e-4, 1e4))

    local, own = scale[at], energy[at]
    of_bin = maximum_filter1d(energy, _BIN)  # i - 3 to i + 2
    first = -_BIN * _N_BINS // 2 + _BIN // 2
    bins = [look(of_bin, first + _BIN * k) / local for k in range(_N_BINS)]
    far, near = (maximum_filter1d(energy, n) for n in (_FAR, 40))
    apart = _SCALE_S // 2 * CANDIDATE_FS
    slope = np.diff(signal, prepend=signal[:1])
    bends = np.diff(np.signbit(np.diff(qrs, append=qrs[-1:])), prepend=False)
    turns = np.diff(np.signbit(slope), prepend=False)
    high = look(maximum_filter1d(qrs, 27), 0)
    low = -look(minimum_filter1d(qrs, 27), 0)
    amplitude = np.maximum(high, low)
    tiny = 1e-12 + 1e-6 * local
    spread = look(maximum_filter1d(signal, 53) - minimum_filter1d(signal, 53), 0)
    height = look(maximum_filter1d(signal, 41) - minimum_filter1d(signal, 41), 0)
    columns = [
        *map(log, bins),
        *(log(look(far, sign * 144) / local) for sign in (-1, 1)),
        *(log(look(near, sign * 36) / local) for sign in (-1, 1)),
        log(own / local),
        log(own / (np.median(gather(energy, 128, 4), axis=1) + tiny)),
        *(log(look(scale, sign * apart) / local) for sign in (-1, 1)),
        log(_measure_scale(energy, _LONG_SCALE_S)[at] / local),
        (gather(energy, 32) > 0.5 * own[:, None]).sum(axis=1),
        high / (high + low + tiny),
        log(amplitude / (own + tiny)),
        log(amplitude / (spread + tiny)),
        count(bends, 20),
        count(turns, 20),
        count(np.abs(slope), 20) / (height + tiny),
        look(maximum_filter1d(np.abs(slope), 41), 0) / (amplitude + tiny),
        log(look(maximum_filter1d(steepness, 27), 0)),
    ]
    assert len(columns) == N_FEATURES
    return np.column_stack(columns).astype(np.float32)
