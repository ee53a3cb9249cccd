"""Fusion beats by their form, which lies between those of the N and the V beats around them.

A fusion beat is excited by the sinus and by a ventricular focus at once, so that it has a share of
either form, and comes when the sinus beat is due. A network that has seen the fusion beats of few
patients calls those of another one N or V, and its probability is then shared between the two.
Classes are columns in AAMI order.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS
from cnns_spectrograms.ecg.windows import (
    cut_windows,
    find_typical_beat,
    place_typical_beats,
    signal_keys,
)

_BEFORE_S, _AFTER_S = 0.20, 0.35  # of the R peak: QRS complex and T wave
_CERTAIN = 0.8  # probability of a beat that makes the form of its class
_FEWEST = 30  # such beats that make one: V beats a minute apart, of half an hour
_SHARE_OF_V = (0.2, 0.8)
_MOST_RESIDUAL = 0.4  # energy that neither form explains, in that of their difference
_EARLIEST = 0.85  # RR interval, in the mean of the half hour: below it a beat is premature
_N, _V, _F = (AAMI_CLASSES.index(name) for name in "NVF")


def find_intermediate(
    signal: NDArray[np.floating],
    samples: ArrayLike,
    probabilities: NDArray[np.floating],
    rr_intervals: pd.DataFrame,
    fs: float,
) -> NDArray[np.bool_]:
    """Find the beats whose form lies between those of the N and the V beats around them.

    The form of a class is the median of its certain beats in the half hour around, see
    `ecg.windows.place_typical_beats`. A beat is the N form, a share of the difference to the V
    form, and a residual; share and residual decide. Premature beats are left out.

    Args:
        signal: the whole lead, (n_samples,), mV, without its baseline.
        samples: R peaks, ascending, (n,).
        probabilities: of their classes, (n, 5).
        rr_intervals: n rows, s, see `ecg.rhythm.measure_rr_intervals`.
        fs: sampling rate, Hz.

    Returns:
        bool (n,). False where too few beats around are certainly N, or certainly V.
    """
    peaks = np.asarray(samples, dtype=np.int64)
    before, length = round(_BEFORE_S * fs), round((_BEFORE_S + _AFTER_S) * fs)
    begin, end = place_typical_beats(len(signal), fs)
    step_of = find_typical_beat(peaks, fs, len(begin))
    found = np.zeros(len(peaks), dtype=bool)
    for step, (first, stop) in enumerate(zip(begin, end, strict=True)):
        around = (peaks >= first) & (peaks < stop)
        certain = [peaks[around & (probabilities[:, k] > _CERTAIN)] for k in (_N, _V)]
        mine = step_of == step
        if min(map(len, certain)) < _FEWEST or not mine.any():
            continue
        normal, ventricular = (
            np.median(cut_windows(signal, each - before, length), axis=0).astype(np.float64)
            for each in certain
        )
        windows = cut_windows(signal, peaks[mine] - before, length)
        found[mine] = _lie_between(windows, normal, ventricular)
    is_early = rr_intervals["rr_previous_s"] < _EARLIEST * rr_intervals["rr_record_s"]
    return found & ~is_early.to_numpy()


def _lie_between(
    windows: NDArray[np.float32], normal: NDArray[np.float64], ventricular: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which windows are a share of either form, and little else."""
    difference = ventricular - normal
    energy = float(difference @ difference)
    if energy == 0:
        return np.zeros(len(windows), dtype=bool)
    from_normal = windows - normal
    share = from_normal @ difference / energy
    residual = np.square(from_normal - share[:, None] * difference).sum(axis=1) / energy
    low, high = _SHARE_OF_V
    return (share > low) & (share < high) & (residual < _MOST_RESIDUAL)


def give_to_fusion(
    probabilities: NDArray[np.floating], intermediate: NDArray[np.bool_]
) -> NDArray[np.floating]:
    """Return probabilities in which F has what N and V share, where a beat's form lies between.

    That is the lesser of the two, taken from both.

    Args:
        probabilities: (n, 5).
        intermediate: see `find_intermediate`, (n,).
    """
    changed = probabilities.copy()
    shared = np.where(intermediate, np.minimum(changed[:, _N], changed[:, _V]), 0)
    changed[:, _N] -= shared
    changed[:, _V] -= shared
    changed[:, _F] += 2 * shared
    return changed


def mark_intermediate(
    predictions: pd.DataFrame,
    windows: pd.DataFrame,
    signals: Mapping[str, NDArray[np.float32]],
    fs: float,
) -> NDArray[np.bool_]:
    """Return which rows of predictions are of beats of an intermediate form in the first lead.

    Args:
        predictions: columns row_id, db, record_id, beat_idx, sample, lead_idx and the
            probabilities, whose mean over leads counts.
        windows: row_id and RR intervals of these rows, s.
        signals: by `ecg.windows.signal_key`, (n_samples,), mV, at ``fs``.
        fs: sampling rate, Hz.

    Returns:
        bool (n,), equal for all leads of a beat; False for sliding windows.
    """
    beat = ["db", "record_id", "beat_idx", "sample"]
    beats = predictions.groupby(beat, sort=True)[PROBABILITIES].mean().reset_index()
    first = predictions.loc[predictions["lead_idx"] == 0, ["row_id", *beat]]
    intervals = windows[["row_id", *RR_COLUMNS]]
    beats = beats[beats["beat_idx"] >= 0].merge(first, on=beat).merge(intervals, on="row_id")
    beats = beats.sort_values("sample", kind="stable").assign(lead_idx=0)
    parts = [
        rows.assign(
            intermediate=find_intermediate(
                signals[str(key)], rows["sample"], rows[PROBABILITIES].to_numpy(), rows, fs
            )
        )
        for key, rows in beats.groupby(signal_keys(beats), sort=False)
    ]
    if not parts:
        return np.zeros(len(predictions), dtype=bool)
    found = pd.concat(parts)[[*beat, "intermediate"]]
    marked = predictions[beat].merge(found, on=beat, how="left", validate="many_to_one")
    return marked["intermediate"].eq(True).to_numpy()
