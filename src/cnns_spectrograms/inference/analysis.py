"""The analysis of a recording: its beats found and classified, and what they amount to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms import __version__
from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.ecg.detection import SHORTEST_S
from cnns_spectrograms.ecg.fusion import find_intermediate, give_to_fusion
from cnns_spectrograms.ecg.gaps import FLAT_S, follow_gap, number_stretches
from cnns_spectrograms.ecg.pauses import find_false_pauses
from cnns_spectrograms.ecg.quality import (
    LEAST_QUALITY,
    find_unusable,
    quality_at,
)
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS, measure_rr_intervals
from cnns_spectrograms.inference.lead_analysis import (
    MIN_DETECTION_FS_HZ,
    Progress,
    average_leads,
    classify_beats,
    detect_beats,
    find_gaps_s,
    find_typical,
)
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.inference.signals import PreparedSignal, prepare_signal
from cnns_spectrograms.inference.summary import describe_quality, summarise
from cnns_spectrograms.presentation import EN
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import is_csv
from cnns_spectrograms.recordings.recording import Recording, suggest_lead

logger = logging.getLogger(__name__)

STEP_S = 0.5
"""Step of sliding windows, s."""

# Of the median stretch of 10 s: noise has 3, a sine 1.5, and of the records of mitdb and svdb the
# least is 3.75.
_LEAST_KURTOSIS = 3.3


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
    """Find every beat in one lead, and classify it by this lead or by the mean of several.

    The lead is copied to a temporary file at the model's rate; what else is held grows with the
    number of beats by some hundred bytes each. Beats, intervals and probabilities are those of a
    recording read in one piece. No beat is detected in a gap in the signal
    (`signals.SHORTEST_GAP_S`), and no interval and no run of beats goes across one. Where beats are
    detected, `ecg.gaps.FLAT_S` or more without any is a gap too: an electrode that picks up noise
    or hum, or a heart that stands still. So is a shorter pause with the noise of an electrode that
    is off (`ecg.pauses`).

    Args:
        recording: the recording.
        model: the network and its preprocessing.
        lead: name or index; None takes that of training, see `suggest_lead`.
        peaks: R peaks, samples at ``recording.fs``, ascending, each once; None detects them.
        sliding: classify windows every STEP_S instead of beats, but none with a gap in it.
        progress: called with the stage and the share of it that is done.
        count_unusable: count the beats of unusable stretches too in the summary.

    Raises:
        RecordError: the recording is damaged, flat, or too short for a window; of too low a rate
            for its beats to be detected; a column of a table that looks like no ECG; or no lead is
            chosen and none is called ECG but one that cannot be used.
        ValueError: there is no such lead, `peaks` lie outside the recording, descend or repeat, or
            the windows are to slide and the model looks at beats, see `check_slides`.
    """
    if sliding:
        check_slides(model)
    report = progress or (lambda stage, share: None)
    detects = peaks is None and not sliding
    _check_enough(recording, model, detects)
    index = _choose_lead(recording, lead, model)
    name = recording.lead_names[index]
    given = None if peaks is None else _check_peaks(peaks, recording)
    prepared = prepare_signal(recording, index, model.fs, partial(report, "read"))
    signal = prepared.signal
    if detects:
        _doubt_lead(recording, name, prepared.kurtosis, chosen=lead is not None)
    detected, quality = detect_beats(recording, prepared, model.fs, partial(report, "detect"))
    samples, at_model, after_gap = _place_beats(recording, prepared, model.fs, given, detected)
    if not len(samples) and not sliding:
        logger.warning("%s: no beat was found in lead %s", recording.name, name)
    rr_intervals = measure_rr_intervals(at_model, model.fs, after_gap)
    typical = find_typical(signal, model, at_model, after_gap)
    if sliding:
        samples, at_model = _slide(len(signal), recording.fs / model.fs, model, prepared.gaps)
        rr_intervals = pd.DataFrame(np.nan, index=range(len(samples)), columns=list(RR_COLUMNS))
        after_gap = np.full(len(samples), True)  # no window follows another as a beat does
    classified = partial(report, "classify")
    probabilities = classify_beats(signal, model, typical, at_model, rr_intervals, classified)
    centres = (at_model, after_gap, rr_intervals)
    averaged = average_leads(recording, model, index, centres, probabilities, report)
    if not sliding:
        raw = model.undo_temperature(probabilities)  # as training marks such beats
        intermediate = find_intermediate(signal, at_model, raw, rr_intervals, model.fs)
        probabilities = give_to_fusion(probabilities, intermediate)
    beats = _tabulate(samples, recording.fs, after_gap, probabilities, name, quality)
    counted = beats["usable"].to_numpy(np.bool_) | count_unusable
    unusable_s = [] if quality is None else find_unusable(quality, recording.duration_s)
    summary = {
        **_describe(recording, name, averaged, model),
        **summarise(beats, counted, sliding),
        "signal_quality": {**prepared.quality, **describe_quality(quality, unusable_s)},
        "peaks": "detected" if given is None else "given",
    }
    return Analysis(
        beats=beats,
        at_model=at_model,
        rr_intervals=rr_intervals,
        typical_beats=typical,
        summary=summary,
        lead=name,
        fs=recording.fs,
        sliding=sliding,
        model=model,
        counted=counted,
        unusable_s=unusable_s,
        signal=signal,
        gaps_s=find_gaps_s(recording, prepared),
    )


def _choose_lead(recording: Recording, lead: int | str | None, model: BeatModel) -> int:
    if lead is None:
        return suggest_lead(recording, model.preferred_lead)
    return recording.find_lead(lead)


def _place_beats(
    recording: Recording,
    prepared: PreparedSignal,
    fs: float,
    given: NDArray[np.int64] | None,
    detected: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the beats at the recording's rate, at the model's, and whether each follows a gap."""
    if given is not None:
        at_model = np.rint(given * (fs / recording.fs)).astype(np.int64)
        at_model = np.minimum(at_model, len(prepared.signal) - 1)
        return given, at_model, follow_gap(number_stretches(given, prepared.gaps))
    samples = np.rint(detected * (recording.fs / fs)).astype(np.int64)
    samples = np.minimum(samples, recording.n_samples - 1)
    inside = np.zeros(len(samples), dtype=bool)
    for first, stop in np.searchsorted(samples, np.reshape(prepared.gaps, (-1, 2))):
        inside[first:stop] = True
    samples, at_model = samples[~inside], detected[~inside]
    after_gap = follow_gap(number_stretches(samples, prepared.gaps))
    # Nor is a heart heard in a pause with an electrode's noise, or in one that is too long.
    silent = find_false_pauses(prepared.signal, fs, at_model) & ~after_gap
    intervals = np.diff(samples, prepend=samples[:1])
    silent |= intervals >= FLAT_S * recording.fs
    if silent.any():
        logger.warning(
            "%s: found no beat for %.0f s (stretches: %d), each of %g s or more or with the noise "
            "of an electrode that is off; no RR interval or run is counted across them",
            *(recording.name, intervals[silent].sum() / recording.fs, silent.sum(), FLAT_S),
        )
    return samples, at_model, after_gap | silent


def _tabulate(
    samples: NDArray[np.int64],
    fs: float,
    after_gap: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    lead: str,
    quality: NDArray[np.float64] | None,
) -> pd.DataFrame:
    """Return one row per beat, or per sliding window where no beat follows another."""
    time_s = samples / fs
    chosen = np.array(AAMI_CLASSES, dtype=object)[probabilities.argmax(axis=1)]
    known = np.full(len(samples), np.nan) if quality is None else quality_at(time_s, quality)
    return pd.DataFrame(
        {
            "sample": samples,
            "time_s": time_s,
            "rr_s": np.where(after_gap, np.nan, np.diff(time_s, prepend=np.nan)),
            "aami_class": pd.Series(chosen, dtype=str),
            **dict(zip(PROBABILITIES, probabilities.T, strict=True)),
            "lead": pd.Series([lead] * len(samples), dtype=str),
            "signal_quality": known,
            "usable": ~(known < LEAST_QUALITY),
        }
    )


def _describe(
    recording: Recording, lead: str, averaged: list[str], model: BeatModel
) -> dict[str, Any]:
    """Return what was analysed and by what, for JSON."""
    return {
        "recording": {
            "name": recording.name,
            "fs": recording.fs,
            "lead": lead,
            "averaged_leads": averaged,
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
            f"recording {recording.name}: found {recording.fs:g} Hz, at which many detected beats "
            f"would be false; expected at least {MIN_DETECTION_FS_HZ:g} Hz; give a recording of a "
            f"higher rate, or the R peaks"
        )
    longest_s = max(n for _, n in model.view_lengths) / model.fs
    expected = ""
    if recording.duration_s < longest_s:
        expected = f"at least the {longest_s:.3g} s that the model looks at around a beat"
    elif detects and recording.duration_s <= SHORTEST_S:
        expected = f"more than the {SHORTEST_S:g} s that beats are detected in, or the R peaks"
    if expected:
        raise RecordError(
            f"recording {recording.name}: found {recording.duration_s:.3g} s; expected {expected}"
        )


def _doubt_lead(
    recording: Recording, name: str, kurtosis: NDArray[np.float64], *, chosen: bool
) -> None:
    """Doubt a lead in most of which no narrow peaks stand out, as QRS complexes do.

    Raises:
        RecordError: it is a column of a table, and no user has chosen it.
    """
    known = kurtosis[~np.isnan(kurtosis)]
    if not len(known) or np.median(known) >= _LEAST_KURTOSIS:
        return
    found = f"recording {recording.name}: found nothing like QRS complexes in lead {name}"
    of_table = recording.path is not None and is_csv(recording.path)
    if of_table and not chosen:
        raise RecordError(
            f"{found}; expected an ECG; name its column with --columns, or this one with --lead "
            f"if it is an ECG all the same"
        )
    logger.warning("%s; it may not be an ECG, and its beats may be false", found)


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
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the centres of the sliding windows, at the recording's rate and the model's."""
    starts = np.arange(0, n_samples - model.n_samples + 1, round(STEP_S * model.fs))
    for first, stop in gaps:
        after = starts * to_recording >= stop
        starts = starts[after | ((starts + model.n_samples) * to_recording <= first)]
    centres = starts + model.n_samples // 2
    return np.rint(centres * to_recording).astype(np.int64), centres


def _check_peaks(peaks: ArrayLike, recording: Recording) -> NDArray[np.int64]:
    found = np.asarray(peaks)
    if found.size == 0:
        return np.empty(0, np.int64)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(
            f"peaks have shape {found.shape} and dtype {found.dtype}; expected whole samples"
        )
    found = found.astype(np.int64)  # differences of unsigned samples would wrap
    steps = np.diff(found)
    if (steps < 0).any() or found[0] < 0 or found[-1] >= recording.n_samples:
        raise ValueError(
            f"peaks lie at samples {found.min()} to {found.max()}; expected 0 to "
            f"{recording.n_samples - 1} at {recording.fs:g} Hz, sorted by time; they may be of "
            f"another recording"
        )
    if (steps == 0).any():
        raise ValueError(
            f"peaks hold sample {found[steps.argmin()]} more than once; expected each R peak once; "
            f"take the others out"
        )
    return found
