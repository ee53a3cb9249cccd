"""A recording that has been analysed, as a session keeps it while its files are gone."""

from __future__ import annotations

import hashlib
import math
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.corrections.queue import make_queue, score_beats
from cnns_spectrograms.corrections.session import Session, Source
from cnns_spectrograms.corrections.shapes import ShapeGroups, cut_shapes, group_beats
from cnns_spectrograms.ecg.aami import map_symbols
from cnns_spectrograms.parameters import UPLOADED
from cnns_spectrograms.recordings.recording import Recording

if TYPE_CHECKING:
    from cnns_spectrograms.inference.analysis import Analysis
    from cnns_spectrograms.inference.lead_analysis import Progress
    from cnns_spectrograms.inference.model import BeatModel

MOST_LEADS = 12
"""Leads that are kept to be shown."""

_CHUNK = 1 << 20  # samples that are copied at once


class Lane(NamedTuple):
    """Another lead of the recording, as it was read.

    The signal is in mV, NaN where none is, and may be a memory map. The range, mV, is about the
    median of what is drawn.
    """

    name: str
    signal: NDArray[np.float32]
    range_mv: tuple[float, float]


class BeatInput(NamedTuple):
    """What the model saw of one beat.

    Attributes:
        views: float32 (`BeatModel.width`,), mV: the window at the model's rate, and the stretches
            of further views.
        image: uint8 (H, W), the spectrogram of the window.
        rr_s: float32 (4,), s, its `ecg.rhythm.RR_COLUMNS`; NaN of an added beat.
    """

    views: NDArray[np.float32]
    image: NDArray[np.uint8]
    rr_s: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Study:
    """An analysed recording, and what the pages need to show it.

    Attributes:
        analysis: the classified beats, the signal as the model sees it, and what they amount to.
        leads: the recording as it was read, the analysed lead first; its samples are a map of a
            temporary file that goes with the session.
        source: what corrections are of.
        db: database that the recording is of, `parameters.UPLOADED` of none.
        reference: sample (at the recording's rate) and aami_class of each reference beat; None
            where the recording came without annotations.
        range_mv: amplitudes of the analysed lead that are shown.
        lanes: the other ones of `leads`.
        groups: of the beats by their shape; None without a beat.
        queue: int64, the beats most worth a look, by position, in that order.
    """

    analysis: Analysis
    leads: Recording
    source: Source
    db: str
    reference: pd.DataFrame | None
    range_mv: tuple[float, float]
    lanes: list[Lane]
    groups: ShapeGroups | None
    queue: NDArray[np.int64]

    @cached_property
    def key(self) -> str:
        """Of the recording, its lead and its beats, as they were found."""
        digest = hashlib.sha256(self.beats["sample"].to_numpy("<i8").tobytes())
        digest.update("".join(self.beats["aami_class"]).encode())
        return f"{self.source.digest} {self.source.lead} {digest.hexdigest()}"

    @property
    def beats(self) -> pd.DataFrame:
        """One row per beat, see `findings`."""
        return self.analysis.beats

    def correct(self, folder: Path | None) -> Session:
        """Open the corrections of the beats, whose journals a folder holds; None saves nothing."""
        classes = self.beats["aami_class"].to_numpy(object)
        return Session(folder, self.source, self.beats["sample"], classes)


def read_reference(recording: Recording) -> pd.DataFrame | None:
    """Return the reference beats that came with a recording; None without any."""
    if recording.reference is None:
        return None
    beats = recording.reference[["sample"]].astype(np.int64)
    classes = map_symbols(recording.reference["symbol"])
    beats["aami_class"] = pd.Series(classes, index=beats.index, dtype=object)
    beats = beats.dropna(ignore_index=True)
    return beats if len(beats) else None


def make_study(
    recording: Recording,
    model: BeatModel,
    lead: int,
    *,
    at_reference: bool = False,
    db: str = UPLOADED,
    progress: Progress | None = None,
) -> Study:
    """Analyse a recording and keep what the pages show, so that its files are needed no more.

    Args:
        recording: open.
        model: classifies.
        lead: position of the lead.
        at_reference: take the reference's R peaks, where there are any, not detected ones.
        db: database that it is of.
        progress: receives the stage, "keep" or one of `analyse`, and the share of it that is done.

    Raises:
        RecordError: the recording cannot be analysed, see `inference.analysis.analyse`.
    """
    from cnns_spectrograms.inference.analysis import analyse

    reference = read_reference(recording)
    peaks = reference["sample"].unique() if at_reference and reference is not None else None
    leads, digest = keep_leads(recording, lead, progress)
    analysis = analyse(recording, model, lead=lead, peaks=peaks, progress=progress)
    groups, queue = None, np.empty(0, np.int64)
    if len(analysis.beats):
        shapes = cut_shapes(analysis.signal, model.fs, analysis.at_model)
        groups = group_beats(shapes, analysis.beats["aami_class"].to_numpy(object))
        queue = make_queue(score_beats(analysis.beats, groups)["score"].to_numpy())
    return Study(
        analysis=analysis,
        leads=leads,
        source=Source(recording.name, analysis.lead, recording.fs, recording.n_samples, digest),
        db=db,
        reference=reference,
        range_mv=choose_range_mv(analysis.signal),
        lanes=[make_lane(name, leads.read(name)) for name in leads.lead_names[1:]],
        groups=groups,
        queue=queue,
    )


def keep_leads(
    recording: Recording, lead: int, progress: Progress | None = None
) -> tuple[Recording, str]:
    """Copy the leads of a recording to a temporary file, chunk by chunk.

    Returns:
        A recording of the copy, with the given lead first and at most `MOST_LEADS`; and the
        SHA-256 digest of that lead's samples.
    """
    order = [lead, *(i for i in range(len(recording.lead_names)) if i != lead)][:MOST_LEADS]
    digest, n = hashlib.sha256(), recording.n_samples
    with tempfile.TemporaryFile() as file:
        for place, index in enumerate(order):
            for start in range(0, n, _CHUNK):
                stop = min(start + _CHUNK, n)
                content = recording.read(index, start, stop).astype("<f4").tobytes()
                file.write(content)
                if place == 0:
                    digest.update(content)
                if progress is not None:
                    progress("keep", (place * n + stop) / (len(order) * n))
        file.flush()
        samples = np.memmap(file, "<f4", "r", shape=(len(order), n))
    kept = replace(
        recording,
        lead_names=tuple(recording.lead_names[index] for index in order),
        read_lead=lambda index, start, stop: samples[index, start:stop],
    )
    return kept, digest.hexdigest()


def choose_range_mv(signal: NDArray[np.float32]) -> tuple[float, float]:
    """Return the amplitudes that a strip shows, whole half millivolts, the same all along.

    Artefacts beyond the 0.05 and 99.95 percentiles are cut off; at least 3 mV and at most 8.5 mV
    are shown.
    """
    sampled = signal[:: max(1, len(signal) // 500_000)]
    low, high = np.nanpercentile(sampled, [0.05, 99.95]) if len(sampled) else (-1.0, 1.0)
    middle = (low + high) / 2
    half = min(max((high - low) / 2 + 0.3, 1.5), 4.0)
    return math.floor(2 * (middle - half) + 0.02) / 2, math.ceil(2 * (middle + half) - 0.02) / 2


def make_lane(name: str, signal: NDArray[np.float32]) -> Lane:
    """Return a lead with its range, at most 3 mV either way."""
    sampled = signal[:: max(1, len(signal) // 100_000)]
    known = sampled[np.isfinite(sampled)]
    middle = np.float32(np.median(known)) if len(known) else np.float32(0)
    low, high = choose_range_mv(known - middle)
    return Lane(name, signal, (max(low, -3.0), min(high, 3.0)))


def show_beat(study: Study, beat: int, at: int | None = None) -> BeatInput:
    """Return what the model saw of one beat of a study, or would see of one that is added.

    Args:
        study: the analysed recording.
        beat: position of the beat among those that were found.
        at: of an added beat, its sample at the model's rate.
    """
    from cnns_spectrograms.ecg.rhythm import RR_COLUMNS
    from cnns_spectrograms.inference.lead_analysis import plan_windows

    analysis = study.analysis
    if at is None:
        at = int(analysis.at_model[beat])
        rr_s = analysis.rr_intervals[list(RR_COLUMNS)].to_numpy(np.float32)[beat]
    else:
        rr_s = np.full(len(RR_COLUMNS), np.nan, np.float32)
    read, rows = plan_windows(
        analysis.signal, analysis.model, analysis.typical_beats, np.array([at])
    )
    views = read(rows)
    return BeatInput(views[0], analysis.model.draw(views)[0, 0], rr_s)
