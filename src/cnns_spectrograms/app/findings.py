"""What the clinical report shows of classified beats: burden, runs, and where to look next.

The beats of a recording are a table with one row per beat, ascending in time: sample, time_s, rr_s
(NaN where the interval before is not known), aami_class, and prob_N ... prob_Q.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.ecg.aami import PROBABILITIES
from cnns_spectrograms.evaluation.ec57 import MATCH_WINDOW_S, match_beats
from cnns_spectrograms.presentation import CALLS, UNSURE


def call_beats(beats: pd.DataFrame, threshold: float) -> NDArray[np.object_]:
    """Return what each beat is called: its class, or UNSURE below the threshold.

    Args:
        beats: with aami_class and the probabilities.
        threshold: least probability of the most probable class, 0 to 1; 0 calls every beat.

    Returns:
        One of CALLS per beat, (n_beats,).
    """
    highest = beats[PROBABILITIES].to_numpy(dtype=np.float64).max(axis=1, initial=0.0)
    classes = beats["aami_class"].to_numpy(dtype=object)
    called: NDArray[np.object_] = np.where(highest >= threshold, classes, UNSURE)
    return called


def measure_burden(called: ArrayLike) -> pd.DataFrame:
    """Count the beats of each call.

    Returns:
        One row for each of CALLS, in that order: beats, share (of all beats, 0 to 1; NaN without a
        beat).
    """
    counts = pd.Series(np.asarray(called, dtype=object)).value_counts()
    beats = counts.reindex(list(CALLS), fill_value=0).astype(np.int64)
    return pd.DataFrame({"beats": beats, "share": beats / beats.sum()})


def find_ectopic_runs(beats: pd.DataFrame, called: ArrayLike) -> pd.DataFrame:
    """Find the couplets and runs of S and of V: two or more beats of that class in a row.

    Args:
        beats: the classified beats.
        called: one of CALLS per beat, (n_beats,).

    Returns:
        One row per run as `inference.summary.find_runs` gives it, longest first, then by time.
    """
    from cnns_spectrograms.inference.summary import find_runs

    runs = find_runs(beats.assign(aami_class=np.asarray(called, dtype=object)))
    runs = runs[runs["aami_class"].isin(["S", "V"]) & (runs["n_beats"] >= 2)]
    return runs.sort_values(["n_beats", "start_s"], ascending=[False, True], ignore_index=True)


def find_disagreements(
    beats: pd.DataFrame, called: ArrayLike, reference: pd.DataFrame, fs: float
) -> NDArray[np.float64]:
    """Return where a reference disagrees, beat by beat, matched within 150 ms as EC57 does.

    It does where a beat has another class, where there is no beat in the reference, and where no
    beat was found. A beat that is called UNSURE disagrees with no class.

    Args:
        beats: the classified beats.
        called: one of CALLS per beat.
        reference: sample, ascending, and aami_class; beats whose class is None match any.
        fs: sampling rate of both, Hz.

    Returns:
        Times, s, ascending: of the beat, or of the reference's where none was found.
    """
    names = np.asarray(called, dtype=object)
    truth = reference["aami_class"].to_numpy(dtype=object)
    truth_at, found_at = (table["sample"].to_numpy(np.int64) for table in (reference, beats))
    samples = [
        truth_at[i] if j < 0 else found_at[j]
        for i, j in match_beats(truth_at, found_at, MATCH_WINDOW_S * fs)
        if min(i, j) < 0 or (isinstance(truth[i], str) and names[j] not in (truth[i], UNSURE))
    ]
    return np.sort(np.array(samples, np.float64)) / fs
