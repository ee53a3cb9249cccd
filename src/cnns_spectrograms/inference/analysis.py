"""The analysis of a recording: its beats found and classified, and what they amount to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms import __version__
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.detection import SHORTEST_S, Detection, detect_by_block
from cnns_spectrograms.ecg.pauses import find_false_pauses
from cnns_spectrograms.ecg.quality import (
    LEAST_QUALITY,
    find_unusable,
    measure_quality,
    quality_at,
)
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS, measure_rr_intervals
from cnns_spectrograms.ecg.windows import WindowReader, make_typical_beats
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.inference.signals import FLAT_S, PreparedSignal, prepare_signal
from cnns_spectrograms.inference.summary import describe_quality, summarise
from cnns_spectrograms.presentation import EN
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.leads import choose_recording_lead
from cnns_spectrograms.recordings.opening import CSV_SUFFIXES
from cnns_spectrograms.recordings.recording import Recording

logger = logging.getLogger(__name__)

STEP_S = 0.5
"""Step of sliding windows, s."""

MIN_DETECTION_FS_HZ = 50.0
"""Lowest rate of a recording whose beats are detected, Hz. In the first ten minutes of eight
records of mitdb, thinned, 96 % of what is detected are beats at 50 Hz, 91 % at 40, 56 % at 20."""

# Of the median stretch of 10 s: noise has 3, a sine 1.5, and of the records of mitdb and svdb the
# least is 3.75.
_LEAST_KURTOSIS = 3.3
_BLOCK_BEATS = 512  # whose windows are in memory at once

Progress = Callable[[str, float], None]
"""Called with the stage ("read", "detect", "classify") and the share of it that is done."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """The classified beats of one lead of a recording.

    Attributes:
        beats: one row per beat (or sliding window), in time order: sample (at `fs`, the
            recording's own), time_s, rr_s (since the beat before; NaN for the first, for the first
            after a gap in the signal, and in sliding windows), aami_class, prob_N to prob_Q, lead,
            signal_quality (0 to 1, of the 10 s around, see `ecg.quality`; NaN where no beat can be
            detected), and usable (whether that is enough).
        at_model: int64, where the model looked for each row, samples at its own rate.
        rr_intervals: what the model gets of the rhythm, see `ecg.rhythm.measure_rr_intervals`;
            one row for each row of `beats`.
        typical_beats: see `ecg.windows.make_typical_beats`, float32, mV; None where the model does
            not look at them.
        summary: JSON values, see `inference.summary.summarise`.
        lead: name of the lead.
        fs: sampling rate of the recording, Hz.
        sliding: whether rows are sliding windows.
        model: what classified.
        counted: bool (n,), which rows the summary counts.
        unusable_s: (first, stop) of each stretch of unusable signal, s.
        signal: the lead as the model sees it, see `signals.PreparedSignal`.
        gaps_s: (first, stop) of each gap, s.
    """

    beats: pd.DataFrame
    at_model: NDArray[np.int64]
    rr_intervals: pd.DataFrame
    typical_beats: NDArray[np.float32] | None
    summary: dict[str, Any]
    lead: str
    fs: float
    sliding: bool
    model: BeatModel
    counted: NDArray[np.bool_]
    unusable_s: list[tuple[float, float]]
    signal: NDArray[np.float32]
    gaps_s: list[tuple[float, float]]


def analyse(
    recording: Recording,
    model: BeatModel,
    lead: int | str | None = None,
    peaks: ArrayLike | None = None,
    sliding: bool = False,
    progress: Progress | None = None,
    count_unusable: bool = False,
) -> Analysis:
    """Find and classify every beat of one lead.

    The lead is copied to a temporary file at the model's rate; what else is held grows with the
    number of beats by some hundred bytes each. Beats, intervals and probabilities are those of a
    recording read in one piece. No beat is detected in a gap in the signal
    (`signals.SHORTEST_GAP_S`), and no interval and no run of beats goes across one. Where beats are
    detected, `signals.FLAT_S` or more without any is a gap too: an electrode that picks up noise or
    hum, or a heart that stands still. So is a shorter pause with the noise of an electrode that is
    off (`ecg.pauses`).

    Args:
        recording: the recording.
        model: the network and its preprocessing.
        lead: name or index; None takes that of training, see `choose_recording_lead`.
        peaks: R peaks, samples at ``recording.fs``, ascending; None detects them.
        sliding: classify windows every STEP_S instead of beats, but none with a gap in it.
        progress: called with the stage and the share of it that is done.
        count_unusable: count the beats of unusable stretches too in the summary.

    Raises:
        RecordError: the recording is damaged, flat, or too short for a window; of too low a rate
            for its beats to be detected; or a column of a table that looks like no ECG.
        ValueError: there is no such lead, `peaks` lie outside the recording or descend, or the
            windows are to slide and the model looks at beats, see `check_slides`.
    """
    if sliding:
        check_slides(model)
    report = progress or (lambda stage, share: None)
    detects = peaks is None and not sliding
    _check_enough(recording, model, detects)
    index = choose_recording_lead(
        recording.lead_names, lead, model.preferred_lead, recording.left_out
    )
    name = recording.lead_names[index]
    given = None if peaks is None else _check_peaks(peaks, recording)
    prepared = prepare_signal(recording, index, model.fs, lambda share: report("read", share))
    signal = prepared.signal
    known = prepared.kurtosis[~np.isnan(prepared.kurtosis)]
    if detects and len(known) and np.median(known) < _LEAST_KURTOSIS:
        _doubt_lead(recording, name, chosen=lead is not None)
    gaps_s = [(first / recording.fs, stop / recording.fs) for first, stop in prepared.gaps]
    detection, quality = Detection.join([]), None
    if recording.fs >= MIN_DETECTION_FS_HZ and recording.duration_s > SHORTEST_S:
        detection = _detect(signal, model.fs, lambda share: report("detect", share))
        duration_s = len(signal) / model.fs
        quality = measure_quality(detection, model.fs, duration_s, prepared.kurtosis, gaps_s)
    samples, at_model, after_gap = _place_beats(recording, prepared, model.fs, given, detection)
    if not len(samples) and not sliding:
        logger.warning("%s: no beat was found in lead %s", recording.name, name)
    rr_intervals = measure_rr_intervals(at_model, model.fs, after_gap)
    centres = at_model
    if sliding:
        centres = _slide(len(signal), recording.fs / model.fs, model, prepared.gaps)
        samples = np.rint(centres * (recording.fs / model.fs)).astype(np.int64)
        rr_intervals = pd.DataFrame(np.nan, index=range(len(centres)), columns=list(RR_COLUMNS))
    typical = None
    if n_typical := model.spectrogram.typical_beat_length(model.fs):
        typical = make_typical_beats(signal, at_model, model.fs, n_typical, after_gap)
    probabilities = _classify(
        signal, model, typical, centres, rr_intervals, lambda share: report("classify", share)
    )
    beats = _tabulate(samples, recording.fs, None if sliding else after_gap, probabilities)
    beats["lead"] = pd.Series([name] * len(beats), dtype=str)
    beats["signal_quality"] = (
        np.nan if quality is None else quality_at(beats["time_s"].to_numpy(), quality)
    )
    beats["usable"] = ~(beats["signal_quality"] < LEAST_QUALITY)
    counted = np.full(len(beats), True) if count_unusable else beats["usable"].to_numpy(np.bool_)
    unusable_s = [] if quality is None else find_unusable(quality, recording.duration_s)
    summary = {
        **_describe(recording, name, model),
        **summarise(beats, counted, sliding),
        "signal_quality": {**prepared.quality, **describe_quality(quality, unusable_s)},
        "peaks": "detected" if given is None else "given",
    }
    return Analysis(
        beats,
        centres,
        rr_intervals,
        typical,
        summary,
        name,
        recording.fs,
        sliding,
        model,
        counted,
        unusable_s,
        signal,
        gaps_s,
    )


def _place_beats(
    recording: Recording,
    prepared: PreparedSignal,
    fs: float,
    given: NDArray[np.int64] | None,
    detection: Detection,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the beats at the recording's rate, at the model's, and whether each follows a gap."""
    if given is not None:
        at_model = np.rint(given * (fs / recording.fs)).astype(np.int64)
        at_model = np.minimum(at_model, len(prepared.signal) - 1)
        return given, at_model, _follow_gap(given, prepared.gaps)
    samples = np.rint(detection.peaks * (recording.fs / fs)).astype(np.int64)
    samples = np.minimum(samples, recording.n_samples - 1)
    kept = ~_within(samples, prepared.gaps)
    samples = samples[kept]
    at_model = detection.peaks[kept]
    false_pause = find_false_pauses(prepared.signal, fs, at_model)
    after_gap = _follow_gap(samples, prepared.gaps)
    after_gap |= _follow_silence(samples, false_pause & ~after_gap, recording)
    return samples, at_model, after_gap


def _tabulate(
    samples: NDArray[np.int64],
    fs: float,
    after_gap: NDArray[np.bool_] | None,
    probabilities: NDArray[np.float32],
) -> pd.DataFrame:
    """Return one row per beat, or per sliding window where no beat follows another."""
    time_s = samples / fs
    rr_s = np.full(len(samples), np.nan)
    if after_gap is not None:
        rr_s[1:] = np.where(after_gap[1:], np.nan, np.diff(time_s))
    chosen = np.array(AAMI_CLASSES, dtype=object)[probabilities.argmax(axis=1)]
    return pd.DataFrame(
        {
            "sample": samples,
            "time_s": time_s,
            "rr_s": rr_s,
            "aami_class": pd.Series(chosen, dtype=str),
            **{f"prob_{each}": probabilities[:, i] for i, each in enumerate(AAMI_CLASSES)},
        }
    )


def _describe(recording: Recording, lead: str, model: BeatModel) -> dict[str, Any]:
    """Return what was analysed and by what, for JSON."""
    return {
        "recording": {
            "name": recording.name,
            "fs": recording.fs,
            "lead": lead,
            "leads": list(recording.lead_names),
            "duration_s": round(recording.duration_s, 3),
            "assumed": list(recording.assumed),
        },
        "model": {
            **model.identify(),
            "synthetic_data": model.synthetic_data,
            "averaged_with": [each.identify() for each in model.others],
        },
        "software": f"cnns_spectrograms {__version__}",
        "disclaimer": EN("disclaimer"),
    }


def _check_enough(recording: Recording, model: BeatModel, detects: bool) -> None:
    """Refuse a recording of too low a rate, or too short."""
    if detects and recording.fs < MIN_DETECTION_FS_HZ:
        raise RecordError(
            f"recording {recording.name}: found {recording.fs:g} Hz, at which detected beats are "
            f"often none; expected at least {MIN_DETECTION_FS_HZ:g} Hz; give a recording of a "
            f"higher rate, or the R peaks"
        )
    longest_s = max(n for _, n in model.view_lengths) / model.fs
    if recording.duration_s < longest_s:
        raise RecordError(
            f"recording {recording.name}: found {recording.duration_s:.3g} s; expected at least "
            f"the {longest_s:.3g} s that the model looks at around a beat"
        )
    if detects and recording.duration_s <= SHORTEST_S:
        raise RecordError(
            f"recording {recording.name}: found {recording.duration_s:.3g} s; expected more than "
            f"the {SHORTEST_S:g} s that beats are detected in; give a longer one, or the R peaks"
        )


def _doubt_lead(recording: Recording, name: str, *, chosen: bool) -> None:
    """Doubt a lead in most of which no narrow peaks stand out, as QRS complexes do.

    Raises:
        RecordError: it is a column of a table, and no user has chosen it.
    """
    found = f"recording {recording.name}: found nothing like QRS complexes in lead {name}"
    of_table = recording.path is not None and recording.path.suffix.lower() in CSV_SUFFIXES
    if of_table and not chosen:
        raise RecordError(
            f"{found}; expected an ECG; name its column with --columns, or this one with --lead "
            f"if it is an ECG all the same"
        )
    logger.warning("%s: it may be no ECG, and its beats none", found)


def check_slides(model: BeatModel) -> None:
    """Refuse a model that needs a beat in the middle of a window.

    Raises:
        ValueError: the model takes RR intervals, or sees how a beat differs from the typical one.
    """
    needs = ["the RR intervals of a beat"] if model.rr_intervals else []
    if any(of == "difference" for of, _ in model.view_lengths):
        needs.append("how a beat differs from the typical one")
    if needs:
        raise ValueError(
            f"the model {model.path.name} looks at {' and at '.join(needs)}, and sliding windows "
            f"have no beat of their own; classify beats, or give a model trained with "
            f"windows.mode: sliding"
        )


def _slide(
    n_samples: int, to_recording: float, model: BeatModel, gaps: Sequence[tuple[int, int]]
) -> NDArray[np.int64]:
    """Return the centres of the sliding windows, samples at the model's rate."""
    starts = np.arange(0, n_samples - model.n_samples + 1, round(STEP_S * model.fs))
    for first, stop in gaps:
        after = starts * to_recording >= stop
        starts = starts[after | ((starts + model.n_samples) * to_recording <= first)]
    centres: NDArray[np.int64] = starts + model.n_samples // 2
    return centres


def _check_peaks(peaks: ArrayLike, recording: Recording) -> NDArray[np.int64]:
    found = np.asarray(peaks)
    if found.size == 0:
        return np.empty(0, np.int64)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(
            f"peaks have shape {found.shape} and dtype {found.dtype}; expected whole samples"
        )
    if (np.diff(found) < 0).any():
        raise ValueError("peaks descend; sort them by time")
    if found[0] < 0 or found[-1] >= recording.n_samples:
        raise ValueError(
            f"peaks lie at samples {found[0]} to {found[-1]}; expected 0 to "
            f"{recording.n_samples - 1} at {recording.fs:g} Hz; they are of another recording"
        )
    return found.astype(np.int64)


def _detect(signal: NDArray[np.float32], fs: float, progress: Callable[[float], None]) -> Detection:
    """Return the R peaks, samples at the model's rate."""
    found = []
    for block in detect_by_block(lambda start, stop: signal[start:stop], len(signal), fs):
        found.append(block)
        progress(float(block.peaks[-1] + 1) / len(signal) if block.peaks.size else 0.0)
    progress(1.0)
    return Detection.join(found)


def _within(samples: NDArray[np.int64], stretches: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    inside = np.zeros(len(samples), dtype=bool)
    for first, stop in stretches:
        inside[np.searchsorted(samples, first) : np.searchsorted(samples, stop)] = True
    return inside


def _follow_gap(samples: NDArray[np.int64], gaps: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return whether a gap begins or ends between each beat and the one before it."""
    edges = np.array(gaps, dtype=np.int64).ravel()
    following = np.searchsorted(samples, edges)
    after = np.zeros(len(samples), dtype=bool)
    after[following[(following > 0) & (following < len(samples))]] = True
    return after


def _follow_silence(
    samples: NDArray[np.int64], false_pause: NDArray[np.bool_], recording: Recording
) -> NDArray[np.bool_]:
    """Return whether no heart is heard before each beat: too long, or not as in a pause; warn."""
    intervals = np.diff(samples, prepend=samples[:1])
    silent = false_pause | (intervals >= FLAT_S * recording.fs)
    if silent.any():
        logger.warning(
            "%s: found no beat for %.0f s (stretches: %d), each of %g s or more or with the noise "
            "of an electrode that is off; no interval and no run goes across them",
            *(recording.name, intervals[silent].sum() / recording.fs, silent.sum(), FLAT_S),
        )
    return silent


def _classify(
    signal: NDArray[np.float32],
    model: BeatModel,
    typical: NDArray[np.float32] | None,
    centres: NDArray[np.int64],
    rr_intervals: pd.DataFrame,
    progress: Callable[[float], None],
) -> NDArray[np.float32]:
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
        signal: mV, see `Analysis.signal`.
        model: sees them.
        typical: see `Analysis.typical_beats`.
        centres: of the windows, one a row, samples of the signal.
    """
    key = "own/recording"
    typical_beats = {} if typical is None else {key: typical}
    read = WindowReader({key: signal}, model.spectrogram, model.fs, typical_beats)
    rows = pd.DataFrame(
        {
            "db": "own",
            "record_id": "recording",
            "start": centres - model.n_samples // 2,
            "n_samples": model.n_samples,
            "synthetic": False,
        }
    )
    return read, rows
