"""Resampling of signals to another rate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LARGEST_RATIO = 100_000


def resample(signal: ArrayLike, source_fs: float, fs: float) -> NDArray[np.float32]:
    """Bring a signal to another sampling rate with a polyphase filter.

    The filter has zero phase, so sample `i` of the source falls on sample `i * fs / source_fs`.
    Beyond its ends the signal is taken to go on along the line through its first and last sample,
    so that an offset does not ring there. A signal already at the target rate stays as it is.

    Args:
        signal: `(n_samples,)`, mV, two samples or more.
        source_fs: sampling rate of `signal`, Hz.
        fs: wanted sampling rate, Hz.

    Returns:
        `(ceil(n_samples * fs / source_fs),)` float32, mV.

    Raises:
        ValueError: as `rate_ratio`.
    """
    from scipy.signal import resample_poly

    signal = np.asarray(signal)
    assert signal.ndim == 1, signal.shape
    assert signal.size >= 2, signal.shape
    ratio = rate_ratio(source_fs, fs)
    if ratio == 1:
        return signal.astype(np.float32, copy=False)
    resampled = resample_poly(
        signal.astype(np.float64, copy=False),
        ratio.numerator,
        ratio.denominator,
        window=make_resampling_filter(ratio),
        padtype="line",
    )
    return np.asarray(resampled, dtype=np.float32)


def make_resampling_filter(ratio: Fraction) -> NDArray[np.float64]:
    """Return the low-pass filter of `resample`, as ``scipy.signal.resample_poly`` takes it.

    It is SciPy's own (Kaiser window, beta 5), but that each of its phases passes a constant as it
    is. SciPy's phases differ by 0.1 %, which turns an electrode's offset into a tone.

    Args:
        ratio: samples after over samples before, as of `rate_ratio`.

    Returns:
        float64 (20 * m + 1,), with m the greater of the ratio's two numbers.
    """
    from scipy.signal import firwin

    up, most = ratio.numerator, max(ratio.numerator, ratio.denominator)
    taps = firwin(20 * most + 1, 1 / most, window=("kaiser", 5.0))
    phases = np.pad(taps, (0, -len(taps) % up)).reshape(-1, up)
    phases /= up * phases.sum(axis=0)
    return phases.ravel()[: len(taps)]


def rate_ratio(source_fs: float, fs: float) -> Fraction:
    """Return how many samples at `fs` correspond to one at `source_fs`.

    Raises:
        ValueError: a rate is not positive, or one is 100,000 times the other or more.
    """
    if not (source_fs > 0 and 1 / _LARGEST_RATIO < fs / source_fs < _LARGEST_RATIO):
        raise ValueError(
            f"source_fs is {source_fs:g} Hz and fs is {fs:g} Hz; expected positive sampling rates "
            f"of an ECG, which are nearer to each other"
        )
    # Through text, so that 102.4 is 512/5. The bound, on the greater of the two numbers, keeps the
    # filter of an odd rate to seconds of work and shifts the end of a day-long signal by less than
    # a sample.
    ratio = Fraction(str(fs)) / Fraction(str(source_fs))
    if ratio > 1:
        return 1 / (1 / ratio).limit_denominator(_LARGEST_RATIO)
    return ratio.limit_denominator(_LARGEST_RATIO)
