"""RR intervals around each beat: what a window of one beat cannot show of the rhythm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

RR_COLUMNS = ("rr_previous_s", "rr_next_s", "rr_local_s", "rr_record_s")
"""The columns of the `windows` table that describe the rhythm."""

N_RR_FEATURES = 6

_N_LOCAL = 10  # intervals around a beat, as in de Chazal 2004
SHORTEST_S, LONGEST_S = 0.15, 4.0  # beyond: an annotation's slip, or a gap

REFERENCE_S = 1810.0
"""Stretch around a beat that its rhythm and its shape are compared with, s: the half hour that a
training record lasts, and the seconds by which mitdb's exceed it."""


def place_reference(
    at: ArrayLike, first: float, last: float, length: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the stretch around each moment, shifted where needed to stay inside the recording.

    Args:
        at: moments, (n,), in any unit of time.
        first: beginning of the recording, in that unit.
        last: its end.
        length: of a stretch, in that unit; a shorter recording is its own stretch.

    Returns:
        Begin and end of each stretch, (n,).
    """
    begin = np.asarray(at, dtype=np.float64) - length / 2
    begin = np.clip(begin, first, max(first, last - length))
    return begin, np.minimum(begin + length, last)


def measure_rr_intervals(
    samples: ArrayLike, fs: float, after_gap: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """Measure the RR intervals around every beat of one record.

    They are those of de Chazal et al. (2004, doi:10.1109/TBME.2004.827359, section III-C): the
    intervals before and after a beat, the mean of the ten around it, and the mean of the record; in
    a record longer than training's, of the `REFERENCE_S` around the beat. Intervals enter a mean
    within `SHORTEST_S` to `LONGEST_S`, so that a pause or a missed beat does not move it far.
    Positions of beats are used and no class, later beats included.

    Args:
        samples: R peaks of one record, ascending, (n_beats,).
        fs: sampling rate, Hz.
        after_gap: whether signal is missing between a beat and the one before it, (n_beats,): that
            interval is not known, and in no mean. None for an unbroken record.

    Returns:
        One row per beat, seconds: ``rr_previous_s`` (NaN for the first beat), ``rr_next_s`` (NaN
        for the last), ``rr_local_s`` (mean of the ten intervals around the beat, fewer at the
        record's ends), ``rr_record_s`` (mean of the record). All NaN in a record of one beat.
    """
    peaks_s = np.asarray(samples, dtype=np.float64) / fs
    n = len(peaks_s)
    intervals = np.diff(peaks_s)
    assert (intervals >= 0).all(), "beats are not in time order"
    if after_gap is not None:
        intervals[after_gap[1:]] = np.nan
    gap = [np.nan]
    # Interval i lies between beats i and i + 1: those around beat i are i - 5 to i + 4.
    limited = np.concatenate([np.clip(intervals, SHORTEST_S, LONGEST_S), gap])
    local = pd.Series(limited).rolling(_N_LOCAL, min_periods=1, center=True).mean()
    return pd.DataFrame(
        {
            "rr_previous_s": np.concatenate([gap, intervals])[:n],
            "rr_next_s": np.concatenate([intervals, gap])[:n],
            "rr_local_s": local.to_numpy()[:n],
            "rr_record_s": _average_reference(peaks_s, limited[:-1]),
        }
    )


def _average_reference(
    peaks_s: NDArray[np.float64], intervals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean of the intervals in the reference stretch of each beat; NaN without any."""
    if not len(intervals):
        return np.full(len(peaks_s), np.nan)
    begin, end = place_reference(peaks_s, peaks_s[0], peaks_s[-1], REFERENCE_S)
    first = np.searchsorted(peaks_s, begin, side="left")
    last = np.searchsorted(peaks_s, end, side="right") - 1
    known = ~np.isnan(intervals)
    total = np.concatenate([[0], np.cumsum(np.where(known, intervals, 0))])
    count = np.concatenate([[0], np.cumsum(known)])
    n = count[last] - count[first]
    return np.where(n > 0, (total[last] - total[first]) / np.maximum(n, 1), np.nan)


def make_rr_features(table: pd.DataFrame) -> NDArray[np.float32]:
    """Return the rhythm as a network takes it: logarithms of ratios, near 0 in regular rhythm.

    Args:
        table: rows with the ``RR_COLUMNS``, s; NaN where an interval is not known.

    Returns:
        float32 (n, 6): the logs of previous and next interval over the local mean, of both over
        the record's mean, of previous over next, and of previous in seconds. Intervals are
        limited to 0.15 to 4 s. What is not known is 0.
    """
    seconds = table[list(RR_COLUMNS)].to_numpy(dtype=np.float64)
    logs = np.log(np.clip(seconds, SHORTEST_S, LONGEST_S))
    features = np.stack(contrast_logs(*logs.T), axis=1)
    return np.nan_to_num(features, nan=0.0).astype(np.float32)


def contrast_logs(previous: Any, following: Any, local: Any, record: Any) -> list[Any]:
    """Return the six features of `make_rr_features` from the logs of the ``RR_COLUMNS``.

    Each argument is an array or a tensor, (n,).
    """
    return [
        previous - local,
        following - local,
        previous - record,
        following - record,
        previous - following,
        previous,
    ]
