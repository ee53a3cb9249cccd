"""Gaps of a lead: stretches that show no heart, across which no RR interval is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLAT_S = 10.0
"""Shortest flat stretch that is a gap, s; in a shorter one a heart may pause."""

# mV: half the smallest calibration step of ECG paper.
_FLAT_MV = 0.05


def find_flat_stretches(signal_mv: NDArray[np.floating], fs: float) -> list[tuple[float, float]]:
    """Find where a lead shows no heart: an electrode is off, or the input is at its rail.

    A stretch is flat if each of its seconds, `FLAT_S` or more in a row, spans less than
    `find_flat_mv`. In a pause of the heart that lasts so long, P waves or noise span more.

    Args:
        signal_mv: `(n,)`, mV, finite; may be a memory map.
        fs: sampling rate, Hz.

    Returns:
        (first, stop) of each stretch, s from the start, in order.
    """
    quiet = _span_seconds(signal_mv, fs) < find_flat_mv(signal_mv, fs)
    edges = np.flatnonzero(np.diff(quiet, prepend=False, append=False))
    runs = edges.reshape(-1, 2) * max(1, round(fs)) / fs
    return [(first, stop) for first, stop in runs.tolist() if stop - first >= FLAT_S]


def find_flat_mv(signal_mv: NDArray[np.floating], fs: float) -> float:
    """Return what a lead spans at least, mV, where it shows a heart, whatever its gain.

    It is half the smallest step of ECG paper, or a twentieth of what the lead's liveliest seconds
    span, whichever is less; 0 where it has no second that is not constant.
    """
    spans = _span_seconds(signal_mv, fs)
    lively = spans[spans > 1e-6 * spans.max(initial=0.0)]  # constant but for rounding are others
    return min(_FLAT_MV, 0.05 * float(np.quantile(lively, 0.95))) if len(lively) else 0.0


def _span_seconds(signal_mv: NDArray[np.floating], fs: float) -> NDArray[np.float64]:
    """Return what each whole second spans, mV."""
    second = max(1, round(fs))
    n = len(signal_mv) // second
    return np.ptp(signal_mv[: n * second].reshape(n, second), axis=1).astype(np.float64)


def number_stretches(samples: ArrayLike, gaps: Sequence[tuple[float, float]]) -> NDArray[np.int64]:
    """Return in which stretch between the edges of gaps each beat lies, int64 (n,).

    Args:
        samples: R peaks, ascending, (n,).
        gaps: begin and end of each, in the same unit, in order.
    """
    edges = np.array(gaps, dtype=np.float64).ravel()
    return np.searchsorted(edges, np.asarray(samples), side="right").astype(np.int64)


def follow_gap(stretches: ArrayLike) -> NDArray[np.bool_]:
    """Return whether a gap begins or ends between each beat and the one before it, (n,).

    Args:
        stretches: see `number_stretches`.
    """
    numbers = np.asarray(stretches)
    return np.diff(numbers, prepend=numbers[:1]) > 0
