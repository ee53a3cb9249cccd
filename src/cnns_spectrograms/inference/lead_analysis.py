"""One lead of a recording: its beats found and classified, and the mean over several leads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.detection import SHORTEST_S, Detection, detect_by_block
from cnns_spectrograms.ecg.quality import LEAST_QUALITY, measure_quality, quality_at
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS
from cnns_spectrograms.ecg.windows import WindowReader, make_typical_beats
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.inference.signals import PreparedSignal, prepare_signal
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.leads import choose_others
from cnns_spectrograms.recordings.recording import Recording

logger = logging.getLogger(__name__)

MIN_DETECTION_FS_HZ = 50.0
"""Lowest rate of a recording whose beats are detected, Hz. In the first ten minutes of eight
records of mitdb, thinned, 96 % of what is detected are beats at 50 Hz, 91 % at 40, 56 % at 20."""

_BLOCK_BEATS = 512  # whose windows are in memory at once

# Margin between the two greatest probabilities above which no other lead is asked. On val other
# leads change the class of 812 of 39,201 beats: 4 of these are above it, and so are three quarters
# of all beats.
_DOUBT = 0.94

Progress = Callable[[str, float], None]
"""Called with the stage ("read", "detect", "classify") and the share of it that is done."""


def detect_beats(
    recording: Recording,
    prepared: PreparedSignal,
    fs: float,
    progress: Callable[[float], None],
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """Find the beats of a lead.

    Args:
        recording: the recording.
        prepared: the lead.
        fs: the model's rate, Hz.
        progress: called with the share that is done.

    Returns:
        R peaks, int64 (n,), samples at `fs`, and the quality of each stretch (`ecg.quality`); none
        and None where the rate is too low or the recording too short for detection.
    """
    if recording.fs < MIN_DETECTION_FS_HZ or recording.duration_s <= SHORTEST_S:
        return np.empty(0, np.int64), None
    signal, found = prepared.signal, []
    for block in detect_by_block(lambda start, stop: signal[start:stop], len(signal), fs):
        found.append(block)
        progress(float(block.peaks[-1] + 1) / len(signal) if block.peaks.size else 0.0)
    progress(1.0)
    detection = Detection.join(found)
    gaps_s = find_gaps_s(recording, prepared)
    quality = measure_quality(detection, fs, len(signal) / fs, prepared.kurtosis, gaps_s)
    return detection.peaks, quality


def find_gaps_s(recording: Recording, prepared: PreparedSignal) -> list[tuple[float, float]]:
    """Return begin and end of each stretch without an ECG, s."""
    return [(begin / recording.fs, end / recording.fs) for begin, end in prepared.gaps]


def find_typical(
    signal: NDArray[np.float32],
    model: BeatModel,
    at_model: NDArray[np.int64],
    after_gap: NDArray[np.bool_],
) -> NDArray[np.float32] | None:
    """Return the typical beats of a lead, or None where the model does not look at them.

    Args:
        signal: float32 (n_samples,), mV, at the model's rate.
        model: what they are cut for.
        at_model: R peaks, samples of `signal`, ascending, (n,).
        after_gap: whether signal is missing between a beat and the one before it, (n,).
    """
    n_samples = model.spectrogram.typical_beat_length(model.fs)
    if not n_samples:
        return None
    return make_typical_beats(signal, at_model, model.fs, n_samples, after_gap)


def classify_beats(
    signal: NDArray[np.float32],
    model: BeatModel,
    typical: NDArray[np.float32] | None,
    centres: NDArray[np.int64],
    rr_intervals: pd.DataFrame,
    progress: Callable[[float], None],
) -> NDArray[np.float32]:
    """Classify the windows of a lead.

    Args:
        signal: float32 (n_samples,), mV, at the model's rate.
        model: what classifies.
        typical: see `find_typical`.
        centres: of the windows, samples of `signal`, (n,).
        rr_intervals: n rows, s, see `ecg.rhythm.measure_rr_intervals`.
        progress: called with the share that is done.

    Returns:
        Probabilities, float32 (n, 5), in the order of AAMI_CLASSES.
    """
    read, rows = plan_windows(signal, model, typical, centres)
    probabilities = np.empty((len(centres), len(AAMI_CLASSES)), dtype=np.float32)
    intervals = rr_intervals[list(RR_COLUMNS)].to_numpy()
    for first in range(0, len(centres), _BLOCK_BEATS):
        block = slice(first, first + _BLOCK_BEATS)
        windows = read(rows.iloc[block])
        probabilities[block] = model.predict(windows, intervals[block])
        progress(min(1.0, (first + len(windows)) / len(centres)))
    return probabilities


def plan_windows(
    signal: NDArray[np.float32],
    model: BeatModel,
    typical: NDArray[np.float32] | None,
    centres: NDArray[np.int64],
) -> tuple[WindowReader, pd.DataFrame]:
    """Return what reads windows of a signal as the model sees it, and the rows that it takes.

    Args:
        signal: float32 (n_samples,), mV, see `Analysis.signal`.
        model: what the windows are cut for.
        typical: see `Analysis.typical_beats`.
        centres: int64 (n,), centre of each window, samples of `signal`.
    """
    key = "own/recording"
    typical_beats = {} if typical is None else {key: typical}
    read = WindowReader({key: signal}, model.spectrogram, model.fs, typical_beats)
    rows = pd.DataFrame({"start": centres - model.n_samples // 2}).assign(
        db="own", record_id="recording", lead_idx=0, n_samples=model.n_samples, synthetic=False
    )
    return read, rows


def average_leads(
    recording: Recording,
    model: BeatModel,
    first: int,
    beats: tuple[NDArray[np.int64], NDArray[np.bool_], pd.DataFrame],
    probabilities: NDArray[np.float32],
    report: Progress,
) -> list[str]:
    """Average probabilities with those of other leads, in place; return the leads that had a say.

    Other leads are asked about the beats that the first lead leaves in doubt (`_DOUBT`). A lead has
    no say in a beat near a gap in it, or in a stretch of it of poor quality. One without a say in
    any of them, or that cannot be read, leaves its turn to the next.

    Args:
        recording: the recording.
        model: what classifies.
        first: index of the lead whose probabilities these are.
        beats: of each beat where it is, samples at the model's rate, whether it follows a gap, and
            its rhythm.
        probabilities: (n, 5).
        report: called with the stage and the share of it that is done.
    """
    at_model, after_gap, rr_intervals = beats
    n_voices = np.ones((len(at_model), 1), dtype=np.float32)
    names: list[str] = []
    second, greatest = np.partition(probabilities, -2, axis=1)[:, -2:].T
    is_doubtful = greatest - second <= _DOUBT
    others = choose_others(recording.lead_names, first, len(recording.lead_names))
    for i in others if is_doubtful.any() else ():
        if len(names) >= model.n_leads - 1:
            break
        try:
            prepared = prepare_signal(recording, i, model.fs, partial(report, "read"))
        except RecordError as error:
            logger.warning("%s; the other leads are read", error)
            continue
        heard = _find_heard(recording, prepared, model, at_model, partial(report, "detect"))
        rows, asked = np.flatnonzero(heard), np.flatnonzero(heard & is_doubtful)
        if not len(asked):
            continue
        after = after_gap[rows] | (np.diff(rows, prepend=-1) > 1)
        typical = find_typical(prepared.signal, model, at_model[rows], after)
        intervals, classified = rr_intervals.iloc[asked], partial(report, "classify")
        probabilities[asked] += classify_beats(
            prepared.signal, model, typical, at_model[asked], intervals, classified
        )
        n_voices[asked] += 1
        names.append(recording.lead_names[i])
    probabilities /= n_voices
    return names


def _find_heard(
    recording: Recording,
    prepared: PreparedSignal,
    model: BeatModel,
    at_model: NDArray[np.int64],
    progress: Callable[[float], None],
) -> NDArray[np.bool_]:
    """Return about which beats a lead has a say, bool (n,).

    Not about those in a stretch of poor quality, nor those whose views reach into a gap.
    """
    _, quality = detect_beats(recording, prepared, model.fs, progress)
    time_s = at_model / model.fs
    heard = np.full(len(at_model), True)
    if quality is not None:
        heard = quality_at(time_s, quality) >= LEAST_QUALITY
    reach_s = max(n for _, n in model.view_lengths) / 2 / model.fs
    for begin_s, end_s in find_gaps_s(recording, prepared):
        heard &= (time_s + reach_s < begin_s) | (time_s - reach_s > end_s)
    return heard
