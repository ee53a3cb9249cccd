"""RR intervals around each beat: what a window of one beat cannot show of the rhythm."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

RR_COLUMNS = ("rr_previous_s", "rr_next_s", "rr_local_s", "rr_record_s")
"""The columns of the `windows` table that describe the rhythm."""

N_RR_FEATURES = 6

_N_LOCAL = 10  # intervals around a beat, as in de Chazal 2004
SHORTEST_S, LONGEST_S = 0.15, 4.0  # beyond: an annotation's slip, or a gap


def measure_rr_intervals(
    samples: ArrayLike, fs: float, after_gap: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """Measure the RR intervals around every beat of one record.

    They are those of de Chazal et al. (2004, doi:10.1109/TBME.2004.827359, section III-C), with
    medians in place of the two means, which a pause or a missed beat would move. Positions of
    beats are used and no class, over the whole record, later beats included.

    Args:
        samples: R peaks of one record, ascending, (n_beats,).
        fs: sampling rate, Hz.
        after_gap: whether signal is missing between a beat and the one before it, (n_beats,): that
            interval is not known, and in no median. None for an unbroken record.

    Returns:
        One row a beat, seconds: ``rr_previous_s`` (NaN for the first beat), ``rr_next_s`` (NaN for
        the last), ``rr_local_s`` (median of the ten intervals around the beat, fewer at the
        record's ends), ``rr_record_s`` (median of all). All NaN in a record of one beat.

    Raises:
        ValueError: the samples descend.
    """
    peaks_s = np.asarray(samples, dtype=np.float64) / fs
    intervals = np.diff(peaks_s)
    if (intervals < 0).any():
        raise ValueError(
            f"beat {int(np.argmax(intervals < 0)) + 1} lies before the beat before it; sort the "
            f"beats of a record by time"
        )
    if after_gap is not None:
        intervals[after_gap[1:]] = np.nan
    known = intervals[~np.isnan(intervals)]
    gap = [np.nan]
    # Interval i lies between beats i and i + 1: those around beat i are i - 5 to i + 4.
    padded = pd.Series(np.concatenate([intervals, gap]))
    local = padded.rolling(_N_LOCAL, min_periods=1, center=True).median()
    return pd.DataFrame(
        {
            "rr_previous_s": np.concatenate([gap, intervals])[: len(peaks_s)],
            "rr_next_s": np.concatenate([intervals, gap])[: len(peaks_s)],
            "rr_local_s": local.to_numpy()[: len(peaks_s)],
            "rr_record_s": np.median(known) if len(known) else np.nan,
        }
    )


def make_rr_features(table: pd.DataFrame) -> NDArray[np.float32]:
    """Return the rhythm as a network takes it: logarithms of ratios, near 0 in regular rhythm.

    Args:
        table: rows with the ``RR_COLUMNS``, s; NaN where an interval is not known.

    Returns:
        float32 (n, 6): the logs of previous and next interval over the local median, of both over
        the record's median, of previous over next, and of previous in seconds. Intervals are
        limited to 0.15 to 4 s. What is not known is 0.

    Raises:
        ValueError: a column is missing.
    """
    missing = [name for name in RR_COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(
            f"the table lacks {missing}, which networks with rr_intervals need; make the windows "
            f"again with `kedro run --pipelines=feature_engineering`"
        )
    seconds = table[list(RR_COLUMNS)].to_numpy(dtype=np.float64)
    previous, following, local, record = np.log(np.clip(seconds, SHORTEST_S, LONGEST_S)).T
    features = np.stack(
        [
            previous - local,
            following - local,
            previous - record,
            following - record,
            previous - following,
            previous,
        ],
        axis=1,
    )
    return np.nan_to_num(features, nan=0.0).astype(np.float32)
