"""The table of beats as they stand after corrections, and the analysis they amount to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.corrections.session import Session
from cnns_spectrograms.ecg.aami import PROBABILITIES
from cnns_spectrograms.ecg.gaps import FLAT_S
from cnns_spectrograms.inference.summary import summarise

if TYPE_CHECKING:
    from cnns_spectrograms.inference.analysis import Analysis


def correct_beats(analysis: Analysis, session: Session) -> pd.DataFrame:
    """Return the beats that stand, in time order, with the intervals between them.

    Args:
        analysis: of beats, not of sliding windows.
        session: corrections of these beats.

    Returns:
        The columns of `Analysis.beats`, and beat_id; found_class (None of an added beat); and
        origin: "model" of what nobody touched, "corrected" of a class that a person gave or
        confirmed, "added". An added beat has no probabilities (NaN), and the signal quality of the
        nearest beat. An interval (rr_s, s) is NaN across a gap, across a deleted beat of unusable
        signal, and from `ecg.gaps.FLAT_S` on where the R peaks were detected.
    """
    found = analysis.beats
    ids, fs, n_found = session.order(), session.source.fs, len(found)
    samples = session.samples[ids]
    is_added = ids >= n_found
    found_at = found["sample"].to_numpy(np.int64)
    rows = np.where(is_added, _nearest(found_at, samples), ids)
    table = found.take(rows).reset_index(drop=True)
    table["beat_id"] = ids
    table["found_class"] = table["aami_class"].astype(object).mask(is_added, None)
    touched = np.where(session.is_edited[ids], "corrected", "model")
    table["origin"] = np.where(is_added, "added", touched)
    table["aami_class"] = pd.Series(session.classes[ids], dtype=str)
    if is_added.any():
        table["sample"] = samples
        table["time_s"] = samples / fs
        table.loc[is_added, PROBABILITIES] = np.nan
    if is_added.any() or len(ids) < n_found:
        table["rr_s"] = _measure_intervals(ids, samples, fs, analysis)
    return table


def find_counted(beats: pd.DataFrame, count_unusable: bool) -> NDArray[np.bool_]:
    """Return which beats are in counts, burden and heart rate, (n_beats,).

    A beat that a person has called counts wherever it lies.

    Args:
        beats: usable and origin, see `correct_beats`.
        count_unusable: all beats count.
    """
    called = beats["origin"].to_numpy(object) != "model"
    counted: NDArray[np.bool_] = beats["usable"].to_numpy(np.bool_) | called | count_unusable
    return counted


def correct_analysis(analysis: Analysis, beats: pd.DataFrame) -> Analysis:
    """Return an analysis with other beats, and with what they amount to.

    What the model got of the beats (rhythm, typical beats) is not kept: rows of `rr_intervals` are
    of the beats that were found.

    Args:
        analysis: of beats, not of sliding windows.
        beats: of it, see `correct_beats`.
    """
    assert not analysis.sliding
    counted = find_counted(beats, bool(analysis.counted.all()))
    scale = analysis.model.fs / analysis.fs
    at_model = np.rint(beats["sample"].to_numpy(np.float64) * scale).astype(np.int64)
    return replace(
        analysis,
        beats=beats,
        at_model=np.minimum(at_model, len(analysis.signal) - 1),
        counted=counted,
        summary={**analysis.summary, **summarise(beats, counted)},
    )


def _nearest(found_at: NDArray[np.int64], samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of the beat nearest to each sample."""
    after = np.clip(np.searchsorted(found_at, samples), 1, len(found_at) - 1)
    if len(found_at) == 1:
        return np.zeros(len(samples), dtype=np.int64)
    return after - (samples - found_at[after - 1] < found_at[after] - samples)


def _measure_intervals(
    ids: NDArray[np.int64], samples: NDArray[np.int64], fs: float, analysis: Analysis
) -> NDArray[np.float64]:
    """Return the interval before each beat, s; NaN of the first, and where it is not known."""
    found, times_s = analysis.beats, samples / fs
    rr_s = np.diff(times_s, prepend=np.nan)
    unknown = found["time_s"].to_numpy(np.float64)[found["rr_s"].isna().to_numpy()]
    # Where beats were false, true ones may have been missed.
    deleted = np.setdiff1d(np.flatnonzero(~found["usable"]), ids)
    doubtful = np.setdiff1d(found["sample"].to_numpy(np.int64)[deleted], samples) / fs
    # Moments that no interval spans: of a beat that follows a gap, none that ends there either.
    edges = np.sort(np.concatenate([unknown[1:], np.ravel(analysis.gaps_s), doubtful]))
    passed = np.searchsorted(edges, times_s, side="right")
    rr_s[1:][np.diff(passed) > 0] = np.nan
    if analysis.summary["peaks"] == "detected":  # as in a prediction
        rr_s[1:][np.diff(samples) >= FLAT_S * fs] = np.nan
    return rr_s
